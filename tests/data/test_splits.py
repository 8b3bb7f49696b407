from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests import make_manifest, many
from melanoma.data import manifest, splits
from melanoma.errors import SplitError

USED = ["train", "val", "calibration", "test"]


def counts(found, rows=None):
    table = found.table if rows is None else found.table[rows]
    return table["split"].value_counts().to_dict()


def naive_groups(table):
    """Groups by repeated merging, as a check on the quick way."""
    label = list(range(len(table)))
    for column, per_source in (("patient_id", True), ("lesion_id", True), ("content_digest", False)):
        seen = {}
        for row, (source, value) in enumerate(zip(table["source"], table[column], strict=True)):
            key = (source if per_source else "", value)
            if value and key in seen:
                old, new = label[row], label[seen[key]]
                label = [new if one == old else one for one in label]
            seen.setdefault(key, row)
    return np.array(label)


few = st.sampled_from(["", "", "1", "2", "3"])
row = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["a", "b"]),
        "y_true": st.integers(0, 1),
        "patient_id": few,
        "lesion_id": few,
        "content_digest": st.sampled_from(["", "", "", "x", "y"]),
        "given_split": st.sampled_from(["", "", "", "", "train", "val", "test"]),
    }
)
enough = [{"source": source, "y_true": number % 2} for source in "ab" for number in range(16)]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(row, max_size=40), st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_whatever_the_data_the_promises_hold(rows, seed, random):
    data = make_manifest([*rows, *enough])
    table = data.table
    found = splits.assign(data, seed=seed)
    split = found.table["split"].to_numpy()
    group = naive_groups(table)
    assert list(found.table.columns) == list(splits.COLUMNS)
    assert found.table[["source", "image_id", "path"]].equals(table[["source", "image_id", "path"]])
    assert set(split) <= set(splits.SPLITS)
    given_test = (table["given_split"] == "test").to_numpy()
    touched = np.isin(group, group[given_test])
    assert (split[given_test] == "test").all()
    assert ((split == "excluded") == (touched & ~given_test)).all()
    given_val = (table["given_split"] == "val").to_numpy()
    assert (split[given_val & ~touched] == "val").all()
    for one in set(group):
        assert len(set(split[group == one]) - {"excluded"}) == 1
        assert len(set(found.table["group_id"][group == one])) == 1
    assert found.table["group_id"].nunique() == len(set(group))
    for name in USED:
        assert set(table["y_true"][split == name]) == {0, 1}
    for source in table.loc[given_test, "source"].unique():
        assert given_test[(split == "test") & (table["source"] == source)].all()

    order = list(range(len(table)))
    random.shuffle(order)
    moved = table.iloc[order].reset_index(drop=True)
    moved["path"] = "/elsewhere" + moved["path"]
    again = splits.assign(replace(data, table=moved), seed=seed)
    assert again.digest == found.digest
    assert again.table["split"].tolist() == split[order].tolist()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 8), min_size=10, max_size=60),
    st.lists(st.integers(1, 8), min_size=10, max_size=60),
    st.floats(0.05, 0.3),
    st.integers(0, 1000),
)
def test_shares_are_close(other, melanoma, share, seed):
    rows = []
    for y_true, sizes in enumerate((other, melanoma)):
        for number, size in enumerate(sizes):
            rows += [{"y_true": y_true, "patient_id": f"{y_true} {number}"}] * size
    data = make_manifest(rows)
    found = splits.assign(data, val=share, calibration=share, test=share, seed=seed)
    for y_true, sizes in enumerate((other, melanoma)):
        got = counts(found, data.table["y_true"] == y_true)
        for name, asked in (
            ("train", 1 - 3 * share),
            ("val", share),
            ("calibration", share),
            ("test", share),
        ):
            assert abs(got[name] - asked * sum(sizes)) <= 3 * max(sizes)


def test_single_images_get_exactly_their_shares():
    found = splits.assign(make_manifest(many(400, 200)), seed=3)
    assert counts(found) == {"train": 390, "val": 60, "calibration": 60, "test": 90}


def test_seed_changes_the_splits():
    data = make_manifest(many())
    assert splits.assign(data, seed=1).digest != splits.assign(data, seed=2).digest


def test_adding_a_source_leaves_the_others_alone():
    one, both = make_manifest(many()), make_manifest(many() + many(source="b"))
    alone = splits.assign(one, seed=1).table
    together = splits.assign(both, seed=1).table
    assert together.loc[together["source"] == "a", "split"].tolist() == alone["split"].tolist()


def test_given_test_is_the_only_test_of_its_source():
    data = make_manifest(many() + many(5, 5, given_split="test") + many(source="b"))
    found = splits.assign(data, seed=0)
    own = (data.table["source"] == "a").to_numpy()
    assert counts(found, own) == {"train": 48, "test": 10, "val": 6, "calibration": 6}
    assert counts(found, ~own)["test"] == 9


def test_given_val_is_the_only_val_of_its_source():
    found = splits.assign(make_manifest(many() + many(5, 5, given_split="val")), seed=0)
    assert counts(found)["val"] == 10


def test_what_touches_given_test_is_excluded():
    rows = [
        *many(),
        {"y_true": 1, "given_split": "test", "lesion_id": "L"},
        {"y_true": 0, "given_split": "test"},
        {"y_true": 1, "given_split": "train", "lesion_id": "L", "content_digest": "same"},
        {"y_true": 1, "given_split": "val", "lesion_id": "L"},
        {"y_true": 1, "source": "b", "content_digest": "same"},
        {"y_true": 1, "source": "b", "lesion_id": "L"},
    ]
    found = splits.assign(make_manifest(rows + many(source="b")), seed=0)
    by_id = found.table.set_index("image_id")["split"]
    assert by_id["0060":"0064"].tolist() == ["test", "test", "excluded", "excluded", "excluded"]
    assert by_id["0065"] in USED


def test_groups_from_a_file_by_id_and_by_path(tmp_path):
    data = make_manifest(many() + many(source="b"))
    by_id = tmp_path / "id.csv"
    by_id.write_text("source,image_id,group_id\na,0000,g\na,0030,g\nb,0070,g\nelsewhere,q,g\na,0001,\n")
    by_path = tmp_path / "path.csv"
    by_path.write_text("source,path,group_id\na,0000.jpg,g\na,/data/a/0030.jpg,g\nb,./0070.jpg,g\n")
    results = [splits.assign(data, seed=5, groups=splits.load_groups(path)) for path in (by_id, by_path)]
    assert results[0].digest == results[1].digest
    rows = results[0].table.set_index("image_id")
    assert rows.loc[["0000", "0030", "0070"], "split"].nunique() == 1
    assert set(rows.loc[["0000", "0030", "0070"], "group_id"]) == {"a/0000"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("source,image_id,group_id\na,nope,g\n", "'nope' of 'a', which is not among the images"),
        ("source,image_id,group_id\nz,0000,g\n", "name none of the sources 'a'; give each folder"),
        ("source,image_id,group_id\na,0000,g\na,0000,h\n", "one image into two groups"),
        ("source,image_id\na,0000\n", "lacks columns: group_id; found: source, image_id"),
        ("source,group_id\na,0000\n", "lacks columns: image_id or path"),
    ],
)
def test_groups_that_do_not_match(tmp_path, text, says):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    with pytest.raises(SplitError, match=says):
        splits.assign(make_manifest(many()), seed=0, groups=splits.load_groups(path))


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"val": 0.5, "calibration": 0.3, "test": 0.2}, "take 1 of the images"),
        ({"val": 1.5}, "share of val is 1.5"),
        ({"test": -0.1}, "share of test is -0.1"),
    ],
)
def test_shares_that_make_no_sense(shares, says):
    with pytest.raises(SplitError, match=says):
        splits.assign(make_manifest(many()), seed=0, **shares)


def test_too_few_groups_of_a_class():
    rows = many(40, 0) + [{"y_true": 1, "patient_id": f"P{number % 3}"} for number in range(30)]
    with pytest.raises(SplitError, match=r"3 groups of melanoma images cannot fill 4 splits"):
        splits.assign(make_manifest(rows), seed=0)
    assert set(counts(splits.assign(make_manifest(rows), seed=0, test=0))) == {"train", "val", "calibration"}
    with pytest.raises(SplitError, match="0 groups of melanoma"):
        splits.assign(make_manifest(many(40, 0)), seed=0)


def test_just_enough_groups_fill_every_split():
    rows = many(40, 0) + [{"y_true": 1, "patient_id": f"P{number % 4}"} for number in range(30)]
    data = make_manifest(rows)
    found = splits.assign(data, seed=0)
    assert set(found.table.loc[data.table["y_true"] == 1, "split"]) == set(USED)


def test_saved_splits_come_back(tmp_path):
    data = make_manifest(many() + many(5, 5, given_split="test"))
    found = splits.assign(data, seed=0)
    path = tmp_path / "run" / "splits.csv"
    splits.save(found, path)
    moved = make_manifest(many() + many(5, 5, given_split="test"), root="/moved")
    loaded = splits.load(path, moved)
    assert loaded.digest == found.digest
    assert loaded.table.drop(columns="path").equals(found.table.drop(columns="path"))
    assert loaded.table["path"].tolist() == moved.table["path"].tolist()
    assert [one.name for one in path.parent.iterdir()] == ["splits.csv"]


def saved(tmp_path, rows, change):
    """The manifest of these rows and its splits, saved after a change to the table."""
    data = make_manifest(rows)
    found = splits.assign(data, seed=0)
    path = tmp_path / "splits.csv"
    splits.save(replace(found, table=change(found.table.copy())), path)
    return data, path


def set_split(table, row, split):
    table.loc[row, "split"] = split
    return table


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.iloc[1:], "does not name '0000' of 'a'"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "names twice '0000' of 'a'"),
        (lambda table: pd.concat([table, table.iloc[:1].assign(image_id="new")]), "data lack: 'new' of 'a'"),
        (lambda table: set_split(table, 0, "tset"), "the split 'tset'; use one of train"),
        (lambda table: table.drop(columns="split"), "lacks columns: split"),
        (lambda table: set_split(table, 60, "train"), "uses the given test image '0060' for train"),
        (lambda table: set_split(set_split(table, 62, "train"), 63, "val"), "'0062' in train, '0063' in val"),
        (lambda table: table.assign(group_id="all"), "into two splits"),
    ],
)
def test_saved_splits_that_do_not_fit(tmp_path, change, says):
    rows = [*many(), *many(1, 1, given_split="test"), *many(1, 1, patient_id="P")]
    data, path = saved(tmp_path, rows, change)
    with pytest.raises(SplitError, match=says) as caught:
        splits.load(path, data)
    assert "\n" not in str(caught.value)


def test_splits_without_group_column_are_read(tmp_path):
    data, path = saved(tmp_path, many(), lambda table: table.drop(columns=["group_id", "path"]))
    assert splits.load(path, data).digest == splits.assign(data, seed=0).digest


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({60: "train", 61: "val"}, "puts one patient, lesion or picture into two splits: '0060' in train"),
        ({62: "val"}, "uses the given test image '0062' for val"),
    ],
)
def test_a_faulty_dealing_never_becomes_splits(changes, says):
    """The check after assigning, whatever the dealing did."""
    data = make_manifest([*many(), *many(1, 1, patient_id="P"), *many(1, 0, given_split="test")])
    good = splits.assign(data, seed=0).table
    split = good["split"].copy()
    split.update(pd.Series(changes))
    with pytest.raises(AssertionError, match=says):
        splits.build(data, good["group_id"], split)


def test_assign_checks_what_was_dealt(monkeypatch):
    data = make_manifest([*many(), *many(1, 1, patient_id="P")])
    monkeypatch.setattr(
        splits.dealing, "deal", lambda table, *_: pd.Series(["train", "val"] * 31, index=table.index)
    )
    with pytest.raises(AssertionError, match="two splits"):
        splits.assign(data, seed=0)


@pytest.mark.data
def test_the_real_collections_keep_their_shares(data_root):
    data = manifest.load([str(data_root / "melanoma10k"), str(data_root / "ham10000")])
    found = splits.assign(data, seed=0)
    home = (data.table["source"] == "melanoma10k").to_numpy()
    assert counts(found, home)["test"] == 1000
    assert counts(found, home)["val"] == pytest.approx(860, abs=5)
    assert counts(found, ~home)["test"] == pytest.approx(594, abs=5)

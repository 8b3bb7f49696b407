import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from manifests import make_manifest, many
from melanoma.data import folds, manifest, splits
from melanoma.errors import OutputError, SplitError


def pairs(data, *numbers):
    """Groups by image number, one a tuple, whatever the source."""
    table = data.table.set_index("image_id")
    rows = [
        (table.loc[f"{number:04}", "source"], f"{number:04}", f"g{group}")
        for group, members in enumerate(numbers)
        for number in members
    ]
    return pd.DataFrame(rows, columns=["source", "image_id", "group_id"])


def fold_of(data, source, **options):
    return {fold.source: fold for fold in folds.leave_source_out(data, seed=0, **options)}[source]


def split_of(fold):
    return fold.splits.table.set_index("image_id")["split"]


few = st.sampled_from(["", "", "", "1", "2", "3"])
row = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["a", "b", "c"]),
        "y_true": st.integers(0, 1),
        "lesion_id": few,
        "content_digest": st.sampled_from(["", "", "", "", "x", "y", "z"]),
        "given_split": st.sampled_from(["", "", "", "", "train", "val", "test"]),
    }
)
enough = [{"source": source, "y_true": number % 2} for source in "abc" for number in range(12)]


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking a failure would take minutes
    suppress_health_check=list(HealthCheck),
)
@given(
    st.lists(row, max_size=40),
    st.lists(st.sampled_from(["", "", "", "", "", "p", "q", "r", "s"]), min_size=36, max_size=76),
    st.integers(0, 30),
    st.integers(0, 2**32),
)
def test_whatever_the_data_no_group_and_no_source_crosses(rows, names, min_train, seed):
    data = make_manifest([*enough, *rows])
    table = data.table
    near = (names * len(table))[: len(table)]
    groups = table[["source", "image_id"]].assign(group_id=near)
    groups = groups if any(near) else None
    group = splits.find_groups(data, groups)
    heard = []
    try:
        found = folds.leave_source_out(data, seed=seed, groups=groups, min_train=min_train, tell=heard.append)
    except SplitError as error:
        assert "cannot be held out" in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        return
    made = [fold.source for fold in found]
    assert sorted([*made, *(line.split("'")[1] for line in heard)]) == ["a", "b", "c"]
    assert made == sorted(made)
    for fold in found:
        check_fold(fold, table, group, min_train)


def check_fold(fold, table, group, min_train):
    got = fold.splits.table
    split, reason = got["split"], fold.reason
    assert got[["source", "image_id", "path"]].equals(table[["source", "image_id", "path"]])
    held, y_true = table["source"] == fold.source, table["y_true"]
    used = split != "excluded"
    assert got[used].groupby(group[used])["split"].nunique().max() == 1
    assert set(split[held]) <= {"test", "excluded"}
    assert set(split[~held]) <= {"train", "val", "calibration", "excluded"}
    assert (split[~held & (table["given_split"] == "test")] == "excluded").all()
    for name in ("train", "val", "calibration", "test"):
        assert set(y_true[split == name]) == {0, 1}
    assert ((reason != "") == ~used).all()
    left = reason == f"left {fold.left}"
    assert (left == (~used & (reason != "given test"))).all()
    assert fold.n_left == {0: (left & (y_true == 0)).sum(), 1: (left & (y_true == 1)).sum()}
    assert (fold.left == "neither") == (not left.any())
    assert set(held[left]) <= {fold.left == "held_out"}
    assert group[left].isin(group[~left & (held != (fold.left == "held_out"))]).all()
    if fold.left == "held_out":
        assert (reason[~held] != "left training").all()


def two_sources(n_other=30, n_melanoma=30):
    """Source a is numbers 0 to 59 with melanoma first, b the same from 60 on."""
    return make_manifest(many(n_other, n_melanoma) + many(n_other, n_melanoma, source="b"))


def test_shared_images_leave_training():
    data = two_sources()
    fold = fold_of(data, "b", groups=pairs(data, (0, 60), (40, 100, 101)), min_train=20)
    split = split_of(fold)
    assert fold.left == "training"
    assert fold.n_left == {0: 1, 1: 1}
    assert split["0000"] == split["0040"] == "excluded"
    assert (split["0060":] == "test").all()
    assert fold.reason[fold.reason != ""].tolist() == ["left training"] * 2


@pytest.mark.parametrize(("min_train", "left"), [(18, "training"), (19, "held_out")])
@pytest.mark.parametrize("first", [0, 30], ids=["melanoma", "other"])
def test_the_limit_on_what_training_may_lose(min_train, left, first):
    """Of 30 images of a class 8 are shared; of the other 22, 18 are dealt to train."""
    data = two_sources()
    shared = [(number, number + 60) for number in range(first, first + 8)]
    fold = fold_of(data, "b", groups=pairs(data, *shared), min_train=min_train)
    split, gone = split_of(fold), 0 if left == "training" else 60
    assert fold.left == left
    assert fold.n_left == {first > 0: 0, first == 0: 8}
    assert [name for name, value in split.items() if value == "excluded"] == [
        f"{number + gone:04}" for number in range(first, first + 8)
    ]
    train = data.table["y_true"][fold.splits.table["split"] == "train"].value_counts()
    assert train[1 - (first > 0)] == (18 if left == "training" else 24)


def test_the_limit_is_100_images():
    """125 images of a class not shared leave 101 in train, 123 leave 99."""
    for n_shared, left in ((25, "training"), (27, "held_out")):
        data = two_sources(150, 150)
        shared = [(number, number + 300) for number in range(n_shared)]
        assert fold_of(data, "b", groups=pairs(data, *shared)).left == left


def test_groups_tied_through_the_held_out_side_stay_together():
    """Where held-out images leave, two of the others that are tied only through them must not part."""
    data = make_manifest(many() + many(source="b") + many(source="c"))
    tied = [(number, number + 60, number + 120) for number in range(12)]
    fold = fold_of(data, "b", groups=pairs(data, *tied), min_train=15)
    split = split_of(fold)
    assert (fold.left, fold.n_left) == ("held_out", {0: 0, 1: 12})
    for one, _, other in tied:
        assert split[f"{one:04}"] == split[f"{other:04}"] != "excluded"


def test_nothing_shared():
    for fold in folds.leave_source_out(two_sources(), seed=0):
        assert (fold.left, fold.n_left) == ("neither", {0: 0, 1: 0})
        assert (fold.splits.table["split"] != "excluded").all()


def test_too_little_training_beats_no_test_images():
    """Every melanoma of b is in a: b cannot give them up, so a does, though few are left."""
    data = make_manifest(many(30, 30) + many(30, 10, source="b"))
    shared = [(number, number + 60) for number in range(10)]
    fold = fold_of(data, "b", groups=pairs(data, *shared), min_train=1000)
    assert (fold.left, fold.n_left) == ("training", {0: 0, 1: 10})


def test_given_test_images_of_another_source_are_put_aside():
    rows = [
        *many(),
        {"y_true": 1, "given_split": "test", "lesion_id": "L"},
        {"y_true": 1, "lesion_id": "L"},
        *many(source="b"),
        {"y_true": 1, "source": "b", "given_split": "test"},
        {"y_true": 1, "source": "b", "given_split": "val"},
        {"y_true": 0, "source": "b", "given_split": "val"},
    ]
    data = make_manifest(rows)
    fold = fold_of(data, "b", groups=pairs(data, (61, 62)), min_train=1)
    split = split_of(fold)
    assert split["0060":"0061"].tolist() == ["excluded", "excluded"]
    assert fold.left == "neither"  # what is put aside anyway needs no one to leave
    assert set(fold.reason) == {"", "given test"}
    assert (split["0062":] == "test").all()
    other = split_of(fold_of(data, "a"))
    assert other["0122":"0124"].tolist() == ["excluded", "val", "val"]


def test_the_seed_alone_deals_the_others():
    data = two_sources()
    moved = replace(data, table=data.table.iloc[::-1].reset_index(drop=True))
    first, other, again = (
        folds.leave_source_out(images, seed=seed)[0].splits
        for images, seed in ((data, 1), (data, 2), (moved, 1))
    )
    assert first.digest == again.digest != other.digest


def twice(data):
    one, other = data.sources
    return replace(data, sources=(one, replace(other, path=one.path)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (make_manifest(many()), "at least two"),
        (twice(two_sources()), "'a' and 'b' are the same data"),
        (make_manifest(many(5, 0) + many(0, 5, source="b")), "'a' cannot be held out: "),
    ],
)  # fmt: skip
def test_nothing_that_can_be_held_out(data, says):
    with pytest.raises(SplitError, match=says) as caught:
        folds.leave_source_out(data, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "kept", "says"),
    [
        (make_manifest(many() + many(source="b") + many(5, 0, source="c")), "ab", "'c' .* class melanoma .* test"),
        (make_manifest(many() + many(source="b") + many(0, 5, source="c")), "ab", "'c' .* class other .* test"),
        (
            make_manifest(many(9, 9, source="b") + many(9, 0) + many(9, 9, given_split="test")),
            "a",
            "'b' cannot be held out: no image of class melanoma is left for train",
        ),
        (make_manifest(many(9, 2) + many(source="b")), "a", r"2 groups of melanoma images cannot fill 3 splits"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_held_out_is_named_and_the_others_are(data, kept, says):
    heard = []
    made = folds.leave_source_out(data, seed=0, tell=heard.append)
    assert "".join(fold.source for fold in made) == kept
    (line,) = heard
    assert re.search(says, line)
    assert "\n" not in line


def test_sources_that_are_the_same_images():
    same = [{"y_true": number % 2, "content_digest": f"x{number}"} for number in range(40)]
    data = make_manifest(same + [{**values, "source": "b"} for values in same])
    with pytest.raises(
        SplitError, match=r"leave training, .* left for train; if they leave it, .* left for test$"
    ):
        folds.leave_source_out(data, seed=0)


def test_shares_that_make_no_sense():
    with pytest.raises(SplitError, match=r"^the share of val is 1.5"):
        folds.leave_source_out(two_sources(), seed=0, val=1.5)


def test_described_in_one_line():
    data = two_sources()
    groups = pairs(data, (0, 60), (40, 100))
    lines = [folds.describe(fold_of(data, "b", groups=groups, min_train=limit), data) for limit in (1, 99)]
    assert lines[0] == (
        "b held out: train 48 (24 melanoma), val 6 (3 melanoma), calibration 4 (2 melanoma),"
        " test 60 (30 melanoma); 2 shared images (1 melanoma) left training"
    )
    assert lines[1].endswith("test 58 (29 melanoma); 2 shared images (1 melanoma) left the held-out side")
    alone = folds.describe(fold_of(data, "b"), data)
    assert alone.endswith("no image is shared with the others")


def test_saved_folds_are_splits_of_the_manifest(tmp_path):
    data = make_manifest(many() + many(source="b") + many(4, 4, source="b", given_split="test"))
    groups = pairs(data, (0, 60), (1, 121), (2, 62, 63))
    found = folds.leave_source_out(data, seed=0, groups=groups, min_train=1)
    found += folds.leave_source_out(data, seed=0, groups=groups, min_train=99)
    paths = [tmp_path / "new" / f"{number}.csv" for number in range(4)]
    folds.save(found, paths)
    assert {fold.left for fold in found} == {"training", "held_out"}
    for fold, path in zip(found, paths, strict=True):
        assert splits.load(path, data).digest == fold.splits.digest
        written = pd.read_csv(path, keep_default_na=False)
        assert written.columns.tolist() == [*splits.COLUMNS, "reason"]
        assert written["reason"].tolist() == fold.reason.tolist()


def test_all_files_or_none(tmp_path, monkeypatch):
    data = two_sources()
    found = folds.leave_source_out(data, seed=0)
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    paths[0].write_text("before")
    write, calls = folds.write_table, []

    def fail_at_the_second(table, path):
        calls.append(path)
        if len(calls) == 2:
            raise OutputError("full")
        write(table, path)

    monkeypatch.setattr(folds, "write_table", fail_at_the_second)
    with pytest.raises(OutputError, match="full"):
        folds.save(found, paths)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert paths[0].read_text() == "before"


def test_file_names_are_safe_and_differ(tmp_path):
    names = ["../up", "X Y", "x_y", "x_y-2", "Ärzte\udcff", "l" * 300]
    some = folds.leave_source_out(two_sources(), seed=0)[0]
    paths = folds.name_files([replace(some, source=name) for name in names], tmp_path / "my.v1.csv")
    assert {path.parent for path in paths} == {tmp_path}
    assert [path.name for path in paths][:5] == [
        "my.v1-.._up.csv", "my.v1-X_Y.csv", "my.v1-x_y-2.csv", "my.v1-x_y-2-2.csv", "my.v1-Ärzte_.csv",
    ]  # fmt: skip
    assert len(paths[5].name) < 60


@pytest.mark.data
def test_the_real_collections_make_folds(data_root):
    data = manifest.load([str(data_root / name) for name in ("melanoma10k", "ham10000", "isic2017")])
    y_true = data.table["y_true"].to_numpy()
    for fold in folds.leave_source_out(data, seed=0):
        split = fold.splits.table["split"].to_numpy()
        for name in ("train", "val", "calibration", "test"):
            assert np.bincount(y_true[split == name]).min() > 30


def train_on_first(rows, links=(), **options):
    data = make_manifest(rows)
    given = pairs(data, *links) if links else None
    return data, given, folds.train_on(data, "b", seed=4, groups=given, **options)


def test_one_source_trains_as_if_alone_and_the_others_are_the_test():
    rows = [{"source": source, **row} for source in "abc" for row in many(40, 20)]
    data, given, made = train_on_first(rows, [(0, 60, 130), (61, 100), (5, 6), (62, 63)], test=0)
    split = made.table.set_index("image_id")["split"]
    home = data.subset((data.table["source"] == "b").to_numpy())
    alone = splits.assign(home, seed=4, groups=given, test=0).table.set_index("image_id")["split"]
    assert split[alone.index].equals(alone)
    assert set(alone) == {"train", "val", "calibration"}
    away = split.drop(alone.index)
    assert set(away) == {"test", "excluded"}
    assert away.index[away == "excluded"].tolist() == ["0000", "0130"]


def test_given_test_images_of_the_training_source_and_their_copies_stay_test():
    rows = [{"source": "a", **row} for row in many()] + [{"source": "b", **row} for row in many()]
    rows += [{"source": "b", **row, "given_split": "test"} for row in many(6, 6)]
    # a copy of a given test image, of another image, of both
    data, _, made = train_on_first(rows, [(0, 120), (1, 60), (2, 61, 121)])
    split = made.table.set_index("image_id")["split"]
    assert (split[(data.table["given_split"] == "test").to_numpy()] == "test").all()
    assert split[["0000", "0001", "0002", "0061"]].tolist() == ["test", "excluded", "excluded", "excluded"]


@pytest.mark.parametrize(
    ("sources", "message"), [("ac", "no source is called 'b'; there are a, c"), ("b", "needs others")]
)
def test_a_source_to_train_on_and_others_to_test_on_must_be_there(sources, message):
    with pytest.raises(SplitError, match=message):
        train_on_first([{"source": source, **row} for source in sources for row in many()])

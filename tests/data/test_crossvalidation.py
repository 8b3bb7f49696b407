import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests import make_manifest, many
from melanoma.data.crossvalidation import cross_validate
from melanoma.errors import SplitError

few = st.sampled_from(["", "", "", "1", "2", "3"])
row = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["a", "b"]),
        "y_true": st.integers(0, 1),
        "lesion_id": few,
        "content_digest": st.sampled_from(["", "", "", "x", "y"]),
        "given_split": st.sampled_from(["", "", "train", "val", "test"]),
    }
)
enough = [{"source": source, "y_true": number % 2} for source in "ab" for number in range(24)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(row, max_size=30), folds=st.integers(2, 4), seed=st.integers(0, 5))
def test_every_image_is_tested_once_and_no_group_crosses(rows, folds, seed):
    data = make_manifest([*rows, *enough])
    made = cross_validate(data, folds, seed=seed)
    splits = [one.table["split"] for one in made]
    tested = sum((split == "test").astype(int) for split in splits)
    given_test = data.table["given_split"] == "test"
    kept_apart = made[0].table["group_id"].isin(made[0].table["group_id"][given_test])
    assert (tested[~kept_apart] == 1).all()
    assert (tested[kept_apart] == 0).all()
    for one in made:
        used = one.table[one.table["split"] != "excluded"]
        assert (used.groupby("group_id")["split"].nunique() == 1).all()
        assert set(used["split"]) == {"train", "val", "calibration", "test"}
    assert [one.digest for one in made] == [one.digest for one in cross_validate(data, folds, seed=seed)]


def test_folds_have_equal_shares_of_each_class_of_each_source():
    data = make_manifest([*many(source="a"), *many(n_other=100, n_melanoma=50, source="b")])
    for one in cross_validate(data, 5, seed=1):
        test = data.table[one.table["split"] == "test"]
        counts = test.groupby(["source", "y_true"]).size()
        assert counts.to_dict() == {("a", 0): 8, ("a", 1): 4, ("b", 0): 20, ("b", 1): 10}
        assert (one.table["split"] == "val").sum() == pytest.approx(0.1 * (210 - 42), abs=4)


def test_too_few_is_said():
    data = make_manifest(many(n_other=20, n_melanoma=3))
    with pytest.raises(
        SplitError, match="3 groups of melanoma images cannot fill 5 folds; give fewer --folds"
    ):
        cross_validate(data, 5, seed=1)
    with pytest.raises(SplitError, match="at least 2"):
        cross_validate(data, 1, seed=1)

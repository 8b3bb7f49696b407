import pandas as pd

from melanoma.audit.groups import join
from melanoma.audit.leaks import find_leaks, find_overlaps
from melanoma.audit.result import IMAGE_COLUMNS

PAIRS = ["first", "second", "kind", "score", "change"]


def images(*rows):
    table = pd.DataFrame([dict.fromkeys(IMAGE_COLUMNS, "") | row for row in rows])
    return table.assign(y_true=pd.array([row.get("y_true") for row in rows], dtype="Int64"))


def pairs(*rows):
    return pd.DataFrame([(*row, 0.9, "") for row in rows], columns=PAIRS)


def list_leaks(*args):
    return {
        (leak.across, leak.by, leak.first, leak.second): (leak.groups, leak.images)
        for leak in find_leaks(*args)
    }


def list_overlaps(table, found):
    return find_overlaps(table, found, join(len(table), found))


def test_a_copy_across_the_given_cut_is_a_leak():
    table = images(
        {"source": "a", "given_split": "train"},
        {"source": "a", "given_split": "test"},
        {"source": "a", "given_split": "test"},
        {"source": "a"},
    )
    found = find_leaks(table, pairs((0, 1, "copy"), (2, 3, "copy")))
    assert [(leak.across, leak.first, leak.second, leak.examples) for leak in found] == [
        ("splits", "train", "test", ((0, 1),))
    ]


def test_looser_ties_are_told_when_they_cross_more():
    table = images(*[{"source": name} for name in "aabb"])
    found = list_leaks(table, pairs((0, 2, "copy"), (1, 3, "view")))
    assert found == {
        ("sources", "photograph", "a", "b"): (1, 2),
        ("sources", "lesion", "a", "b"): (2, 4),
    }


def test_one_patient_in_two_splits():
    table = images(
        {"source": "a", "patient_id": "7", "given_split": "train"},
        {"source": "a", "patient_id": "7", "given_split": "test"},
        {"source": "b", "patient_id": "7", "given_split": "train"},
    )
    assert list_leaks(table, pairs()) == {("splits", "patient", "train", "test"): (1, 2)}


def test_an_archive_id_means_the_same_patient_in_every_source():
    table = images({"source": "a", "patient_id": "IP_0123456"}, {"source": "b", "patient_id": "IP_0123456"})
    assert list_leaks(table, pairs()) == {("sources", "patient", "a", "b"): (1, 2)}


def test_an_id_of_ones_own_means_nothing_elsewhere():
    table = images({"source": "a", "patient_id": "patient1"}, {"source": "b", "patient_id": "patient1"})
    assert list_leaks(table, pairs()) == {}


def test_many_equal_images_all_take_part():
    table = images(*[{"source": name} for name in "ab" for _ in range(9)])
    found = list_overlaps(table, pairs(*[(0, row, "same_bytes") for row in range(1, 18)]))
    assert {(o.first, o.second): (o.first_images, o.second_images) for o in found} == {
        ("a", "a"): (9, 9),
        ("a", "b"): (9, 9),
        ("b", "b"): (9, 9),
    }


def test_labels_that_disagree_on_one_photograph_and_unlabelled_images():
    table = images(
        {"source": "a", "y_true": 0}, {"source": "a", "y_true": 1}, {"source": "a", "y_true": None}
    )
    found = list_leaks(table, pairs((0, 1, "same_bytes"), (1, 2, "copy")))
    assert found == {("labels", "photograph", "melanoma", "other"): (1, 2)}


def test_overlaps_count_images_and_melanomas_once():
    table = images(
        {"source": "a", "y_true": 1},
        {"source": "a", "y_true": 0},
        {"source": "b", "y_true": 1},
        {"source": "b"},
    )
    found = list_overlaps(table, pairs((0, 2, "copy"), (0, 3, "copy"), (1, 3, "view")))
    assert {(o.first, o.second): (o.copies, o.views, o.first_images, o.second_images) for o in found} == {
        ("a", "a"): (0, 0, 2, 2),
        ("a", "b"): (2, 1, 2, 2),
        ("b", "b"): (0, 0, 2, 2),
    }
    assert (found[1].first_melanoma, found[1].second_melanoma) == (1, 1)


def test_nothing_to_find():
    assert find_leaks(images({"source": "a"}), pairs()) == ()

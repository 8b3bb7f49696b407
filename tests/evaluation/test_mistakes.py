import pandas as pd

from melanoma.evaluation.mistakes import find_worst


def make_rows(*images):
    """Images as (y_true, y_prob, decision, group)."""
    table = pd.DataFrame(images, columns=["y_true", "y_prob", "decision", "group"])
    names = [f"i{number}" for number in range(len(table))]
    return table.assign(source="s", path=names, image_id=names)


def test_surest_errors_come_first_and_right_or_refused_images_never():
    rows = make_rows(
        (1, 0.3, "no_sign", "a"),
        (1, 0.1, "no_sign", "b"),
        (1, 0.01, "cannot_assess", "c"),
        (1, 0.9, "refer", "d"),
        (0, 0.6, "refer", "e"),
        (0, 0.99, "refer", "f"),
        (0, 1.0, "cannot_assess", "g"),
        (0, 0.2, "no_sign", "h"),
    )
    worst = find_worst(rows)
    assert [(one.image_id, one.missed) for one in worst] == [
        ("i1", True),
        ("i0", True),
        ("i5", False),
        ("i4", False),
    ]


def test_group_is_shown_once_with_its_worst_image():
    rows = make_rows(
        (1, 0.2, "no_sign", "a"),
        (1, 0.1, "no_sign", "a"),
        (1, 0.3, "no_sign", None),
        (1, 0.4, "no_sign", None),
    )
    assert [one.image_id for one in find_worst(rows)] == ["i1", "i2", "i3"]


def test_no_more_than_asked_for_and_the_diagnosis_if_stated():
    rows = make_rows(*[(0, 0.5 + number / 100, "refer", str(number)) for number in range(30)])
    worst = find_worst(rows.assign(diagnosis="nevus"), count=12)
    assert [one.y_prob for one in worst] == [0.5 + number / 100 for number in range(29, 17, -1)]
    assert {one.diagnosis for one in worst} == {"nevus"}

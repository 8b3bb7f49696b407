import numpy as np

from melanoma.evaluation.sampling import draw_images


def test_groups_are_drawn_whole_and_classes_evenly():
    y_true = np.array([1] * 30 + [0] * 70 + [-1] * 5)
    group = np.concatenate([np.arange(30) // 3, 10 + np.arange(70) // 7, np.full(5, 20)])
    drawn = draw_images(y_true, group, 14, seed=3)
    assert (np.diff(drawn) > 0).all()
    assert [int((y_true[drawn] == value).sum()) for value in (1, 0, -1)] == [14, 14, 5]
    others = group[drawn][y_true[drawn] == 0]
    assert len(np.unique(others)) == 2  # two groups of seven
    assert drawn.tolist() == draw_images(y_true, group, 14, seed=3).tolist()
    assert drawn.tolist() != draw_images(y_true, group, 14, seed=4).tolist()


def test_none_takes_all():
    assert draw_images(np.array([1, 0, 0]), np.zeros(3, np.int64), 0, seed=1).tolist() == [0, 1, 2]

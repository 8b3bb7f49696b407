import numpy as np
import pytest

from melanoma.evaluation.localisation import (
    draw_blob,
    find_edge,
    measure_share,
    pair_unrelated,
    place_mask,
    points_at,
)
from melanoma.inference.network_file import WHOLE
from melanoma.inference.preprocessing import Preprocessing, find_box

SQUASH, CROP = Preprocessing(32), Preprocessing(32, fit="crop")


def see(mask, spec):
    return find_box(np.zeros((*mask.shape, 3), np.uint8), spec)


def box_mask(height, width, rows, columns):
    mask = np.zeros((height, width), np.bool_)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def test_a_mask_falls_on_the_cells_that_show_it():
    mask = box_mask(60, 100, (0, 30), (50, 80))  # upper half, columns 0.5 to 0.8 of the width
    cells = place_mask(mask, (2, 4), see(mask, SQUASH), WHOLE)
    np.testing.assert_allclose(cells, [[0, 0, 1, 0.2], [0, 0, 0, 0]])


def test_what_the_crop_cuts_off_is_not_counted():
    mask = box_mask(60, 100, (0, 60), (0, 35))  # the crop sees columns 20 to 80
    np.testing.assert_allclose(place_mask(mask, (1, 4), see(mask, CROP), WHOLE), [[1, 0, 0, 0]])
    np.testing.assert_allclose(place_mask(mask, (1, 4), see(mask, SQUASH), WHOLE), [[1, 0.4, 0, 0]])


def test_cells_lie_where_the_network_looks():
    mask = box_mask(100, 100, (0, 100), (20, 30))
    inner = (0.2, 0.2, 0.6, 0.6)
    np.testing.assert_allclose(place_mask(mask, (1, 4), see(mask, SQUASH), inner), [[1, 0, 0, 0]])
    beyond = (-0.2, 0.0, 0.2, 1.0)  # the first of two cells lies outside the image
    mask = box_mask(100, 100, (0, 50), (0, 20))
    np.testing.assert_allclose(place_mask(mask, (1, 2), see(mask, SQUASH), beyond), [[0, 0.5]])


def test_cells_finer_than_the_image_and_any_size():
    for height, width in ((7, 5), (33, 250)):
        mask = np.ones((height, width), np.bool_)
        cells = place_mask(mask, (17, 17), see(mask, CROP), (0.05, 0.05, 0.95, 0.95))
        np.testing.assert_allclose(cells, 1)


def test_shares_and_the_pointing_game():
    cells = np.array([[1.0, 0.5], [0.49, 0.0]])
    assert measure_share(np.array([[1, 2], [0, 1]]), cells) == pytest.approx((1 + 1) / 4)
    assert measure_share(np.ones((2, 2)), cells) == pytest.approx(cells.mean())
    assert np.isnan(measure_share(np.zeros((2, 2)), cells))
    assert find_edge(cells).tolist() == [[0, 1], [1, 0]]
    assert points_at(np.array([[0, 2], [1, 1]]), cells)
    assert not points_at(np.array([[0, 1], [2, 1]]), cells)


def test_the_blob_lies_in_the_middle():
    blob = draw_blob((17, 17))
    np.testing.assert_allclose(blob, blob[::-1, ::-1])
    assert np.unravel_index(blob.argmax(), blob.shape) == (8, 8)
    assert blob[8, 8 - 3] / blob[8, 8] == pytest.approx(np.exp(-((3 / 17 * 6) ** 2) / 2))


def test_partners_are_of_another_group():
    group = np.array([0, 0, 0, 1, 2, 2])
    partner = pair_unrelated(group, np.random.default_rng(0))
    assert (partner >= 0).all()
    assert (group[partner] != group).all()
    assert pair_unrelated(np.zeros(3, np.int64), np.random.default_rng(0)).tolist() == [-1, -1, -1]
    assert len(pair_unrelated(np.zeros(0, np.int64), np.random.default_rng(0))) == 0

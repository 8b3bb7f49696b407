import numpy as np
import pytest

from melanoma.inference.explain import overlay, spread
from melanoma.inference.preprocessing import Preprocessing

WHITE = np.full((60, 100, 3), 200, np.uint8)


def heat(row: int, column: int, size: int = 10) -> np.ndarray:
    heatmap = np.zeros((size, size), np.float32)
    heatmap[row, column] = 5
    return heatmap


def changed(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - 200).max(axis=-1) > 20


@pytest.mark.parametrize(("row", "column"), [(2, 7), (8, 1)])
def test_the_hot_place_is_where_the_network_saw_it(row, column):
    picture = overlay(WHITE, heat(row, column), Preprocessing(32))
    assert picture.shape == WHITE.shape
    assert picture.dtype == np.uint8
    ys, xs = np.nonzero(changed(picture))
    assert ys.mean() == pytest.approx(6 * row + 3, abs=1.5)
    assert xs.mean() == pytest.approx(10 * column + 5, abs=2)


def test_outside_the_crop_the_image_stays():
    picture = overlay(WHITE, np.ones((10, 10), np.float32), Preprocessing(32, fit="crop"))
    seen = changed(picture)
    assert seen[:, 20:80].all()
    assert not seen[:, :20].any()
    assert not seen[:, 80:].any()


@pytest.mark.parametrize(("height", "width"), [(61, 100), (60, 101), (33, 250), (250, 33), (32, 32)])
def test_any_shape_will_do(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    for fit in ("squash", "crop"):
        assert overlay(image, heat(3, 3), Preprocessing(32, fit=fit)).shape == image.shape


def test_an_empty_map_leaves_the_image_as_it_is():
    np.testing.assert_array_equal(overlay(WHITE, np.zeros((4, 4), np.float32), Preprocessing(32)), WHITE)


def test_strength_is_the_greatest_opacity():
    full = overlay(WHITE, np.ones((4, 4), np.float32), Preprocessing(32), strength=1.0)
    np.testing.assert_array_equal(full, np.full_like(full, [250, 193, 39]))
    half = overlay(WHITE, np.ones((4, 4), np.float32), Preprocessing(32), strength=0.5)
    assert np.abs(half.astype(int) - [225, 196, 119]).max() <= 1


def test_the_original_is_not_written_to():
    image = WHITE.copy()
    overlay(image, heat(3, 3), Preprocessing(32))
    np.testing.assert_array_equal(image, WHITE)


def test_cells_lie_where_the_network_looks_and_the_outermost_reach_the_edge():
    box = (0.2, 0.2, 0.6, 0.6)
    spot = spread(
        heat(0, 9), (100, 100), (0, 0, 100, 100), box
    )  # the cell of rows 20 to 24, columns 56 to 60
    assert spot[10, 80] == spot[21, 59] == 5
    assert 0 < spot[23, 56] < 5
    assert spot[30:].max() == 0
    assert spot[:, :50].max() == 0
    crop = spread(np.ones((4, 4), np.float32), (60, 100), (20, 0, 80, 60), box)
    np.testing.assert_allclose(crop[:, 20:80], 1)
    assert crop[:, :20].max() == crop[:, 80:].max() == 0

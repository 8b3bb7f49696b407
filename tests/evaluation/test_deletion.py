from types import SimpleNamespace

import numpy as np
import pytest

from melanoma.evaluation.deletion import find_hottest, measure_hiding
from melanoma.inference.calibration import Calibration
from melanoma.inference.network_file import WHOLE
from melanoma.inference.preprocessing import Preprocessing

SKIN = np.full((100, 100, 3), 200, np.uint8)


class DarkSpotSeeker:
    """A stand-in for a predictor whose logit grows with the number of dark pixels."""

    def __init__(self, fit="squash"):
        self.bundle = SimpleNamespace(
            preprocessing=Preprocessing(32, fit=fit), calibration=Calibration(0.01, 0.0, 0.5, 10)
        )
        self.heat_box = WHOLE

    def run(self, image):
        return SimpleNamespace(logit=np.array([(image[..., 0] < 100).sum()]))


def spot(row, column):
    image = SKIN.copy()
    image[row : row + 20, column : column + 20] = 30
    heat = np.zeros((10, 10), np.float32)
    heat[row // 10 : row // 10 + 2, column // 10 : column // 10 + 2] = [[3, 2], [2, 3]]
    return image, heat


def test_hiding_what_counts_lowers_the_probability_more_than_hiding_elsewhere():
    image, heat = spot(20, 60)
    hottest, elsewhere = measure_hiding(DarkSpotSeeker(), image, heat, np.random.default_rng(0))
    assert hottest == pytest.approx(0.5, abs=0.05)
    assert len(elsewhere) == 5
    assert np.mean(elsewhere) > 0.9  # of four dark hundreds nearly all are left
    assert (elsewhere, hottest) == measure_hiding(DarkSpotSeeker(), image, heat, np.random.default_rng(0))[
        ::-1
    ]
    assert image[25, 65, 0] == 30  # the caller's image is not painted on


@pytest.mark.parametrize("size", [(100, 100), (61, 97)])
def test_a_tenth_is_hidden_where_the_heat_is(size):
    heat = np.add.outer(np.arange(17), np.arange(17)).astype(np.float32)
    hidden = find_hottest(heat, size, (0, 0, size[1], size[0]), WHOLE)
    assert hidden.mean() == pytest.approx(0.1, abs=0.02)
    assert hidden[-1, -1]
    assert not hidden[0].any()


def test_hidden_places_lie_in_the_crop_and_have_heat():
    hidden = find_hottest(np.ones((5, 5), np.float32), (60, 100), (20, 0, 80, 60), WHOLE)
    assert hidden[:, 20:80].all()  # all are equally hot
    assert not hidden[:, :20].any()
    assert not hidden[:, 80:].any()
    heat = np.zeros((50, 50), np.float32)
    heat[10, 10] = 1
    assert 0 < find_hottest(heat, (100, 100), (0, 0, 100, 100), WHOLE).mean() < 0.01
    assert not find_hottest(np.zeros((5, 5), np.float32), (60, 60), (0, 0, 60, 60), WHOLE).any()

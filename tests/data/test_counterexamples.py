import numpy as np
import pytest

from conftest import require_extra

require_extra("skimage", "bench")

from melanoma.data import counterexamples, not_dermoscopy
from melanoma.inference.description import FEATURES


def test_the_stored_numbers_are_those_of_the_drawings():
    """Run scripts/write_counterexamples.py when this fails after a change."""
    stored = counterexamples.load()
    assert stored.shape == (counterexamples.COUNT, len(FEATURES))
    assert np.isfinite(stored).all()
    assert stored[:12] == pytest.approx(counterexamples.describe_first(12), abs=0.02)


def test_pictures_that_are_no_dermoscopy_come_by_kind_from_a_seed():
    found = list(not_dermoscopy.draw_all(2, seed=3))
    assert [kind for kind, _ in found] == [kind for kind in not_dermoscopy.KINDS for _ in range(2)]
    for (kind, picture), (_, again) in zip(found, not_dermoscopy.draw_all(2, seed=3), strict=True):
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert 96 <= min(picture.shape[:2]) <= max(picture.shape[:2]) <= 1024, kind
        assert (picture == again).all()
    pairs = zip(found[::2], found[1::2], strict=True)
    same = [kind for (kind, one), (_, two) in pairs if one.shape == two.shape and (one == two).all()]
    assert set(same) <= {"blank or disc"}

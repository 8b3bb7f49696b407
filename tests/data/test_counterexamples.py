import numpy as np
import pytest

from conftest import require_extra

require_extra("skimage", "bench")

from melanoma.data import counterexamples, not_dermoscopy, photographs
from melanoma.inference.description import FEATURES


def test_the_stored_numbers_are_those_of_the_pictures():
    """Run scripts/write_counterexamples.py when this fails after a change."""
    stored, names = counterexamples.load(), counterexamples.name_photographs()
    assert stored.shape == (len(names), len(FEATURES))
    assert np.isfinite(stored).all()
    some = [*range(4), counterexamples.DRAWN, len(names) - 1]
    assert stored[some] == pytest.approx(counterexamples.describe_anew(some), abs=0.02)


def test_a_photograph_can_be_left_out():
    stored, names = counterexamples.load(), counterexamples.name_photographs()
    assert (counterexamples.load({"chelsea", "moon"}) == stored[~np.isin(names, ["chelsea", "moon"])]).all()
    assert set(names) == {"", *photographs.NAMES}


def test_pictures_that_are_no_dermoscopy_come_by_kind_from_a_seed():
    found = list(not_dermoscopy.draw_all(1, seed=3))
    assert [kind for kind, _, _ in found] == list(not_dermoscopy.KINDS)
    for (kind, _, picture), (_, _, again) in zip(found, not_dermoscopy.draw_all(1, seed=3), strict=True):
        assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)
        assert 96 <= min(picture.shape[:2]) <= max(picture.shape[:2]) <= 1024, kind
        assert (picture == again).all()


def test_a_fold_shows_only_its_own_photographs(monkeypatch):
    shown = []

    def show(name, *_):
        shown.append(name)
        return np.full((400, 400, 3), 128, np.uint8)

    monkeypatch.setattr(not_dermoscopy, "draw_part", show)
    monkeypatch.setattr(not_dermoscopy, "load_picture", show)
    parts, seen = not_dermoscopy.deal(4, seed=1), set()
    assert sorted(name for part in parts for name in part) == list(photographs.NAMES)
    for kind, fold, _ in not_dermoscopy.draw_all(8, seed=1, folds=4):
        assert parts[fold].issuperset(shown), kind
        seen.update(shown)
        shown.clear()
    assert len(seen) > 20

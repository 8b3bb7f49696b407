import numpy as np
import pytest

from melanoma.config import TrainingConfig
from melanoma.training.draws import count_draws, draw_order

# Source 0: 800 of one class and 100 of the other; source 1: 60 and 40; source 2: 25 of one class only.
SOURCE = np.repeat([0, 0, 1, 1, 2], [800, 100, 60, 40, 25])
Y_TRUE = np.repeat([0, 1, 0, 1, 1], [800, 100, 60, 40, 25]).astype(np.float32)
DIAGNOSIS = np.repeat([0, 1, 2, 0, 2, 2], [720, 80, 100, 60, 40, 25])  # of the 800, 80 are another diagnosis


def draw(seed=0, **values):
    config = TrainingConfig(**values)
    return draw_order(Y_TRUE, SOURCE, DIAGNOSIS, config, np.random.default_rng(seed)), config


def test_every_image_once():
    order, config = draw()
    assert sorted(order) == list(range(len(SOURCE)))
    assert count_draws(len(SOURCE), config) == len(SOURCE)


def test_balanced_draws_make_classes_alike_within_a_source_and_sources_by_the_root_of_their_size():
    order, config = draw(draw="balanced", draws=40_000)
    assert len(order) == count_draws(len(SOURCE), config) == 40_000
    share = np.array(
        [[np.mean((SOURCE[order] == s) & (Y_TRUE[order] == y)) for y in (0, 1)] for s in range(3)]
    )
    roots = np.sqrt([900, 100, 25])
    assert share.sum(axis=1) == pytest.approx(roots / roots.sum(), abs=0.01)
    assert share[:2, 0] == pytest.approx(share[:2, 1], abs=0.01)
    assert share[2, 0] == 0


def test_diagnoses_of_a_class_are_drawn_by_the_root_of_their_number():
    order, _ = draw(draw="balanced", draws=40_000)
    times = np.bincount(DIAGNOSIS[order[(SOURCE[order] == 0) & (Y_TRUE[order] == 0)]])
    assert times[0] / times[1] == pytest.approx(np.sqrt(720 / 80), rel=0.05)


def test_no_image_comes_again_before_all_of_its_kind_did():
    order, _ = draw(draw="balanced", draws=3000)
    times = np.bincount(order, minlength=len(SOURCE))
    for source in range(3):
        for diagnosis in range(3):
            kind = times[(source == SOURCE) & (diagnosis == DIAGNOSIS)]
            assert len(kind) == 0 or np.ptp(kind) <= 1


def test_order_follows_the_seed():
    one, again, other = (draw(seed, draw="balanced", draws=500)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert count_draws(70, TrainingConfig(draw="balanced")) == 70

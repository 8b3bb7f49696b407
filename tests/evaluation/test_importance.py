import numpy as np
import pytest

from melanoma.evaluation.importance import measure

N = 400


@pytest.fixture
def sample():
    """Features of which the first tells the class, the second a little, the third nothing."""
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, N)
    features = rng.normal(0, 1, (N, 3)) + y_true[:, None] * np.array([2.0, 0.5, 0.0])
    return features, y_true


def falls(sample, parts, group=None, score=lambda x: x @ np.array([1.0, 0.3, 0.0]), **options):
    features, y_true = sample
    group = np.arange(N) if group is None else group
    return measure(score, features, y_true, group, parts, seed=1, resamples=200, **options)


def test_what_tells_the_class_is_missed_and_what_does_not_is_not(sample):
    found = falls(sample, {"first": [0], "second": [1], "third": [2]})
    assert 0.3 < found["first"].value < 0.5
    assert found["first"].low < found["first"].value < found["first"].high
    assert found["first"].low > 0.25
    assert 0 < found["second"].value < found["first"].value
    assert found["third"].value == 0
    assert found["third"].low is None


def test_twins_stand_in_for_each_other_until_both_are_shuffled(sample):
    features, y_true = sample
    twins = np.column_stack([features[:, 0], features[:, 0]])
    found = falls((twins, y_true), {"one": [0], "both": [0, 1]}, score=lambda x: x.max(axis=1))
    assert found["both"].value > found["one"].value + 0.1


def test_columns_of_a_part_are_taken_from_one_image(sample):
    """Shuffled one by one the sum of twins with opposite signs would not stay 0."""
    features, y_true = sample
    opposite = np.column_stack([features[:, 0], -features[:, 0], features[:, 1]])
    found = falls((opposite, y_true), {"both": [0, 1]}, score=lambda x: x[:, 0] + x[:, 1] + 1e-6 * x[:, 2])
    assert found["both"].value == pytest.approx(0, abs=1e-9)


def test_images_that_depend_on_each_other_widen_the_interval(sample):
    alone = falls(sample, {"first": [0]})["first"]
    together = falls(sample, {"first": [0]}, group=np.arange(N) // 40)["first"]
    assert together.value == alone.value
    assert together.high - together.low != alone.high - alone.low


def test_same_seed_same_figures_and_progress_is_told(sample):
    told = []
    first = falls(sample, {"first": [0], "second": [1]}, progress=lambda *count: told.append(count))
    assert falls(sample, {"first": [0], "second": [1]}) == first
    assert told == [(1, 2), (2, 2)]

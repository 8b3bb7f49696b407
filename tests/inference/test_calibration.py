import importlib
import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import require_or_skip
from melanoma.errors import CalibrationError
from melanoma.inference.calibration import Calibration, fit_calibration, fit_logistic, rebase, sigmoid

SHARE = st.floats(0.001, 0.999)


def import_sklearn():
    if importlib.util.find_spec("sklearn") is None:
        require_or_skip("scikit-learn is not installed: pip install 'melanoma[bench]'")
    return importlib.import_module("sklearn.linear_model")


def draw(n, slope, intercept, seed=0):
    rng = np.random.default_rng(seed)
    logit = rng.normal(1, 3, n)
    return logit, (rng.random(n) < sigmoid(slope * logit + intercept)).astype(np.int64)


def test_finds_the_slope_and_the_intercept_that_made_the_labels():
    logit, y_true = draw(200_000, 0.6, -0.8)
    found = fit_calibration(logit, y_true)
    assert found.slope == pytest.approx(0.6, abs=0.01)
    assert found.intercept == pytest.approx(-0.8, abs=0.02)
    assert found.prevalence == y_true.mean()
    assert found.n == 200_000


def test_agrees_with_scikit_learn():
    linear_model = import_sklearn()
    logit, y_true = draw(500, 0.6, -0.8)
    reference = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    reference.fit(logit[:, None], y_true)
    slope, intercept = fit_logistic(logit, y_true.astype(float))
    assert slope == pytest.approx(reference.coef_[0, 0], abs=1e-4)
    assert intercept == pytest.approx(reference.intercept_[0], abs=1e-4)


def test_the_smoothed_targets_are_platts():
    """Scikit-learn on each image twice, once with either label, weighted as Platt's targets are."""
    linear_model = import_sklearn()
    logit, y_true = draw(60, 2, 0.3)
    positive, negative = y_true.sum(), (1 - y_true).sum()
    target = np.where(y_true == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    reference = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    weights = np.concatenate([target, 1 - target])
    reference.fit(np.tile(logit, 2)[:, None], np.repeat([1, 0], 60), weights)
    found = fit_calibration(logit, y_true)
    assert found.slope == pytest.approx(reference.coef_[0, 0], abs=1e-4)
    assert found.intercept == pytest.approx(reference.intercept_[0], abs=1e-4)


def test_separable_images_give_a_finite_slope():
    found = fit_calibration(np.array([-3.0, -2.0, 2.0, 3.0]), np.array([0, 0, 1, 1]))
    assert 0 < found.slope < 100
    assert 0 < found.transform(np.array([-3.0]))[0] < 0.5 < found.transform(np.array([3.0]))[0] < 1


@pytest.mark.parametrize("y_true", [[0, 0, 0], [1, 1, 1], []])
def test_one_class_is_refused(y_true):
    with pytest.raises(CalibrationError, match="one class only"):
        fit_calibration(np.zeros(len(y_true)), np.array(y_true, dtype=np.int64))


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_the_scale_of_the_logits_changes_nothing(factor, shift):
    logit, y_true = draw(400, 0.6, -0.8)
    plain = fit_calibration(logit, y_true).transform(logit)
    moved = fit_calibration(factor * logit + shift, y_true).transform(factor * logit + shift)
    np.testing.assert_allclose(moved, plain, atol=1e-4)


def test_equal_logits_give_the_prevalence():
    found = fit_calibration(np.full(100, 7.0), np.arange(100) % 4 // 3)
    assert found.transform(np.array([7.0]))[0] == pytest.approx(0.25, abs=0.02)


def test_extreme_logits_stay_in_range_without_a_warning():
    y_prob = Calibration(3.0, 1.0, 0.5, 10).transform(np.array([-1e30, -1e4, 0, 1e4, 1e30], dtype=np.float32))
    assert y_prob[[0, 1, 3, 4]].tolist() == [0, 0, 1, 1]
    assert np.all(np.isfinite(rebase(y_prob, 0.5, 0.01)))


@given(y_prob=st.floats(0, 1), prevalence=SHARE, other=SHARE)
@settings(deadline=None)
def test_rebasing_is_bayes_rule(y_prob, prevalence, other):
    value = np.array(y_prob)
    moved = float(rebase(value, prevalence, other))
    assert rebase(value, prevalence, prevalence) == pytest.approx(y_prob, abs=1e-12)
    assert rebase(np.array(moved), other, prevalence) == pytest.approx(y_prob, abs=1e-6)
    assert 0 <= moved <= 1
    if 0 < y_prob < 1 - 1e-9:  # likelihood ratio = posterior odds / prior odds, which no prevalence changes
        odds = y_prob / (1 - y_prob) / (prevalence / (1 - prevalence)) * (other / (1 - other))
        assert moved == pytest.approx(odds / (1 + odds), rel=1e-6)


def test_rebasing_by_hand():
    """Sensitivity 0.9, specificity 0.8: positive predictive value 0.9/1.1 at 1:1, and 0.009/0.207 at 1 in 100."""
    assert rebase(np.array(0.9 / 1.1), 0.5, 0.01) == pytest.approx(0.009 / 0.207)


@given(logit=st.floats(-20, 20), prevalence=SHARE, other=SHARE)
@settings(deadline=None)
def test_a_moved_calibration_gives_rebased_probabilities(logit, prevalence, other):
    calibration = Calibration(0.7, -0.4, prevalence, 50)
    moved = calibration.move(other)
    expected = rebase(calibration.transform(np.array([logit])), prevalence, other)
    np.testing.assert_allclose(moved.transform(np.array([logit])), expected, rtol=1e-6, atol=1e-12)
    assert (moved.slope, moved.prevalence, moved.n) == (0.7, other, 50)


def test_to_dict_and_back():
    calibration = Calibration(1.5, -0.25, 0.3, 99)
    assert Calibration.from_dict(calibration.to_dict()) == calibration

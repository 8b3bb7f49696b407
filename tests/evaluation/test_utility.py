import json

import numpy as np
import pytest

from conftest import require_extra

require_extra("scipy", "bench")

from scipy.stats import beta

from melanoma.evaluation.metrics import Estimate, Outcomes
from melanoma.evaluation.utility import draw_decision_curve, project
from melanoma.inference.calibration import rebase, sigmoid


def outcomes(y_true, y_prob, assessed=None, group=None):
    y_true = np.asarray(y_true, dtype=np.int64)
    every = np.ones(len(y_true), dtype=np.bool_)
    return Outcomes(
        y_true,
        np.asarray(y_prob, dtype=np.float64),
        every,
        every if assessed is None else np.asarray(assessed),
        np.arange(len(y_true)) if group is None else np.asarray(group),
    )


def clopper_pearson(k, n):
    low = 0.0 if k == 0 else float(beta.ppf(0.025, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(0.975, k + 1, n - k))
    return Estimate(k / n, low, high)


def test_ppv_and_npv_by_hand():
    """Of 1,000 people at 1 %: 9 of 10 melanomas found, 198 of 990 others referred."""
    (at,) = project(Estimate(0.9, 0.8, 0.95), Estimate(0.8, 0.75, 0.85), [0.01])
    assert at.ppv.value == pytest.approx(9 / (9 + 198))
    assert at.npv.value == pytest.approx(792 / (792 + 1))
    assert at.ppv.low < at.ppv.value < at.ppv.high
    assert at.npv.low < at.npv.value < at.npv.high
    assert json.loads(json.dumps(at.to_dict()))["ppv"]["value"] == at.ppv.value


def test_the_usual_prevalences_and_how_they_change_the_values():
    found = project(Estimate(0.9, 0.8, 0.95), Estimate(0.8, 0.75, 0.85))
    assert [at.prevalence for at in found] == [0.01, 0.02, 0.05, 0.1]
    assert np.all(np.diff([at.ppv.low for at in found]) > 0)
    assert np.all(np.diff([at.npv.high for at in found]) < 0)


def test_an_interval_of_one_input_only_is_passed_through():
    """With the specificity known, PPV's bounds are those at the bounds of sensitivity."""
    (at,) = project(Estimate(0.9, 0.8, 0.95), Estimate(0.8, 0.8, 0.8), [0.05])
    for bound, sensitivity in ((at.ppv.low, 0.8), (at.ppv.high, 0.95)):
        assert bound == pytest.approx(sensitivity * 0.05 / (sensitivity * 0.05 + 0.2 * 0.95))


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "m", "n"),
    [(0.95, 0.6, 43, 200), (0.9, 0.9, 43, 200), (0.95, 0.99, 20, 100)],
)
def test_the_intervals_hold_the_truth_as_often_as_they_say(sensitivity, specificity, m, n):
    rng = np.random.default_rng(0)
    ppv = sensitivity * 0.02 / (sensitivity * 0.02 + (1 - specificity) * 0.98)
    npv = specificity * 0.98 / (specificity * 0.98 + (1 - sensitivity) * 0.02)
    held = []
    for found, passed in zip(
        rng.binomial(m, sensitivity, 800), rng.binomial(n, specificity, 800), strict=True
    ):
        (at,) = project(clopper_pearson(found, m), clopper_pearson(passed, n), [0.02])
        held.append([at.ppv.low <= ppv <= at.ppv.high, at.npv.low <= npv <= at.npv.high])
    assert np.all(np.mean(held, axis=0) > 0.94)


def test_perfect_values_have_one_sided_intervals():
    (at,) = project(Estimate(1.0, 0.9, 1.0), Estimate(1.0, 0.95, 1.0), [0.1])
    assert (at.ppv.value, at.ppv.high, at.npv.value, at.npv.high) == (1, 1, 1, 1)
    assert at.ppv.low == pytest.approx(0.1 * np.sqrt(0.99) / (0.1 * np.sqrt(0.99) + 0.9 * 0.05))
    assert 0.98 < at.npv.low < 1


def test_what_does_not_exist_says_why():
    nobody = project(Estimate(0.0, 0.0, 0.1), Estimate(1.0, 0.9, 1.0), [0.1])[0]
    assert (nobody.ppv.value, nobody.ppv.note) == (None, "nobody would be referred")
    assert nobody.npv.value == pytest.approx(0.9)
    everybody = project(Estimate(1.0, 0.9, 1.0), Estimate(0.0, 0.0, 0.1), [0.1])[0]
    assert (everybody.npv.value, everybody.npv.note) == (None, "everybody would be referred")
    missing = project(Estimate(None, None, None, "one class only"), Estimate(0.8, 0.7, 0.9), [0.1])[0]
    assert (missing.ppv.value, missing.ppv.note, missing.npv.note) == (
        None,
        "one class only",
        "one class only",
    )
    open_ended = project(Estimate(0.9, None, None, "too few"), Estimate(0.8, 0.7, 0.9), [0.1])[0]
    assert open_ended.ppv.value == pytest.approx(0.09 / 0.27)
    assert (open_ended.ppv.low, open_ended.ppv.note) == (None, "sensitivity or specificity has no interval")


def test_net_benefit_by_hand():
    """At 0.2 a false alarm costs a quarter: two of two melanomas, one of three others referred."""
    images = outcomes([1, 1, 0, 0, 0], [0.9, 0.3, 0.25, 0.1, 0.05])
    curve = draw_decision_curve(images, calibrated_to=0.4, thresholds=[0.2, 0.5])
    low, high = curve.points
    assert curve.prevalence == 0.4
    assert low.model.value == pytest.approx(2 / 5 - 1 / 5 * 0.25)
    assert high.model.value == pytest.approx(1 / 5)
    assert low.refer_all == pytest.approx(0.4 - 0.6 * 0.25)
    assert high.refer_all == pytest.approx(0.4 - 0.6)
    assert json.loads(json.dumps(curve.to_dict()))["points"][0]["threshold"] == 0.2


def test_at_another_prevalence_probabilities_and_shares_are_rebased():
    rng = np.random.default_rng(1)
    y_true = np.repeat([1, 0], 500)
    logit = rng.normal(np.where(y_true == 1, 1.0, -1.0), 1.4)  # log odds at 1:1
    y_prob = sigmoid(logit)
    (point,) = draw_decision_curve(
        outcomes(y_true, y_prob), calibrated_to=0.5, prevalence=0.05, thresholds=[0.08]
    ).points
    referred = rebase(y_prob, 0.5, 0.05) >= 0.08
    sensitivity, alarms = referred[:500].mean(), referred[500:].mean()
    assert point.model.value == pytest.approx(0.05 * sensitivity - 0.95 * alarms * 0.08 / 0.92)
    assert point.refer_all == pytest.approx(0.05 - 0.95 * 0.08 / 0.92)
    assert point.model.low < point.model.value < point.model.high


def test_a_perfect_model_is_worth_the_prevalence_and_a_constant_one_no_more_than_all_or_none():
    y_true = np.repeat([1, 0], 50)
    perfect = draw_decision_curve(outcomes(y_true, y_true), calibrated_to=0.5, prevalence=0.1, resamples=100)
    np.testing.assert_allclose([point.model.value for point in perfect.points], 0.1)
    constant = draw_decision_curve(
        outcomes(y_true, np.full(100, 0.5)), calibrated_to=0.5, prevalence=0.1, resamples=100
    )
    for point in constant.points:
        assert point.model.value == pytest.approx(point.refer_all if point.threshold <= 0.1 else 0, abs=1e-9)
    assert constant.useful == []


def test_where_a_good_model_is_useful():
    rng = np.random.default_rng(2)
    y_true = np.repeat([1, 0], 1000)
    y_prob = sigmoid(rng.normal(np.where(y_true == 1, 2.0, -2.0), 2.0))
    curve = draw_decision_curve(outcomes(y_true, y_prob), calibrated_to=0.5, prevalence=0.1, resamples=200)
    assert {0.05, 0.1, 0.2, 0.3} <= set(curve.useful)


def test_a_refused_image_is_referred_at_every_threshold():
    images = outcomes([1, 1, 0, 0], [np.nan, 0.9, np.nan, 0.1], assessed=[False, True, False, True])
    (point,) = draw_decision_curve(images, calibrated_to=0.5, thresholds=[0.99]).points
    assert point.model.value == pytest.approx(1 / 4 - 1 / 4 * 99)


def test_one_class_has_no_net_benefit():
    curve = draw_decision_curve(outcomes([1, 1], [0.2, 0.9]), calibrated_to=0.5, thresholds=[0.1])
    assert (curve.points[0].model.value, curve.points[0].model.note) == (None, "one class only")
    assert curve.useful == []

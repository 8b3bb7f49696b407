import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melanoma.errors import CalibrationError
from melanoma.inference.decision import Decision, OperatingPoint, decide, fit_operating_point

PROBABILITIES = st.lists(st.floats(0, 1) | st.sampled_from([0.2, 0.5, 0.8]), min_size=1, max_size=60)


def test_refers_at_the_threshold_and_above():
    point = OperatingPoint(0.4, 0.95, 1.0, 0.5, 10, 10)
    assert decide(0.4, point) is Decision.REFER
    assert decide(1.0, point) is Decision.REFER
    assert decide(np.nextafter(0.4, 0), point) is Decision.NO_SIGN


def test_the_highest_threshold_that_reaches_the_target():
    y_prob = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.05, 0.25, 0.45])
    y_true = np.array([1, 1, 1, 1, 1, 0, 0, 0])
    point = fit_operating_point(y_prob, y_true, 0.8)
    assert point.threshold == 0.2
    assert point.sensitivity == 0.8
    assert point.specificity == pytest.approx(1 / 3)
    assert (point.n_melanoma, point.n_other, point.target_sensitivity) == (5, 3, 0.8)


def test_ties_count_for_both_classes():
    y_prob, y_true = np.array([0.5, 0.5, 0.5, 0.5]), np.array([1, 1, 0, 0])
    point = fit_operating_point(y_prob, y_true, 0.5)
    assert (point.threshold, point.sensitivity, point.specificity) == (0.5, 1.0, 0.0)


def test_collections_of_some_size_have_the_same_say():
    y_prob = np.concatenate(
        [np.linspace(0.5, 1, 100), np.linspace(0.2, 0.7, 20), np.linspace(0, 1, 5), [0.1]]
    )
    y_true = np.array([1] * 125 + [0])
    source = np.repeat([0, 1, 2], [100, 20, 6])
    pooled = fit_operating_point(y_prob, y_true, 0.9)
    point = fit_operating_point(y_prob, y_true, 0.9, source)
    assert point.threshold < pooled.threshold  # the small collection is the hard one

    def mean_sensitivity(threshold):
        referred = y_prob >= threshold
        return (referred[:100].mean() + referred[100:120].mean()) / 2  # five melanomas say too little

    assert mean_sensitivity(point.threshold) >= 0.9 > mean_sensitivity(np.nextafter(point.threshold, 1))
    assert point.sensitivity == np.mean(y_prob[:125] >= point.threshold)
    alone = fit_operating_point(y_prob, y_true, 0.9, np.repeat([0, 1], [119, 7]) * 0)
    assert alone == pooled


@given(positive=PROBABILITIES, negative=PROBABILITIES, target=st.floats(0, 1))
def test_sensitivity_is_never_below_the_target(positive, negative, target):
    y_prob = np.array(positive + negative)
    y_true = np.array([1] * len(positive) + [0] * len(negative))
    point = fit_operating_point(y_prob, y_true, target)
    referred = np.array([decide(value, point) is Decision.REFER for value in y_prob])
    assert referred[y_true == 1].mean() == point.sensitivity >= target
    assert (~referred[y_true == 0]).mean() == point.specificity
    higher = np.array(positive)[np.array(positive) > point.threshold]
    if len(higher):  # no higher threshold would do
        assert np.mean(np.array(positive) >= higher.min()) < target


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95, 0.96, 0.99, 1.0])
@pytest.mark.parametrize("n", [20, 25, 100, 125, 3000])
def test_no_more_is_referred_than_the_target_asks(n, target):
    y_prob = np.linspace(0, 1, n)
    point = fit_operating_point(np.append(y_prob, 0.5), np.append(np.ones(n, np.int64), 0), target)
    assert point.sensitivity == pytest.approx(np.ceil(round(target * n, 6)) / n)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(label):
    with pytest.raises(CalibrationError, match="one class only"):
        fit_operating_point(np.array([0.1, 0.9]), np.full(2, label), 0.9)


def test_to_dict_and_back():
    point = OperatingPoint(0.4, 0.95, 1.0, 0.5, 10, 10)
    assert OperatingPoint.from_dict(point.to_dict()) == point

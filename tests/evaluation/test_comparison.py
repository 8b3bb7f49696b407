import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from melanoma.evaluation.comparison import Comparison, compare, run_delong
from melanoma.evaluation.evaluate import summarise
from melanoma.inference.decision import OperatingPoint


def draw_scores(n, seed, decimals=2):
    rng = np.random.default_rng(seed)
    y_true = np.r_[0, 0, 1, 1, rng.integers(0, 2, n - 4)]
    shared = rng.normal(0, 1, n) + y_true
    scores = [1 / (1 + np.exp(-(shared + rng.normal(0, spread, n)))) for spread in (0.5, 1.5)]
    return y_true, *(np.round(one, decimals) for one in scores)


def report_of(y_true, y_prob, threshold=0.5, group=None, refused=()):
    n = len(y_true)
    names = [str(number) for number in range(n)]
    decision = np.where(np.asarray(y_prob) >= threshold, "refer", "no_sign").astype(object)
    decision[list(refused)] = "cannot_assess"
    rows = pd.DataFrame({"source": ["s"] * n, "path": names, "image_id": names, "y_true": y_true})
    rows = rows.assign(y_prob=y_prob, decision=decision, group=names if group is None else group)
    point = OperatingPoint(threshold, 0.9, 0.9, 0.5, 10, 10)
    names = {"name": "test", "bundle_digest": f"B{threshold}", "manifest_digest": "M"}
    return summarise(rows, operating_point=point, resamples=20, **names)


def covariance_by_pairs(y_true, first, second):
    """DeLong et al. 1988 as printed: every melanoma against every other image."""
    placements = []
    for scores in (first, second):
        gap = scores[y_true == 1][:, None] - scores[y_true == 0][None, :]
        wins = (gap > 0) + 0.5 * (gap == 0)
        placements.append((wins.mean(axis=1), wins.mean(axis=0)))
    of_melanoma, of_other = (np.cov(np.stack(both)) for both in zip(*placements, strict=True))
    return of_melanoma / (y_true == 1).sum() + of_other / (y_true == 0).sum()


@pytest.mark.parametrize(("n", "decimals"), [(12, 1), (60, 0), (60, 1), (200, 15)])
def test_delong_agrees_with_the_slow_exact_computation(n, decimals):
    y_true, first, second = draw_scores(n, seed=n, decimals=decimals)
    found, note = run_delong(y_true, first, second)
    covariance = covariance_by_pairs(y_true, first, second)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert note == ""
    assert found.difference == pytest.approx(roc_auc_score(y_true, first) - roc_auc_score(y_true, second))
    assert found.z == pytest.approx(found.difference / error)
    assert found.high - found.difference == pytest.approx(1.959964 * error, rel=1e-6)
    assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


def test_delong_turns_with_the_models_and_keeps_its_level():
    y_true, first, second = draw_scores(100, seed=1)
    here, there = run_delong(y_true, first, second)[0], run_delong(y_true, second, first)[0]
    assert (here.z, here.p_value) == (pytest.approx(-there.z), pytest.approx(there.p_value))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        y_true = rng.integers(0, 2, 80)
        found, _ = run_delong(y_true, rng.normal(y_true), rng.normal(y_true))
        refused += found.p_value < 0.05
    assert 4 <= refused <= 30


@pytest.mark.parametrize(
    ("y_true", "first", "second", "reason"),
    [
        ([0, 0, 0], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], "two images of each class"),
        ([0, 0, 1], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], "two images of each class"),
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.4, 0.5], "rank every image alike"),
    ],
)
def test_delong_that_does_not_exist_says_why(y_true, first, second, reason):
    found, note = run_delong(np.array(y_true), np.array(first), np.array(second))
    assert found is None
    assert reason in note


def test_difference_is_narrower_than_the_figures_because_images_are_paired():
    y_true, first, second = draw_scores(300, seed=3)
    # The second model says nearly the same.
    second = np.clip(first + np.random.default_rng(0).normal(0, 0.02, 300), 0, 1)
    one, other = report_of(y_true, first), report_of(y_true, second)
    found = compare(one, other, ("a", "b"), resamples=200)
    pair = found.figures["auroc"]
    assert pair.difference.value == pytest.approx(pair.first - pair.second)
    assert pair.first == one.figures["auroc"].value
    width = pair.difference.high - pair.difference.low
    assert width < 0.4 * (one.figures["auroc"].high - one.figures["auroc"].low)


def test_each_model_keeps_its_own_operating_point():
    y_true, first, _ = draw_scores(80, seed=5)
    found = compare(
        report_of(y_true, first, 0.3), report_of(y_true, first, 0.7), ("low", "high"), resamples=50
    )
    sensitivity, specificity = found.figures["sensitivity"], found.figures["specificity"]
    assert sensitivity.first == pytest.approx(np.mean(first[y_true == 1] >= 0.3))
    assert sensitivity.second == pytest.approx(np.mean(first[y_true == 1] >= 0.7))
    assert specificity.difference.value == pytest.approx(specificity.first - specificity.second)
    assert specificity.difference.high < 0 < sensitivity.difference.low
    assert found.figures["auroc"].difference.value == 0
    assert found.delong is None


def test_copies_widen_the_bootstrap_and_are_named():
    y_true, first, second = (np.repeat(values, 5) for values in draw_scores(60, seed=7))
    patients = [str(number // 5) for number in range(300)]
    alone = compare(report_of(y_true, first), report_of(y_true, second), ("a", "b"), resamples=200)
    reports = (report_of(y_true, scores, group=patients) for scores in (first, second))
    grouped = compare(*reports, ("a", "b"), resamples=200)
    assert (alone.grouped, grouped.grouped) == (False, True)
    narrow, wide = (found.figures["auroc"].difference for found in (alone, grouped))
    assert wide.high - wide.low > 1.6 * (narrow.high - narrow.low)
    assert grouped.delong == alone.delong


def test_auroc_is_that_of_the_images_both_assessed():
    y_true, first, second = draw_scores(50, seed=8)
    found = compare(
        report_of(y_true, first, refused=[4, 5]), report_of(y_true, second, refused=[5, 6]), ("a", "b")
    )
    kept = np.ones(50, bool)
    kept[[4, 5, 6]] = False
    assert found.n_melanoma + found.n_other == 47
    assert found.figures["auroc"].first == pytest.approx(roc_auc_score(y_true[kept], first[kept]))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_out_what_does_not_exist(label):
    reports = [report_of([label] * 6, scores) for scores in ([0.1, 0.6] * 3, [0.7, 0.2] * 3)]
    found = compare(*reports, ("a", "b"), resamples=20)
    exists, lacks = ("sensitivity", "specificity") if label else ("specificity", "sensitivity")
    assert found.figures[exists].first is not None
    assert found.figures[lacks].difference.value is found.figures[lacks].first is None
    assert found.figures["auroc"].difference.note == "a class is missing"
    json.dumps(found.to_dict(), allow_nan=False)


def test_only_refused_images_can_be_compared():
    reports = [report_of([0, 1] * 3, [0.5] * 6, refused=range(6)) for _ in range(2)]
    found = compare(*reports, ("a", "b"), resamples=20)
    assert found.figures["auroc"].first is None
    assert found.figures["sensitivity"].first == 1


def test_comparison_survives_json():
    y_true, first, second = draw_scores(40, seed=9)
    found = compare(report_of(y_true, first), report_of(y_true, second), ("a", "b"), resamples=20)
    assert Comparison.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_other_images_are_our_failure():
    with pytest.raises(ValueError, match="different images"):
        compare(report_of([0, 1], [0.1, 0.9]), report_of([1, 0], [0.1, 0.9]), ("a", "b"))

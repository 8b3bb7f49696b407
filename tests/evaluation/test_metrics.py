import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from melanoma.evaluation import metrics
from melanoma.evaluation.curves import count_bins, thin
from melanoma.evaluation.metrics import Estimate, Outcomes, Ranking, estimate_figures


def draw_images(n, seed, decimals=2):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 2, n)
    y_prob = np.round(np.clip(rng.beta(2, 2, n) + 0.2 * (y_true - 0.5), 0, 1), decimals)
    return y_true, y_prob


def outcomes(y_true, y_prob, threshold=0.5, assessed=None, group=None):
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, dtype=float)
    assessed = np.ones(len(y_true), bool) if assessed is None else np.asarray(assessed)
    group = np.arange(len(y_true)) if group is None else np.asarray(group)
    return Outcomes(y_true, y_prob, (y_prob >= threshold) | ~assessed, assessed, group)


@pytest.mark.parametrize("decimals", [0, 1, 2, 15])
def test_ranking_agrees_with_scikit_learn_with_ties_and_weights(decimals):
    y_true, y_prob = draw_images(300, seed=decimals, decimals=decimals)
    weights = np.random.default_rng(1).integers(0, 4, (5, 300)).astype(float)
    ranking = Ranking.of(y_true, y_prob)
    for row, auroc, precision in zip(
        weights, ranking.auroc(weights), ranking.average_precision(weights), strict=True
    ):
        assert auroc == pytest.approx(roc_auc_score(y_true, y_prob, sample_weight=row), abs=1e-12)
        expected = average_precision_score(y_true, y_prob, sample_weight=row)
        assert precision == pytest.approx(expected, abs=1e-12)


def area_above(y_true, y_prob, floor=0.8):
    """The area of the ROC curve above a sensitivity, on a grid of false alarms that holds every corner."""
    fpr, tpr, _ = roc_curve(y_true, y_prob, drop_intermediate=False)
    fine = np.linspace(fpr[:-1], fpr[1:], 2001)  # (points, steps)
    # Where the curve climbs straight up a step has no width, so interpolating along each step is enough.
    height = np.linspace(tpr[:-1], tpr[1:], 2001)
    return float(np.trapezoid(np.maximum(height - floor, 0), fine, axis=0).sum())


@pytest.mark.parametrize("decimals", [0, 1, 2, 15])
def test_partial_auroc_agrees_with_a_plain_computation_and_scikit_learn(decimals):
    y_true, y_prob = draw_images(300, seed=decimals, decimals=decimals)
    (area,) = Ranking.of(y_true, y_prob).partial_auroc(np.ones((1, 300)))
    assert area == pytest.approx(area_above(y_true, y_prob), abs=1e-5)
    # As the ISIC 2024 challenge computes it: classes and scores turned round, McClish's scale undone.
    scaled = roc_auc_score(1 - y_true, -y_prob, max_fpr=0.2)
    assert area == pytest.approx(0.02 + (0.2 - 0.02) * (2 * scaled - 1), abs=1e-12)


def test_partial_auroc_weights_images_and_knows_its_ends():
    y_true, y_prob = draw_images(200, seed=4)
    weights = np.random.default_rng(2).integers(0, 3, (4, 200)).astype(float)
    repeated = [np.repeat(np.arange(200), row.astype(int)) for row in weights]
    expected = [Ranking.of(y_true[i], y_prob[i]).partial_auroc(np.ones((1, len(i))))[0] for i in repeated]
    assert Ranking.of(y_true, y_prob).partial_auroc(weights) == pytest.approx(expected)
    once = np.ones((1, 4))
    for scores, area in (([0.1, 0.2, 0.8, 0.9], 0.2), ([0.8, 0.9, 0.1, 0.2], 0), ([0.5] * 4, 0.02)):
        ranking = Ranking.of(np.array([0, 0, 1, 1]), np.array(scores))
        assert ranking.partial_auroc(once)[0] == pytest.approx(area)
    assert np.isnan(Ranking.of(np.ones(4, int), np.ones(4)).partial_auroc(once)[0])


def test_partial_auroc_has_an_interval_over_groups():
    y_true, y_prob = draw_images(120, seed=6)
    figure = estimate_figures(outcomes(y_true, y_prob), resamples=100)["partial_auroc"]
    assert 0 < figure.low < figure.value < figure.high < 0.2
    grouped = estimate_figures(outcomes(y_true, y_prob, group=np.arange(120) // 20), resamples=100)
    assert grouped["partial_auroc"].low != figure.low


def test_some_of_the_images_keep_their_groups():
    images = outcomes([1, 0, 1, 0], [0.9, 0.2, 0.3, 0.4], group=[5, 2, 5, 2])
    some = images.subset(np.array([True, True, True, False]))
    assert (some.y_prob.tolist(), some.group.tolist()) == ([0.9, 0.2, 0.3], [1, 0, 1])


def test_point_values_agree_with_scikit_learn():
    y_true, y_prob = draw_images(400, seed=3)
    figures = estimate_figures(outcomes(y_true, y_prob), resamples=2)
    assert figures["auroc"].value == pytest.approx(roc_auc_score(y_true, y_prob))
    assert figures["auroc_all"].value == figures["auroc"].value
    assert figures["average_precision"].value == pytest.approx(average_precision_score(y_true, y_prob))
    assert figures["brier"].value == pytest.approx(brier_score_loss(y_true, y_prob))


def test_decision_figures_by_hand():
    figures = estimate_figures(outcomes([1, 1, 1, 0, 0], [0.9, 0.6, 0.1, 0.7, 0.2]), resamples=2)
    values = {name: figures[name].value for name in ("sensitivity", "specificity", "accuracy", "ppv", "npv")}
    assert values == pytest.approx(
        {"sensitivity": 2 / 3, "specificity": 1 / 2, "accuracy": 3 / 5, "ppv": 2 / 3, "npv": 1 / 2}
    )


def test_ece_is_the_weighted_gap_in_bins_of_equal_width():
    # Bins of width 1/15: two images in the first, three in the last, 1.0 among them.
    y_true, y_prob = [0, 1, 1, 1, 0], [0.02, 0.04, 0.95, 1.0, 0.99]
    expected = (abs(1 - 0.06) + abs(2 - 2.94)) / 5
    assert estimate_figures(outcomes(y_true, y_prob), resamples=2)["ece"].value == pytest.approx(expected)
    first, last = count_bins(np.array(y_true), np.array(y_prob))
    assert (first.count, first.observed, first.y_prob) == (2, 0.5, pytest.approx(0.03))
    assert (last.count, last.y_prob) == (3, pytest.approx(0.98))


def test_refused_images_count_as_referred_but_not_for_the_probability():
    y_true, y_prob = [1, 1, 0, 0, 1, 0], [0.9, 0.2, 0.1, 0.6, 0.05, np.nan]
    assessed = [True, True, True, True, False, False]
    figures = estimate_figures(outcomes(y_true, y_prob, assessed=assessed), resamples=2)
    assert figures["sensitivity"].value == pytest.approx(2 / 3)
    assert figures["specificity"].value == pytest.approx(1 / 3)
    assert figures["coverage"].value == pytest.approx(4 / 6)
    assert figures["auroc"].value == pytest.approx(roc_auc_score(y_true[:4], y_prob[:4]))
    assert figures["auroc_all"].value == pytest.approx(roc_auc_score(y_true[:5], y_prob[:5]))
    assert figures["brier"].value == pytest.approx(brier_score_loss(y_true[:4], y_prob[:4]))


def test_interval_is_that_of_images_really_drawn_again():
    y_true, y_prob = draw_images(60, seed=5)
    figure = estimate_figures(outcomes(y_true, y_prob), resamples=200, seed=8)["auroc"]
    rng = np.random.default_rng(8)
    draws = [rng.integers(60, size=60) for _ in range(200)]
    expected = np.quantile([roc_auc_score(y_true[i], y_prob[i]) for i in draws], [0.025, 0.975])
    assert [figure.low, figure.high] == pytest.approx(expected)


def test_copies_of_an_image_narrow_no_interval_when_they_form_a_group():
    y_true, y_prob = draw_images(80, seed=2)
    single = estimate_figures(outcomes(y_true, y_prob), resamples=100)
    copied = [np.repeat(a, 4) for a in (y_true, y_prob, np.arange(80))]
    grouped = estimate_figures(outcomes(*copied[:2], group=copied[2]), resamples=100)
    ignored = estimate_figures(outcomes(*copied[:2]), resamples=100)
    assert grouped["auroc"].low == pytest.approx(single["auroc"].low)
    assert grouped["accuracy"].high == pytest.approx(single["accuracy"].high)
    assert ignored["auroc"].high - ignored["auroc"].low < 0.7 * (single["auroc"].high - single["auroc"].low)


def test_seed_decides_and_chunks_do_not(monkeypatch):
    images = outcomes(*draw_images(50, seed=1))
    first = estimate_figures(images, resamples=64, seed=4)
    assert estimate_figures(images, resamples=64, seed=5) != first
    monkeypatch.setattr(metrics, "_WEIGHTS_AT_ONCE", 7 * 50)
    chunked = estimate_figures(images, resamples=64, seed=4)
    assert chunked["ece"].low == pytest.approx(first["ece"].low, abs=1e-12)
    assert chunked["auroc"] == first["auroc"]


def test_interval_holds_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        y_true = rng.integers(0, 2, 120)
        y_prob = np.where(rng.random(120) < 0.8, y_true, 1 - y_true) * 0.8 + 0.1
        accuracy = estimate_figures(outcomes(y_true, y_prob), resamples=200, seed=trial)["accuracy"]
        held += accuracy.low <= 0.8 <= accuracy.high
    assert 180 <= held <= 199


@pytest.mark.parametrize(
    ("label", "exists", "not_there"), [(1, "sensitivity", "specificity"), (0, "specificity", "sensitivity")]
)
def test_one_class_leaves_out_what_does_not_exist(label, exists, not_there):
    figures = estimate_figures(outcomes([label] * 6, [0.1, 0.7, 0.9, 0.3, 0.5, 0.6]), resamples=50)
    for name in ("auroc", "auroc_all", "average_precision", "ppv", "npv", not_there):
        assert figures[name] == Estimate(None, None, None, "one class only")
    assert figures[exists].value is not None
    assert figures["accuracy"].low < figures["accuracy"].value < figures["accuracy"].high


def test_resamples_without_a_class_are_dropped_and_counted():
    y_true, y_prob = [1, 1, 0, 0, 0, 0, 0, 0], [0.3, 0.9, 0.2, 0.4, 0.1, 0.35, 0.8, 0.25]
    figure = estimate_figures(outcomes(y_true, y_prob), resamples=400)["auroc"]
    assert 20 < figure.dropped < 80  # (6/8)^8 of 400 is 40
    assert figure.low < figure.value < figure.high


@pytest.mark.parametrize(("threshold", "value"), [(0.0, 1.0), (2.0, 0.0)])
def test_proportion_of_none_or_all_gets_the_exact_bound_over_groups(threshold, value):
    y_true, y_prob = [1, 1, 1, 1, 0], [0.4, 0.5, 0.6, 0.7, 0.2]
    images = outcomes(y_true, y_prob, threshold=threshold, group=[0, 0, 1, 2, 3])
    figure = estimate_figures(images, resamples=50)["sensitivity"]
    exact = binomtest(3 * int(value), 3).proportion_ci(method="exact")
    assert figure.value == value
    assert (figure.low, figure.high) == pytest.approx((exact.low, exact.high))
    assert figure.note == "exact bound"


def test_figure_without_spread_claims_no_interval():
    figure = estimate_figures(outcomes([0] * 9 + [1] * 9, [0.1] * 9 + [0.9] * 9), resamples=50)["auroc"]
    assert (figure.value, figure.low, figure.high) == (1.0, None, None)
    assert figure.note


@pytest.mark.parametrize("decodable", [True, False])
def test_only_refused_images(decodable):
    y_prob = [0.2, 0.8, 0.4] if decodable else [np.nan] * 3
    figures = estimate_figures(outcomes([1, 0, 1], y_prob, assessed=[False] * 3), resamples=20)
    assert figures["auroc"] == Estimate(None, None, None, "no image was assessed")
    assert (figures["auroc_all"].value is None) != decodable
    assert (figures["sensitivity"].value, figures["specificity"].value, figures["coverage"].value) == (
        1,
        0,
        0,
    )


def test_estimate_survives_json():
    estimate = Estimate(0.5, None, None, "why", 3)
    assert Estimate.from_dict(estimate.to_dict()) == estimate


@pytest.mark.parametrize("points", [2, 150, 5000])
def test_thinned_curve_keeps_its_ends_and_order(points):
    x = np.sort(np.r_[0, np.random.default_rng(0).random(points - 2), 1])
    curve = thin(x, np.sqrt(x))
    assert (curve[0], curve[-1]) == ((0, 0), (1, 1))
    assert len(curve) <= 200
    assert curve == sorted(curve)

import json
from dataclasses import replace

import numpy as np
import pytest

from conftest import require_extra

require_extra("scipy", "bench")

from scipy.stats import norm

from manifests import make_manifest, many
from melanoma.errors import CalibrationError, OutputError
from melanoma.evaluation.recalibration import (
    Logits,
    check_enough,
    check_folder,
    describe,
    describe_domain,
    find_reuse,
    recalibrate,
    run_network,
    save,
)
from melanoma.evaluation.reliability import cross_fit, judge_fit
from melanoma.evaluation.threshold import (
    bound_threshold,
    count_effective,
    count_needed,
    expect_sensitivity,
)
from melanoma.inference import bundle as bundles
from melanoma.inference.calibration import Calibration, fit_calibration, sigmoid
from melanoma.inference.decision import Decision, OperatingPoint, fit_operating_point
from melanoma.inference.description import FEATURES
from melanoma.inference.domain import Domain
from melanoma.inference.predictor import Predictor
from melanoma.inference.sources import ImageFile

OLD = Calibration(0.8, 0.3, 0.5, 860)


def draw(n_melanoma, n_other, seed=0, per_group=1, alike=0.9):
    """Logits of melanomas at N(2, 2²), of others at N(-1, 2²): log odds at 1:1 are 0.75 logit - 0.375."""
    rng = np.random.default_rng(seed)
    y_true = np.repeat([1, 0], [n_melanoma, n_other])
    group = np.arange(n_melanoma + n_other) // per_group
    own, shared = rng.normal(size=len(y_true)), rng.normal(size=group.max() + 1)[group]
    noise = own if per_group == 1 else np.sqrt(alike) * shared + np.sqrt(1 - alike) * own
    return Logits(np.where(y_true == 1, 2.0, -1.0) + 2 * noise, y_true, group)


def make_domain(limit):
    d = len(FEATURES)
    parts = (np.zeros(shape, np.float32) for shape in ((d,), (d,), (7, d), (7,)))
    return Domain(*parts, limit, 321)


def true_sensitivity(result):
    logit = (
        log_odds(result.operating_point.threshold) - result.calibration.intercept
    ) / result.calibration.slope
    return norm.sf(logit, 2, 2), norm.cdf(logit, -1, 2)


def log_odds(share):
    return np.log(share / (1 - share))


def test_many_images_give_the_true_calibration_and_threshold():
    result = recalibrate(OLD, draw(5_000, 10_000), resamples=100)
    assert result.calibration.slope == pytest.approx(0.75, abs=0.04)
    assert result.calibration.intercept == pytest.approx(-0.375 + np.log(0.5), abs=0.06)
    assert (result.calibration.n, result.calibration.prevalence) == (15_000, pytest.approx(1 / 3))
    threshold = norm.isf(0.95, 2, 2)
    assert result.operating_point.threshold == pytest.approx(
        sigmoid(np.array(0.75 * threshold - 0.375 + np.log(0.5))), abs=0.01
    )
    assert result.sensitivity.value == pytest.approx(0.95, abs=0.001)
    assert result.specificity.value == pytest.approx(norm.cdf(threshold, -1, 2), abs=0.02)
    before, moved, after = (result.fits[name] for name in ("before", "rebased", "after"))
    assert before.intercept.value < moved.intercept.value
    for values, slope in ((before, 0.75 / 0.8), (moved, 0.75 / 0.8), (after, 1.0)):
        assert values.slope.value == pytest.approx(slope, abs=0.05)
    assert after.intercept.value == pytest.approx(0, abs=0.01)
    assert after.brier.value < moved.brier.value < before.brier.value


def test_intervals_hold_the_truth_as_often_as_they_say():
    """50 clinics of 30 melanomas: 95 % of 50 is 47.5, below 43 comes but 3 times in 1,000."""
    held = []
    for seed in range(50):
        result = recalibrate(OLD, draw(30, 120, seed), resamples=100)
        sensitivity, specificity = true_sensitivity(result)
        before = result.fits["before"]
        truths = {
            "sensitivity": (result.sensitivity, sensitivity),
            "specificity": (result.specificity, specificity),
            "auroc": (result.auroc, norm.cdf(3 / np.sqrt(8))),
            "slope": (before.slope, 0.75 / 0.8),
        }
        held.append([estimate.low <= truth <= estimate.high for estimate, truth in truths.values()])
    assert np.min(np.sum(held, axis=0)) >= 43


@pytest.mark.parametrize(("n", "per_group"), [(12, 1), (43, 1), (200, 1), (90, 3)])
def test_sensitivity_on_new_images_is_told_right(n, per_group):
    """The threshold's true sensitivity lies below the interval in 2.5 % of the samples, above it in as many."""
    true, estimates = [], []
    for seed in range(400):
        data = draw(n, 3, seed, per_group)
        point = fit_operating_point(sigmoid(data.logit), data.y_true, 0.95)
        true.append(norm.sf(log_odds(point.threshold), 2, 2))
        estimates.append(expect_sensitivity(point, count_effective(data.group[:n])))
    assert np.mean([value < e.low for value, e in zip(true, estimates, strict=True)]) <= 0.045
    assert np.mean([value > e.high for value, e in zip(true, estimates, strict=True)]) <= 0.06
    assert np.mean([e.value for e in estimates]) == pytest.approx(np.mean(true), abs=0.02)
    assert np.mean(true) < 0.95  # what the choice itself says is too much


@pytest.mark.parametrize(("n", "target"), [(12, 0.95), (150, 0.95), (150, 0.8), (20, 1.0)])
def test_the_true_threshold_lies_between_its_bounds(n, target):
    right = sigmoid(np.array(norm.isf(target, 2, 2)))
    held = []
    for seed in range(300):
        data = draw(n, 3, seed)
        y_prob = sigmoid(data.logit)
        found = bound_threshold(y_prob[:n], fit_operating_point(y_prob, data.y_true, target), n)
        assert found.low <= found.value <= found.high
        held.append(found.low <= right <= found.high)
    assert np.mean(held) > 0.93
    assert (found.low == 0) == (n < 70 or target == 1.0)


def test_kish_counts_what_images_of_few_lesions_are_worth():
    assert count_effective(np.arange(40)) == 40
    assert count_effective(np.arange(90) // 3) == pytest.approx(30)
    assert count_effective(np.array([0] * 9 + [1])) == pytest.approx(100 / 82)


@pytest.mark.parametrize(("sensitivity", "margin"), [(0.95, 0.03), (0.9, 0.05), (1.0, 0.02)])
def test_so_many_melanomas_are_needed(sensitivity, margin):
    def half_width(n):
        point = OperatingPoint(0.5, sensitivity, sensitivity, 0.5, n, 10)
        found = expect_sensitivity(point, n)
        return (found.high - found.low) / 2

    needed = count_needed(sensitivity, margin)
    assert half_width(needed) <= margin < half_width(int(0.93 * needed))


def test_some_200_for_three_points_at_95_percent():
    assert 190 <= count_needed(0.95, 0.03) <= 220


def test_a_stated_prevalence_moves_probabilities_and_threshold_and_no_decision():
    data = draw(60, 60)
    plain = recalibrate(OLD, data, resamples=100)
    stated = recalibrate(OLD, data, prevalence=0.02, resamples=100)
    assert stated.calibration.prevalence == 0.02
    assert stated.operating_point.threshold < plain.operating_point.threshold / 5
    for logit in (data.logit, np.random.default_rng(5).normal(0, 3, 500)):
        decisions = [r.calibration.transform(logit) >= r.operating_point.threshold for r in (plain, stated)]
        np.testing.assert_array_equal(*decisions)
    assert stated.sensitivity == plain.sensitivity
    assert stated.fits == plain.fits
    odd = recalibrate(OLD, data, prevalence=0.03, resamples=100)
    assert [at.prevalence for at in odd.projections] == [0.01, 0.02, 0.05, 0.1, 0.03]


def test_cross_fitting_judges_no_image_by_its_own_group():
    data = draw(40, 160, per_group=2)
    found = cross_fit(data.logit, data.y_true, data.group, seed=3)
    fits = {}
    for number in range(100):
        first, second = np.flatnonzero(data.group == number)
        slope = (found[second] - found[first]) / (data.logit[second] - data.logit[first])
        fits.setdefault(round(slope, 6), []).extend([first, second])
    assert len(fits) == 10
    for test in fits.values():
        rest = np.setdiff1d(np.arange(200), test)
        fitted = fit_calibration(data.logit[rest], data.y_true[rest])
        np.testing.assert_allclose(found[test], fitted.slope * data.logit[test] + fitted.intercept, rtol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_no_fold_takes_a_class_away(seed):
    """Ten groups with melanomas, among 200 and always beside another image."""
    y_true = np.repeat([1, 0], [10, 200])
    group = np.r_[np.arange(10), np.arange(200)]
    logit = np.random.default_rng(seed).normal(y_true)
    assert np.all(np.isfinite(cross_fit(logit, y_true, group, seed)))
    assert np.all(np.isfinite(cross_fit(-logit, 1 - y_true, group, seed)))


def test_an_intercept_by_hand():
    """A quarter of the images are melanomas, all told 1:1: the log odds are too high by ln 3."""
    y_true = np.arange(400) % 4 // 3
    found = judge_fit(np.zeros(400), y_true, np.arange(400), resamples=100)
    assert found.intercept.value == pytest.approx(-np.log(3))
    assert found.intercept.high - found.intercept.value == pytest.approx(1.96 / np.sqrt(75), rel=0.01)
    assert found.brier.value == 0.25
    assert (found.slope.value, found.slope.note) == (None, "the model says the same of every image")


def test_copies_of_an_image_make_no_interval_narrower():
    data = draw(40, 160)
    plain = judge_fit(data.logit, data.y_true, data.group, resamples=100)
    tripled = [np.repeat(values, 3) for values in (data.logit, data.y_true, data.group)]
    copied = judge_fit(*tripled, resamples=100)
    for name in ("intercept", "slope", "brier"):
        one, three = getattr(plain, name), getattr(copied, name)
        assert three.value == pytest.approx(one.value, rel=1e-6)
        assert three.high == pytest.approx(one.high, rel=1e-6)


def test_separated_classes_have_no_slope():
    y_true = np.repeat([1, 0], 20)
    found = judge_fit(np.where(y_true == 1, 2.0, -2.0), y_true, np.arange(40), resamples=100)
    assert (found.slope.value, found.slope.note) == (None, "the model separates the classes")


def test_separable_images_can_be_calibrated_on():
    rng = np.random.default_rng(0)
    y_true = np.repeat([1, 0], 15)
    data = Logits(np.where(y_true == 1, 5.0, -5.0) + rng.random(30), y_true, np.arange(30))
    result = recalibrate(OLD, data, resamples=100)
    assert result.specificity.value == 1
    assert result.specificity.low < 0.9
    assert result.sensitivity.low < 0.85
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("y_true", "group", "says"),
    [
        ([1] * 9 + [0] * 50, range(59), "9 melanoma images of 9 patients"),
        ([1] * 50 + [0] * 3, range(53), "3 other images of 3 patients"),
        (
            [1] * 40 + [0] * 40,
            [n // 8 for n in range(80)],
            "40 melanoma images of 5 patients or lesions are too few",
        ),
        ([0] * 50, range(50), "0 melanoma images"),
    ],
)
def test_too_few_of_a_class_are_refused(y_true, group, says):
    with pytest.raises(CalibrationError, match=says):
        check_enough(np.array(y_true), list(group))


def test_a_model_that_tells_nothing_is_refused():
    data = draw(30, 60)
    with pytest.raises(CalibrationError, match="score no higher"):
        recalibrate(OLD, Logits(-data.logit, data.y_true, data.group), resamples=100)


def test_what_is_known_is_said_in_words():
    few = describe(recalibrate(OLD, draw(43, 100), resamples=100))
    assert few[-1].startswith(
        "With 43 melanomas the sensitivity at this threshold is known to within 0.84 to 0.99;"
    )
    assert few[-2].startswith("Of 100 images with melanoma it refers about 93, of 100 without about ")
    assert few[-1].endswith("independent ones would be needed for +-0.03.")
    grouped = describe(recalibrate(OLD, draw(60, 120, per_group=3), resamples=100))
    assert grouped[-1].startswith("With 60 images of 20 patients or lesions with melanoma the sensitivity")
    assert "needed" not in describe(recalibrate(OLD, draw(800, 800), resamples=100))[-1]


def test_a_saved_bundle_says_where_it_was_calibrated_and_decides_so(bundle_copy, tmp_path, image_files):
    manifest = make_manifest(many(60, 30))
    data, old = draw(30, 60), bundles.load(bundle_copy)
    old = replace(
        old, facts={**old.facts, "notice": "Drawn.", "calibration_notice": "Calibrated on 3 melanomas."}
    )
    assert old.notice == "Drawn. Calibrated on 3 melanomas."
    result = recalibrate(old.calibration, data, prevalence=0.1, resamples=100)
    new = save(result, old, manifest, data, tmp_path / "new")
    assert (new.calibration, new.operating_point) == (result.calibration, result.operating_point)
    assert new.network.read_bytes() == old.network.read_bytes()
    assert new.digest != old.digest
    said = new.facts["recalibration"]
    assert (said["parent"], said["manifest_digest"], said["sources"]) == (old.digest, manifest.digest, ["a"])
    assert (said["n_melanoma"], said["n_other"], said["n_groups"]) == (30, 60, 90)
    assert said["prevalence_of_images"] == pytest.approx(1 / 3)
    assert said["sensitivity"] == result.sensitivity.to_dict()
    assert new.notice == "Drawn."  # what was said of the old calibration is gone with it
    assert {name: new.facts[name] for name in new.facts if name != "recalibration"} == {
        name: old.facts[name] for name in old.facts if name != "calibration_notice"
    }
    again = save(result, old, manifest, data, tmp_path / "again")
    assert again.digest == new.digest
    for row in Predictor(new).score([str(path) for path in image_files]):
        assert row.decision in {Decision.REFER, Decision.NO_SIGN}
    assert "calibrated on these very images" in find_reuse(new, manifest)
    assert find_reuse(new, make_manifest(many(5, 5)).subset([1, 2])) == ""


def test_the_domain_check_is_kept_or_replaced(bundle_copy, tmp_path):
    old, domain = bundles.load(bundle_copy), make_domain(limit=0.5)
    data, manifest = draw(30, 60), make_manifest(many(60, 30))
    result = recalibrate(old.calibration, data, resamples=100)
    first = save(result, old, manifest, data, tmp_path / "first", domain=domain)
    assert (first.domain.limit, first.facts["recalibration"]["n_domain"]) == (0.5, 321)
    kept = save(result, first, manifest, data, tmp_path / "kept")
    assert (kept.domain.limit, kept.facts["recalibration"]["n_domain"]) == (0.5, 0)
    other = save(result, first, manifest, data, tmp_path / "other", domain=make_domain(limit=0.4))
    assert other.domain.limit == 0.4
    check_folder(other.folder, first)
    assert describe_domain(domain, old, data).startswith("domain check: fitted on 321 of these images")
    assert "that of the bundle is kept; it refuses 0 of these 90 images" in describe_domain(None, first, data)
    assert describe_domain(None, old, data) == "domain check: the bundle has none"


def test_the_network_is_run_on_what_can_be_read(tiny_bundle, image_files, monkeypatch):
    manifest = make_manifest([{"y_true": number % 2} for number in range(7)])
    broken = image_files[0].with_name("broken.jpg")
    broken.write_bytes(b"no image")
    manifest.table["path"] = [*map(str, image_files[:3]), str(broken), *map(str, image_files[3:])]
    predictor, seen = Predictor(bundles.load(tiny_bundle)), []
    data = run_network(predictor, manifest, list("abcdaef"), progress=lambda *done: seen.append(done))
    assert [path for path, _ in data.unreadable] == [str(broken)]
    assert data.y_true.tolist() == [0, 1, 0, 0, 1, 0]
    assert data.group.tolist() == [0, 1, 2, 0, 3, 4]
    assert seen == [(number, 7) for number in range(1, 8)]
    y_prob = predictor.bundle.calibration.transform(data.logit)
    expected = [predictor.predict_file(ImageFile("", str(path), "")).y_prob for path in image_files]
    assert y_prob.tolist() == expected


def test_only_a_new_folder_or_an_older_result_is_written_to(bundle_copy, tmp_path):
    old = bundles.load(bundle_copy)
    data, manifest = draw(30, 60), make_manifest(many(60, 30))
    result = recalibrate(old.calibration, data, resamples=100)
    older = save(result, old, manifest, data, tmp_path / "older").folder
    empty, other, link = tmp_path / "empty", tmp_path / "other", tmp_path / "link"
    empty.mkdir()
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    link.symlink_to(bundle_copy)
    for folder in (empty, older, tmp_path / "new" / "deep"):
        check_folder(folder, old)
    for folder in (bundle_copy, bundle_copy / "inside", link, other, other / "letter.txt"):
        with pytest.raises(OutputError):
            check_folder(folder, old)
    with pytest.raises(OutputError, match="holds something else"):
        check_folder(older, save(result, old, manifest, data, tmp_path / "third"))
    (older / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        check_folder(older, old)

"""Figures with intervals, each computed from one weight an image, so that a resample is just other weights.

The point value is the figure at weight 1 for each image; a bootstrap resample draws groups with replacement
and gives each image the number of times its group was drawn. One sort serves all resamples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from melanoma.data.threads import map_lazily

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ECE_BINS = 15
LEVEL = 0.95
MIN_SENSITIVITY = 0.8  # of the partial AUROC, as in the ISIC 2024 challenge
INTERVAL_METHOD = "95 % percentile bootstrap over groups; Clopper-Pearson for a proportion of exactly 0 or 1"
_WEIGHTS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; None where the data cannot give one, and then `note` says why.

    `dropped` counts the resamples on which the figure does not exist, for want of a class; the interval
    comes from the others.
    """

    value: float | None
    low: float | None
    high: float | None
    note: str = ""
    dropped: int = 0

    def __str__(self) -> str:
        if self.value is None:
            return self.note
        if self.low is None or self.high is None:
            return f"{self.value:.3f} ({self.note})"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def complement(self) -> "Estimate":
        """Of a share: one minus it."""
        value, low, high = (None if x is None else 1 - x for x in (self.value, self.high, self.low))
        return Estimate(value, low, high, self.note)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises TypeError on a foreign key."""
        return cls(**values)


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What n images are and what was said of them.

    `y_true` 0/1 (n,); `y_prob` in [0, 1] (n,), NaN where the image could not be decoded; `referred` (n,):
    sent on, which includes every image that was not assessed; `assessed` (n,); `group` (n,): images of one
    group are drawn together, numbered 0 .. G-1.
    """

    y_true: NDArray[np.int64]
    y_prob: Floats
    referred: Bools
    assessed: Bools
    group: NDArray[np.int64]

    def subset(self, where: Bools) -> Self:
        """Some of the images, by mask (n,), their groups numbered anew."""
        parts = {f.name: getattr(self, f.name)[where] for f in fields(self)}
        return type(self)(**{**parts, "group": np.unique(parts["group"], return_inverse=True)[1]})


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Images sorted by falling `y_prob`, sorted once for any number of weightings.

    `order`: their indices; `positive` 0/1 in that order; `starts`: where each run of tied values begins.
    """

    order: NDArray[np.int64]
    positive: Floats
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, y_true: NDArray[np.int64], y_prob: Floats, where: Bools | None = None) -> Self:
        """Rank the images of `where` (all without it). `y_true` 0/1 (n,), `y_prob` (n,) finite there."""
        chosen = np.arange(len(y_true)) if where is None else np.flatnonzero(where)
        order = chosen[np.argsort(-y_prob[chosen], kind="stable")]
        values = y_prob[order]
        starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]][: len(order)])
        return cls(order, y_true[order].astype(np.float64), starts)

    def cumulate(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of melanoma and of other images at or above each distinct `y_prob`, from the highest down.

        `weights` (r, n) for all images; two arrays (r, distinct values + 1) that begin with 0.
        """
        total, true_positive = (np.zeros((len(weights), len(self.starts) + 1)) for _ in range(2))
        drawn = weights.take(self.order, axis=1)
        self._add_up(drawn, total[:, 1:])
        drawn *= self.positive
        self._add_up(drawn, true_positive[:, 1:])
        total -= true_positive
        return true_positive, total

    def _add_up(self, drawn: Floats, out: Floats) -> None:
        """Sums of `drawn` (r, images in order) up to the end of each run of ties, into `out` (r, distinct values)."""
        if len(self.starts) == drawn.shape[1]:
            np.cumsum(drawn, axis=1, out=out)
        else:
            np.cumsum(np.add.reduceat(drawn, self.starts, axis=1), axis=1, out=out)

    def auroc(self, weights: Floats) -> Floats:
        """Area under the ROC curve, ties counted half; `weights` (r, n) to (r,), NaN without both classes."""
        return _auroc(*self.cumulate(weights))

    def partial_auroc(self, weights: Floats) -> Floats:
        """Area under the ROC curve and above a sensitivity of 80 %, from 0 to 0.2; chance gives 0.02.

        `weights` (r, n) to (r,), NaN without both classes. The measure of the ISIC 2024 challenge (data:
        Kurtansky et al. 2024, SLICE-3D), which does not divide by 0.2 either.
        """
        return _partial_auroc(*self.cumulate(weights))

    def average_precision(self, weights: Floats) -> Floats:
        """Precision averaged over the steps in recall; `weights` (r, n) to (r,), NaN without both classes.

        No interpolation, as in scikit-learn's `average_precision_score` (which says 1 for melanoma only).
        """
        return _average_precision(*self.cumulate(weights))


def estimate_figures(outcomes: Outcomes, *, resamples: int = 1000, seed: int = 0) -> dict[str, Estimate]:
    """Every figure with its 95 % interval, by name.

    `accuracy` takes melanoma from a probability of one half on, the convention of published accuracies;
    `accuracy_at_operating_point, sensitivity, specificity, ppv, npv` are those of the decisions. All are over
    all images, one that was not assessed counting as melanoma found or false alarm; `coverage` is the share
    that was assessed; `auroc, partial_auroc, average_precision, brier, ece` are those of `y_prob` on the
    assessed images; `auroc_all` takes every image that has a `y_prob`. Intervals are percentile bootstrap
    intervals over groups (Efron & Tibshirani 1993, chapter 13). Where a proportion is exactly 0 or 1 all
    resamples agree, so the Clopper-Pearson bound with the number of groups as the sample size stands
    instead; any other figure without spread has no interval. `ece` uses 15 bins of equal width (Guo et al.
    2017) and is biased upwards in small samples and more so in resamples: read its interval as a cautious
    one.
    """
    sums = _Sums(outcomes)
    points = sums.figures(np.ones((1, len(outcomes.y_true))))
    parts = list(map_lazily(sums.figures, draw_weights(outcomes.group, resamples, seed)))
    trials = _count_trials(outcomes)
    figures = {}
    for name, point in points.items():
        drawn = np.concatenate([part[name] for part in parts])
        missing = _explain_missing(name, outcomes)
        figures[name] = estimate(float(point[0]), drawn, trials=trials.get(name), missing=missing)
    return figures


def draw_weights(group: NDArray[np.int64], resamples: int, seed: int) -> Iterator[Floats]:
    """Weights (r, n) of `resamples` bootstrap draws of groups, a bounded number at a time.

    `group` (n,) numbered 0 .. G-1.
    """
    rng = np.random.default_rng(seed)
    groups = int(group.max()) + 1
    at_once = max(1, _WEIGHTS_AT_ONCE // len(group))
    for first in range(0, resamples, at_once):
        rows = min(at_once, resamples - first)
        counts = [np.bincount(rng.integers(groups, size=groups), minlength=groups) for _ in range(rows)]
        yield np.stack(counts).astype(np.float64)[:, group]


def estimate(value: float, drawn: Floats, *, trials: int | None = None, missing: str = "") -> Estimate:
    """A figure with the interval that its resampled values (r,) give; NaN stands for "does not exist".

    `trials`: of a proportion, the number of groups that its denominator holds. `missing` says why there is
    no figure, should there be none.
    """
    if not np.isfinite(value):
        return Estimate(None, None, None, missing)
    if trials is not None and value in (0.0, 1.0):
        low, high = _bound_extreme(value, trials)
        return Estimate(value, low, high, "exact bound")
    kept = drawn[np.isfinite(drawn)]
    dropped = len(drawn) - len(kept)
    if len(kept) * 2 < len(drawn) or len(kept) == 0:
        return Estimate(value, None, None, "too few images for an interval", dropped)
    low, high = (float(q) for q in np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    if low == high:
        return Estimate(value, None, None, "every resample gave the same value", dropped)
    return Estimate(value, low, high, "", dropped)


def place_in_bins(y_prob: Floats, bins: int) -> NDArray[np.int64]:
    """Index of the bin of equal width, 1.0 in the last one."""
    return np.minimum((y_prob * bins).astype(np.int64), bins - 1)


class _Sums:
    """Sorting and per-image terms, done once; the rest is weighted sums."""

    def __init__(self, outcomes: Outcomes) -> None:
        y_true, assessed = outcomes.y_true, outcomes.assessed
        scored = np.isfinite(outcomes.y_prob)
        self._ranking = Ranking.of(y_true, outcomes.y_prob, assessed)
        self._ranking_all = Ranking.of(y_true, outcomes.y_prob, scored)
        self._same = bool(np.array_equal(assessed, scored))
        melanoma, referred = y_true == 1, outcomes.referred
        cells = [
            melanoma & referred,
            ~melanoma & referred,
            ~melanoma & ~referred,
            melanoma & ~referred,
            assessed,
            melanoma == (referred & ~assessed | (outcomes.y_prob >= 0.5)),
        ]
        y_prob = np.where(assessed, outcomes.y_prob, 0.0)
        gap = np.where(assessed, y_true - y_prob, 0.0)
        in_bin = place_in_bins(y_prob, ECE_BINS)[:, None] == np.arange(ECE_BINS)
        self._terms = np.column_stack([*cells, gap**2, gap[:, None] * in_bin]).astype(np.float64)

    def figures(self, weights: Floats) -> dict[str, Floats]:
        """Each figure under each weighting, (r, n) to (r,); NaN where it does not exist."""
        sums = weights @ self._terms
        tp, fp, tn, fn, assessed, right, squares = sums[:, :7].T
        curve = self._ranking.cumulate(weights)
        auroc = _auroc(*curve)
        # With one class PPV and NPV would be 0 or 1 whatever the model does.
        both = (tp + fn) * (fp + tn) > 0
        return {
            "accuracy": _divide(right, tp + fp + tn + fn),
            "accuracy_at_operating_point": _divide(tp + tn, tp + fp + tn + fn),
            "auroc": auroc,
            "partial_auroc": _partial_auroc(*curve),
            "average_precision": _average_precision(*curve),
            "sensitivity": _divide(tp, tp + fn),
            "specificity": _divide(tn, tn + fp),
            "ppv": np.where(both, _divide(tp, tp + fp), np.nan),
            "npv": np.where(both, _divide(tn, tn + fn), np.nan),
            "brier": _divide(squares, assessed),
            "ece": _divide(np.abs(sums[:, 7:]).sum(axis=1), assessed),
            "coverage": _divide(assessed, tp + fp + tn + fn),
            "auroc_all": auroc if self._same else self._ranking_all.auroc(weights),
        }


def _explain_missing(name: str, outcomes: Outcomes) -> str:
    """Why this figure would not exist, should it not."""
    if name in {"brier", "ece"} or not outcomes.assessed.any():
        return "no image was assessed"
    if len(np.unique(outcomes.y_true)) < 2:
        return "one class only"
    reasons = {"ppv": "no image was referred", "npv": "every image was referred"}
    return reasons.get(name, "one class only among the assessed images")


def _bound_extreme(value: float, trials: int) -> tuple[float, float]:
    """Clopper & Pearson 1934 for none or all of `trials`, where the bound has a closed form."""
    bound = ((1 - LEVEL) / 2) ** (1 / trials)
    return (bound, 1.0) if value == 1.0 else (0.0, 1 - bound)


def _count_trials(outcomes: Outcomes) -> dict[str, int]:
    """For each proportion, the number of groups that its denominator holds."""
    melanoma, referred = outcomes.y_true == 1, outcomes.referred
    every = np.ones_like(melanoma)
    where = {
        "accuracy": every,
        "accuracy_at_operating_point": every,
        "coverage": every,
        "sensitivity": melanoma,
        "specificity": ~melanoma,
        "ppv": referred,
        "npv": ~referred,
    }
    return {name: len(np.unique(outcomes.group[mask])) for name, mask in where.items()}


def _auroc(true_positive: Floats, false_positive: Floats) -> Floats:
    height = (true_positive[:, 1:] + true_positive[:, :-1]) / 2
    area = np.sum(np.diff(false_positive, axis=1) * height, axis=1)
    return _divide(area, true_positive[:, -1] * false_positive[:, -1])


def _partial_auroc(true_positive: Floats, false_positive: Floats) -> Floats:
    """The curve's steps are trapezia; of the one that crosses the floor only the triangle above counts."""
    floor = MIN_SENSITIVITY * true_positive[:, -1:]
    below = (
        min(map(np.searchsorted, true_positive, floor[:, 0])) - 1
    )  # what is below in every row counts nothing
    true_positive, false_positive = (a[:, max(below, 0) :] for a in (true_positive, false_positive))
    above = np.maximum(true_positive - floor, 0)
    climb = np.diff(true_positive, axis=1)
    part = _divide(np.minimum(true_positive[:, 1:] - floor, climb), climb, empty=1.0)
    width = np.diff(false_positive, axis=1) * np.maximum(part, 0)
    area = np.sum(width * (above[:, 1:] + above[:, :-1]) / 2, axis=1)
    return _divide(area, true_positive[:, -1] * false_positive[:, -1])


def _average_precision(true_positive: Floats, false_positive: Floats) -> Floats:
    precision = _divide(true_positive[:, 1:], (true_positive + false_positive)[:, 1:], empty=0.0)
    area = np.sum(np.diff(true_positive, axis=1) * precision, axis=1)
    average = _divide(area, true_positive[:, -1])
    return np.where(false_positive[:, -1] > 0, average, np.nan)


def _divide(numerator: Floats, denominator: Floats, empty: float = np.nan) -> Floats:
    result: Floats = np.full(np.shape(denominator), empty)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result

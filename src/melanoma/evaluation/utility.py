"""What a model is worth at a stated prevalence: projected PPV and NPV, and decision curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np

from melanoma.evaluation.metrics import Bools, Estimate, Floats, Outcomes, draw_weights, estimate
from melanoma.inference.calibration import rebase

PREVALENCES: Final = (0.01, 0.02, 0.05, 0.10)
PRACTICE: Final = 0.02  # of PREVALENCES, the one that examples are given at
THRESHOLDS: Final = tuple(round(0.005 * step, 3) for step in range(1, 101))
PRACTICE_THRESHOLDS: Final = tuple(
    round(0.001 * step, 3) for step in range(1, 101)
)  # risks that matter there


@dataclass(frozen=True, slots=True)
class Projection:
    """PPV and NPV among people of whom a share `prevalence` in (0, 1) has melanoma."""

    prevalence: float
    ppv: Estimate
    npv: Estimate

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises TypeError on a foreign key."""
        shares = {name: Estimate.from_dict(values[name]) for name in ("ppv", "npv")}
        return cls(**{**values, **shares})


@dataclass(frozen=True, slots=True)
class NetBenefit:
    """Net benefit at one threshold probability, in true positives a person; that of referring nobody is 0."""

    threshold: float
    model: Estimate
    refer_all: float


@dataclass(frozen=True, slots=True)
class DecisionCurve:
    """Net benefit over threshold probabilities, among people of whom a share `prevalence` has melanoma."""

    prevalence: float
    points: tuple[NetBenefit, ...]

    @property
    def useful(self) -> list[float]:
        """Thresholds at which the model's whole interval lies above referring all and above referring nobody."""
        return [
            point.threshold
            for point in self.points
            if point.model.low is not None and point.model.low > max(point.refer_all, 0.0)
        ]

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return {**asdict(self), "points": [asdict(point) for point in self.points]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises TypeError on a foreign key."""
        points = [
            NetBenefit(**{**point, "model": Estimate.from_dict(point["model"])}) for point in values["points"]
        ]
        return cls(**{**values, "points": tuple(points)})


def project(
    sensitivity: Estimate, specificity: Estimate, prevalences: Sequence[float] = PREVALENCES
) -> list[Projection]:
    """PPV and NPV by Bayes' rule at each prevalence in (0, 1), which is taken as known.

    Their odds are the prior odds times a likelihood ratio; its 95 % interval comes from those of
    `sensitivity` and `specificity`, taken as independent, by MOVER-R (Newcombe 2016, "MOVER-R confidence
    intervals for ratios and products of two independently estimated quantities"), which keeps their asymmetry and
    allows a value of 0 or 1. An input without value or interval gives an output without.
    """
    missed, false_alarm = sensitivity.complement, specificity.complement
    return [
        Projection(
            prevalence,
            ppv=_apply_ratio(
                prevalence / (1 - prevalence), sensitivity, false_alarm, "nobody would be referred"
            ),
            npv=_apply_ratio(
                (1 - prevalence) / prevalence, specificity, missed, "everybody would be referred"
            ),
        )
        for prevalence in prevalences
    ]


def draw_decision_curve(
    outcomes: Outcomes,
    *,
    calibrated_to: float,
    prevalence: float | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    resamples: int = 1000,
    seed: int = 0,
) -> DecisionCurve:
    """Net benefit of referring where `y_prob` reaches each threshold probability in (0, 1).

    sensitivity * prevalence - (1 - specificity) * (1 - prevalence) * threshold / (1 - threshold), with
    `y_prob` re-based from the prevalence that it is calibrated to onto `prevalence`, that of the images
    unless given. An image that was not assessed is referred at every threshold. The prevalence is taken as
    known, so that the 95 % bootstrap intervals over groups are those of sensitivity and specificity; they
    hold at each threshold by itself. Without both classes the model has no values. Vickers & Elkin 2006,
    "Decision curve analysis".
    """
    share = float(outcomes.y_true.mean()) if prevalence is None else prevalence
    at = np.asarray(thresholds, dtype=np.float64)
    cost = (1 - share) * at / (1 - at)
    referred, melanoma = _classify(outcomes, calibrated_to, share, at)

    def weigh(weights: Floats) -> Floats:
        return share * _average(weights, referred, melanoma) - cost * _average(weights, referred, ~melanoma)

    points = weigh(np.ones((1, len(outcomes.y_true))))[0]
    drawn = np.concatenate([weigh(w) for w in draw_weights(outcomes.group, resamples, seed)])
    estimates = [estimate(float(points[i]), drawn[:, i], missing="one class only") for i in range(len(at))]
    return DecisionCurve(
        prevalence=share,
        points=tuple(
            NetBenefit(float(t), model, float(share - c))
            for t, model, c in zip(at, estimates, cost, strict=True)
        ),
    )


def draw_decision_curves(
    outcomes: Outcomes, calibrated_to: float | None, *, resamples: int = 1000, seed: int = 0
) -> list[DecisionCurve]:
    """Decision curves at the images' own prevalence and at PRACTICE; none where they would say nothing.

    `calibrated_to`: the prevalence that `y_prob` means; None takes it as that of the images. Nothing can be said of
    one class, nor of images of which none was assessed.
    """
    share = float(outcomes.y_true.mean())
    if not 0 < share < 1 or not outcomes.assessed.any():
        return []
    return [
        draw_decision_curve(
            outcomes,
            calibrated_to=share if calibrated_to is None else calibrated_to,
            prevalence=prevalence,
            thresholds=thresholds,
            resamples=resamples,
            seed=seed,
        )
        for prevalence, thresholds in ((share, THRESHOLDS), (PRACTICE, PRACTICE_THRESHOLDS))
    ]


def _classify(
    outcomes: Outcomes, calibrated_to: float, prevalence: float, thresholds: Floats
) -> tuple[Floats, Bools]:
    """Whether each image is referred at each threshold, (n, t), and whether it is a melanoma, (n,)."""
    both = 0 < prevalence < 1  # else nothing is computed from it
    y_prob = rebase(outcomes.y_prob, calibrated_to, prevalence) if both else outcomes.y_prob
    referred = ~outcomes.assessed[:, None] | (y_prob[:, None] >= thresholds)
    return referred.astype(np.float64), outcomes.y_true == 1


def _average(weights: Floats, values: Floats, where: Bools) -> Floats:
    """Weighted mean of `values` (n, t) over the rows of `where` (n,): (r, t), NaN where they weigh nothing."""
    sums, total = weights[:, where] @ values[where], weights[:, where].sum(axis=1, keepdims=True)
    mean: Floats = np.full(sums.shape, np.nan)
    np.divide(sums, total, out=mean, where=total > 0)
    return mean


def _apply_ratio(prior_odds: float, above: Estimate, below: Estimate, missing: str) -> Estimate:
    """The probability whose odds are `prior_odds` times the ratio of two shares."""
    if above.value is None or below.value is None:
        return Estimate(None, None, None, above.note if above.value is None else below.note)
    if above.value == below.value == 0:
        return Estimate(None, None, None, missing)
    value = _to_probability(prior_odds, above.value, below.value)
    if above.low is None or above.high is None or below.low is None or below.high is None:
        return Estimate(value, None, None, "sensitivity or specificity has no interval")
    low = _bound_ratio(above.value, above.low, below.value, below.high)
    high = _bound_ratio(below.value, below.low, above.value, above.high)  # of the inverse ratio
    return Estimate(value, _to_probability(prior_odds, low, 1.0), _to_probability(prior_odds, 1.0, high))


def _bound_ratio(above: float, above_low: float, below: float, below_high: float) -> float:
    """Lower MOVER-R bound of a ratio of two shares that are not both 0; a bound of the inverse gives the upper."""
    lowest, highest = above_low * (2 * above - above_low), below_high * (2 * below - below_high)
    if above_low == 0:
        return 0.0
    product = above * below
    return lowest / (product + math.sqrt(max(product**2 - lowest * highest, 0.0)))


def _to_probability(prior_odds: float, above: float, below: float) -> float:
    return prior_odds * above / (prior_odds * above + below)

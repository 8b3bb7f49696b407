"""From a network's logit to a probability that means what it says, at a stated prevalence."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from melanoma.errors import CalibrationError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt scaling: probability = sigmoid(slope * logit + intercept), at `prevalence`.

    `n`: how many images it was fitted on. Platt 1999, "Probabilistic outputs for support vector machines".
    """

    slope: float
    intercept: float
    prevalence: float
    n: int

    def transform(self, logit: NDArray[np.floating]) -> FloatArray:
        """Logit (n,) to calibrated probability float64 (n,) in [0, 1]."""
        return sigmoid(self.slope * np.asarray(logit, dtype=np.float64) + self.intercept)

    def move(self, prevalence: float) -> Self:
        """The same calibration at another prevalence in (0, 1): `rebase` of all that it gives."""
        shift = _log_odds(prevalence) - _log_odds(self.prevalence)
        return replace(self, intercept=self.intercept + shift, prevalence=prevalence)

    def to_dict(self) -> dict[str, float | int]:
        """The values as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, float | int]) -> Self:
        """The inverse of `to_dict`. Raises TypeError on a foreign key."""
        return cls(**values)  # type: ignore[arg-type]


def fit_calibration(logit: NDArray[np.floating], y_true: NDArray[np.int64]) -> Calibration:
    """Slope and intercept that minimise the negative log-likelihood, with Platt's smoothed targets.

    `logit` float (n,), `y_true` 0/1 (n,). The prevalence is that of these images. The smoothed targets
    (N+ + 1)/(N+ + 2) and 1/(N- + 2) keep separable data from running off to infinity. Raises
    CalibrationError when one class is missing. Platt 1999, section 2.2.
    """
    n_positive, n_negative = int(np.sum(y_true == 1)), int(np.sum(y_true == 0))
    if n_positive == 0 or n_negative == 0:
        raise CalibrationError("the calibration images hold one class only; give images of both")
    target = np.where(y_true == 1, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    slope, intercept = fit_logistic(logit, target)
    return Calibration(
        slope=slope,
        intercept=intercept,
        prevalence=n_positive / (n_positive + n_negative),
        n=n_positive + n_negative,
    )


def fit_logistic(logit: NDArray[np.floating], target: NDArray[np.floating]) -> tuple[float, float]:
    """Slope and intercept that minimise the negative log-likelihood; `logit` (n,), `target` in [0, 1] (n,).

    Targets of 0 and 1 that a threshold on the logit separates have no minimum; the slope is then just large.
    """
    values = np.asarray(logit, dtype=np.float64)
    centre, spread = float(np.mean(values)), float(np.std(values)) or 1.0
    weight, offset = _newton((values - centre) / spread, np.asarray(target, dtype=np.float64))
    return weight / spread, offset - weight * centre / spread


def rebase(y_prob: FloatArray, prevalence: float, new_prevalence: float) -> FloatArray:
    """Move probabilities from one prevalence to another by Bayes' rule. All in (0, 1); `y_prob` in [0, 1].

    Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori probabilities".
    """
    positive = y_prob * new_prevalence / prevalence
    negative = (1 - y_prob) * (1 - new_prevalence) / (1 - prevalence)
    return np.asarray(positive / (positive + negative))


def sigmoid(values: FloatArray) -> FloatArray:
    """The logistic function without overflow, in [0, 1]."""
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))


def _newton(logit: FloatArray, target: FloatArray, steps: int = 50) -> tuple[float, float]:
    """Newton's method with step halving on the two-parameter logistic likelihood, for standardised logits."""
    design = np.stack([logit, np.ones_like(logit)], axis=1)
    weights = np.zeros(2)
    loss = _loss(design @ weights, target)
    for _ in range(steps):
        probability = sigmoid(design @ weights)
        gradient = design.T @ (probability - target)
        curvature = design.T @ (design * (probability * (1 - probability))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (new_loss := _loss(design @ (weights - size * step), target)) > loss and size > 1e-10:
            size /= 2
        if new_loss >= loss - 1e-12:
            break
        weights, loss = weights - size * step, new_loss
    return float(weights[0]), float(weights[1])


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))


def _loss(values: FloatArray, target: FloatArray) -> float:
    return float(np.sum(np.logaddexp(0, values) - target * values))

"""From a probability to a decision, at an operating point that was frozen when the model was made."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from melanoma.errors import CalibrationError

MIN_MELANOMAS = 20  # of a collection, for it to have a say in the threshold


class Decision(StrEnum):
    """What a reader of the result does next."""

    REFER = "refer"
    NO_SIGN = "no_sign"
    CANNOT_ASSESS = "cannot_assess"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """`threshold` on the calibrated probability at the bundle's own prevalence; refer at or above it.

    `target_sensitivity` is what the threshold was chosen for; `sensitivity` and `specificity` are what it
    gave on the calibration images, `n_melanoma` and `n_other` how many of them there were.
    """

    threshold: float
    target_sensitivity: float
    sensitivity: float
    specificity: float
    n_melanoma: int
    n_other: int

    def to_dict(self) -> dict[str, float | int]:
        """The values as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, float | int]) -> Self:
        """The inverse of `to_dict`. Raises TypeError on a foreign key."""
        return cls(**values)  # type: ignore[arg-type]


def decide(y_prob: float, operating_point: OperatingPoint) -> Decision:
    """Refer at or above the threshold. `y_prob` in [0, 1], at the bundle's own prevalence."""
    return Decision.REFER if y_prob >= operating_point.threshold else Decision.NO_SIGN


def fit_operating_point(
    y_prob: NDArray[np.float64],
    y_true: NDArray[np.int64],
    target_sensitivity: float,
    source: NDArray[np.int64] | None = None,
) -> OperatingPoint:
    """The highest threshold whose sensitivity on these images is at least the target.

    `y_prob` float (n,) in [0, 1], `y_true` 0/1 (n,). With `source`, a number for each collection (n,), it is that in
    every collection of at least `MIN_MELANOMAS` melanomas too, so that a large one does not decide for all. Raises
    CalibrationError when one class is missing.
    """
    positive, negative = np.sort(y_prob[y_true == 1]), y_prob[y_true == 0]
    if len(positive) == 0 or len(negative) == 0:
        raise CalibrationError("the calibration images hold one class only; give images of both")
    threshold = _find_threshold(positive, target_sensitivity)
    for number in np.unique(source) if source is not None else ():
        own = y_prob[(source == number) & (y_true == 1)]
        if len(own) >= MIN_MELANOMAS:
            threshold = min(threshold, _find_threshold(np.sort(own), target_sensitivity))
    return OperatingPoint(
        threshold=threshold,
        target_sensitivity=target_sensitivity,
        sensitivity=float(np.mean(positive >= threshold)),
        specificity=float(np.mean(negative < threshold)),
        n_melanoma=len(positive),
        n_other=len(negative),
    )


def _find_threshold(positive: NDArray[np.float64], target_sensitivity: float) -> float:
    """The highest of the melanomas' values, sorted (n,), at which enough of them are referred."""
    sensitivity = np.arange(len(positive), 0, -1) / len(positive)  # with each positive as the threshold
    may_miss = int(np.sum(sensitivity >= target_sensitivity)) - 1
    return float(positive[max(may_miss, 0)])

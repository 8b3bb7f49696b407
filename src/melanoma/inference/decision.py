"""From a probability to a decision, at an operating point that was frozen when the model was made."""

from collections.abc import Sequence
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

    `y_prob` float (n,) in [0, 1], `y_true` 0/1 (n,). With `source`, a number for each collection (n,), it is the mean
    over the collections of at least `MIN_MELANOMAS` melanomas, so that a large one does not decide for all, nor the
    hardest one. Raises CalibrationError when one class is missing.
    """
    positive, negative = np.sort(y_prob[y_true == 1]), y_prob[y_true == 0]
    if len(positive) == 0 or len(negative) == 0:
        raise CalibrationError("the calibration images hold one class only; give images of both")
    collections = [] if source is None else _part(y_prob[y_true == 1], source[y_true == 1])
    threshold = _find_threshold(positive, collections or [positive], target_sensitivity)
    return OperatingPoint(
        threshold=threshold,
        target_sensitivity=target_sensitivity,
        sensitivity=float(np.mean(positive >= threshold)),
        specificity=float(np.mean(negative < threshold)),
        n_melanoma=len(positive),
        n_other=len(negative),
    )


def _part(positive: NDArray[np.float64], source: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """The melanomas' values of each collection that has enough of them, sorted."""
    parts = [np.sort(positive[source == number]) for number in np.unique(source)]
    return [part for part in parts if len(part) >= MIN_MELANOMAS]


def _find_threshold(
    values: NDArray[np.float64], collections: Sequence[NDArray[np.float64]], target_sensitivity: float
) -> float:
    """The highest of the values, sorted (n,), at which enough is referred of the collections, sorted, on average."""
    referred = [(len(one) - np.searchsorted(one, values)) / len(one) for one in collections]
    enough = np.mean(referred, axis=0) >= target_sensitivity
    return float(values[enough][-1] if enough.any() else values[0])

"""How sure a threshold is that was chosen on few melanomas, from the laws of order statistics."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

from melanoma.evaluation.metrics import LEVEL, Estimate, Floats
from melanoma.inference.decision import OperatingPoint

_TAIL: Final = (1 - LEVEL) / 2


def count_effective(group: NDArray[Any]) -> float:
    """How many independent images n images in groups are worth when those of a group say the same: n² / sum of n_g².

    Kish 1965, "Survey Sampling". `group` (n,).
    """
    size = np.unique(group, return_counts=True)[1]
    return float(size.sum() ** 2 / np.sum(size**2))


def expect_sensitivity(point: OperatingPoint, n_effective: float) -> Estimate:
    """Sensitivity on new images at a threshold that was chosen on `n_effective` independent melanomas.

    The sensitivity on the melanomas that the threshold was chosen on is fixed by the choice and says nothing. With
    m of them, of which j fall below the threshold, the sensitivity on new ones follows Beta(m - j, j + 1) whatever
    the scores' distribution (Wilks 1941, "Determination of sample sizes for setting tolerance limits"). In simulation
    (`benchmarks/calibration_simulation.py`) this holds its level, where a bootstrap evaluated on the images left out is
    twice too wide, and one evaluated on all images misses too often with few melanomas.
    """
    missed = (1 - point.sensitivity) * n_effective
    low, value, high = _spread_sensitivity(n_effective, missed)
    return Estimate(value, low, high)


def bound_threshold(y_prob: Floats, point: OperatingPoint, n_effective: float) -> Estimate:
    """Where the threshold that gives exactly the target sensitivity may lie, from the melanomas' `y_prob` (n,).

    Order statistics of the melanomas around the wanted one, by the binomial distribution (Thompson 1936); a bound
    that needs more melanomas than there are is 0 or 1.
    """
    scores, worth = np.sort(y_prob), int(n_effective)
    first, last = binom.ppf([_TAIL, 1 - _TAIL], worth, 1 - point.target_sensitivity)
    lower = math.floor(first * len(scores) / worth) - 1
    upper = math.ceil((last + 1) * len(scores) / worth) - 1
    low = float(scores[lower]) if lower >= 0 else 0.0
    return Estimate(point.threshold, low, float(scores[upper]) if upper < len(scores) else 1.0)


def count_needed(sensitivity: float, margin: float = 0.03) -> int:
    """Independent melanomas for an interval of sensitivity no wider than twice `margin`, rounded to two digits."""
    low, high = 1, 1
    while _half_width(high, sensitivity) > margin:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _half_width(middle, sensitivity) <= margin else (middle, high)
    digits = max(len(str(high)) - 2, 0)
    unit = int(10**digits)
    return math.ceil(high / unit) * unit


def _half_width(n: int, sensitivity: float) -> float:
    low, _, high = _spread_sensitivity(n, (1 - sensitivity) * n)
    return (high - low) / 2


def _spread_sensitivity(n: float, missed: float) -> tuple[float, float, float]:
    """Lower bound, mean and upper bound."""
    law = beta(n - missed, missed + 1)
    return float(law.ppf(_TAIL)), float(law.mean()), float(law.ppf(1 - _TAIL))

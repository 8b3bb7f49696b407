"""Curves and bars behind the plots."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.metrics import ECE_BINS, Floats, Outcomes, Ranking, place_in_bins

Points = list[tuple[float, float]]

HISTOGRAM_BINS = 20


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a reliability diagram: mean `y_prob`, share of melanoma, number of images."""

    y_prob: float
    observed: float
    count: int


@dataclass(frozen=True, slots=True)
class Curves:
    """What the plots need, on the assessed images; empty where one class is missing.

    `roc`: (1 - specificity, sensitivity); `precision_recall`: (recall, precision); `reliability`: bins of
    equal width; `histogram_melanoma`, `histogram_other`: counts of `y_prob` in 20 bins of equal width.
    """

    roc: Points
    precision_recall: Points
    reliability: list[Bin]
    histogram_melanoma: list[int]
    histogram_other: list[int]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From plain JSON types. Raises TypeError on a foreign key."""
        plain = dict(values)
        plain["reliability"] = [Bin(**entry) for entry in plain["reliability"]]
        for name in ("roc", "precision_recall"):
            plain[name] = [(float(x), float(y)) for x, y in plain[name]]
        return cls(**plain)


def draw_curves(outcomes: Outcomes) -> Curves:
    """The curves of the assessed images."""
    y_true, y_prob = outcomes.y_true[outcomes.assessed], outcomes.y_prob[outcomes.assessed]
    roc: Points = []
    precision_recall: Points = []
    if len(np.unique(y_true)) == 2:
        (tp,), (fp,) = Ranking.of(y_true, y_prob).cumulate(np.ones((1, len(y_true))))
        roc = thin(fp / fp[-1], tp / tp[-1])
        precision_recall = thin(tp[1:] / tp[-1], tp[1:] / (tp + fp)[1:])
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    other, melanoma = (np.histogram(y_prob[y_true == label], bins=edges)[0].tolist() for label in (0, 1))
    return Curves(roc, precision_recall, count_bins(y_true, y_prob), melanoma, other)


def count_bins(y_true: NDArray[np.int64], y_prob: Floats, bins: int = ECE_BINS) -> list[Bin]:
    """The reliability diagram's bins that hold an image, of equal width. `y_true` 0/1, `y_prob` in [0, 1]."""
    place = place_in_bins(y_prob, bins)
    count = np.bincount(place, minlength=bins)
    total, observed = (np.bincount(place, weights=w, minlength=bins) for w in (y_prob, y_true))
    return [
        Bin(float(total[b] / count[b]), float(observed[b] / count[b]), int(count[b]))
        for b in np.flatnonzero(count)
    ]


def thin(x: Floats, y: Floats, keep: int = 200) -> Points:
    """At most `keep` points of a curve with both ends, evenly spread along its steps. `x`, `y` (m,)."""
    path = np.r_[0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))]
    chosen = np.unique(np.searchsorted(path, np.linspace(0, path[-1], keep)))
    chosen[-1] = len(x) - 1
    return [(float(x[i]), float(y[i])) for i in chosen]

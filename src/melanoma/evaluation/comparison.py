"""Two models on the same images: how much better is one, and is that more than chance?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from melanoma.evaluation.discrimination import NAMES, Discrimination
from melanoma.evaluation.evaluate import EvaluationReport
from melanoma.evaluation.judged import read_outcomes
from melanoma.evaluation.metrics import LEVEL, Estimate, Floats, Outcomes, draw_weights, estimate


@dataclass(frozen=True, slots=True)
class DeLong:
    """DeLong's test of equal AUROC, two-sided; the interval is 95 %.

    It takes every image for independent of every other.
    """

    difference: float
    low: float
    high: float
    z: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Paired:
    """One figure of both models, and the first minus the second with its paired bootstrap interval."""

    first: float | None
    second: float | None
    difference: Estimate


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same images.

    `figures`: by `discrimination.NAMES`, each model at its own frozen operating point; the two AUROCs are
    those of the images that both assessed: `n_melanoma, n_other`. `n`: all images. `delong`: None where the
    test does not exist, and then `delong_note` says why. `grouped`: some images share a group, so that
    DeLong's test is too sure.
    """

    first: str
    second: str
    first_digest: str
    second_digest: str
    n: int
    n_groups: int
    n_melanoma: int
    n_other: int
    figures: dict[str, Paired]
    delong: DeLong | None
    delong_note: str
    grouped: bool
    resamples: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, also after JSON. Raises TypeError on a foreign key."""
        figures = {
            name: Paired(**{**entry, "difference": Estimate.from_dict(entry["difference"])})
            for name, entry in values["figures"].items()
        }
        delong = values["delong"] and DeLong(**values["delong"])
        return cls(**{**values, "figures": figures, "delong": delong})


def compare(
    first: EvaluationReport,
    second: EvaluationReport,
    names: tuple[str, str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Set two evaluations of the same images side by side, image by image.

    Groups are drawn once for both models, so what makes an image hard for both cancels out. `names`: what to
    call the models. Raises ValueError when the images differ or a report has no rows.
    """
    if first.rows is None or second.rows is None:
        raise ValueError("a report that was read from JSON has no rows to compare")
    if not first.rows[["path", "y_true", "group"]].equals(second.rows[["path", "y_true", "group"]]):
        raise ValueError("the two evaluations are of different images")
    one, other = read_outcomes(first.rows), read_outcomes(second.rows)
    both = one.assessed & other.assessed
    y_true = one.y_true[both]
    delong, note = run_delong(y_true, one.y_prob[both], other.y_prob[both])
    return Comparison(
        *names,
        first_digest=first.bundle_digest,
        second_digest=second.bundle_digest,
        n=len(both),
        n_groups=first.n_groups,
        n_melanoma=int(y_true.sum()),
        n_other=int((1 - y_true).sum()),
        figures=_compare_figures(one, other, both, resamples, seed),
        delong=delong,
        delong_note=note,
        grouped=first.n_groups < len(both),
        resamples=resamples,
        seed=seed,
    )


def run_delong(y_true: NDArray[np.int64], first: Floats, second: Floats) -> tuple[DeLong | None, str]:
    """DeLong's test, or None and why there is none. `y_true` 0/1 (n,), `first`, `second` probabilities (n,).

    DeLong et al. 1988; midranks give the placements in n log n (Sun & Xu 2014).
    """
    if min((y_true == 1).sum(), (y_true == 0).sum()) < 2:
        return None, "DeLong's test needs two images of each class"
    of_melanoma, of_other = zip(*(_place(y_true, scores) for scores in (first, second)), strict=True)
    difference = float(np.mean(of_melanoma[0] - of_melanoma[1]))
    gaps = (of_melanoma[0] - of_melanoma[1], of_other[0] - of_other[1])
    error = float(np.sqrt(sum(np.var(gap, ddof=1) / len(gap) for gap in gaps)))
    if error == 0:
        return None, "the two models rank every image alike"
    z, reach = difference / error, float(norm.ppf((1 + LEVEL) / 2)) * error
    return DeLong(difference, difference - reach, difference + reach, z, float(2 * norm.sf(abs(z)))), ""


def _place(y_true: NDArray[np.int64], scores: Floats) -> tuple[Floats, Floats]:
    """For each melanoma the share of the others below it, for each other the share of melanomas above it.

    Ties count half.
    """
    melanoma, other = scores[y_true == 1], scores[y_true == 0]
    ranks = rankdata(np.r_[melanoma, other])
    m, n = len(melanoma), len(other)
    below = (ranks[:m] - rankdata(melanoma)) / n
    above = 1 - (ranks[m:] - rankdata(other)) / m
    return below, above


def _compare_figures(
    one: Outcomes, other: Outcomes, both: NDArray[np.bool_], resamples: int, seed: int
) -> dict[str, Paired]:
    models = [Discrimination(outcomes, both) for outcomes in (one, other)]
    once = np.ones((1, len(both)))
    first, second = ({k: float(v[0]) for k, v in model.figures(once).items()} for model in models)
    drawn: dict[str, list[Floats]] = {name: [] for name in NAMES}
    for weights in draw_weights(one.group, resamples, seed):
        mine, theirs = (model.figures(weights) for model in models)
        for name, parts in drawn.items():
            parts.append(mine[name] - theirs[name])
    return {
        name: Paired(
            _finite(first[name]),
            _finite(second[name]),
            estimate(first[name] - second[name], np.concatenate(parts), missing="a class is missing"),
        )
        for name, parts in drawn.items()
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None

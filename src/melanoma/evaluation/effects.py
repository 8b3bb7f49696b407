"""What a change does to probabilities and decisions, beside its control, with intervals over groups."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.evaluation.judged import number_groups
from melanoma.evaluation.metrics import Bools, Estimate, Floats, Ranking, draw_weights, estimate
from melanoma.inference.decision import Decision

CLASSES: Final = {1: "melanoma", 0: "other", -1: "unlabelled"}
FIGURES: Final = ("abs_delta", "delta", "to_no_sign", "to_refer")
_SHARES = ("to_no_sign", "to_refer")
_ONE_CLASS = "one class only"

Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Contrast:
    """A figure of the change, of its control, and the first minus the second on the images that have both.

    `control` and `difference` are None where no image has a control.
    """

    changed: Estimate
    control: Estimate | None
    difference: Estimate | None


@dataclass(frozen=True, slots=True)
class ClassEffect:
    """The effect on one class of images, by FIGURES.

    `abs_delta`: mean |change of y_prob|; `delta`: mean change, above 0 towards melanoma; `to_no_sign`: share of all
    images of the class that were referred before and not after (melanomas: lost); `to_refer`: the other
    way round (other images: false alarms gained). An image that is not assessed counts as referred. `n`: images
    with the change, `n_control` with a control too, `n_groups` what the bootstrap drew them from.
    """

    n: int
    n_control: int
    n_groups: int
    figures: dict[str, Contrast]


@dataclass(frozen=True, slots=True)
class AurocEffect:
    """AUROC of the labelled images that have the change, `before` and `after` it; `difference`: after minus before.

    `control`, `control_difference` (minus before) and `beyond_control` (after minus control) are those of the
    images that have a control, None where there is none.
    """

    before: Estimate
    after: Estimate
    difference: Estimate
    control: Estimate | None
    control_difference: Estimate | None
    beyond_control: Estimate | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What one change does.

    `classes`: those of CLASSES that occur, by name. `refused`: images not assessed after the change that were
    before. `missing`: images for which the change could not be made, by reason.
    """

    change: str
    classes: dict[str, ClassEffect]
    auroc: AurocEffect
    refused: int
    missing: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """One change, image by image: what was said before, after, and of the control; (n,) each."""

    y_true: NDArray[np.int64]
    group: NDArray[np.int64]
    y_prob: dict[str, Floats]
    referred: dict[str, Bools]

    @property
    def changed(self) -> Bools:
        return np.isfinite(self.y_prob["after"])

    @property
    def controlled(self) -> Bools:
        return self.changed & np.isfinite(self.y_prob["control"])


def summarise(rows: pd.DataFrame, *, resamples: int = 1000, seed: int = 0) -> list[Effect]:
    """The effect of every change, in the order in which they come.

    `rows` as `stress.Judged` has them: the same images in the same order for every change. The same groups are
    drawn for all figures, so differences are paired. Intervals as `metrics.estimate_figures` describes.
    """
    changes = rows["change"].drop_duplicates().tolist()
    tables = [rows[rows["change"] == change] for change in changes]
    group = number_groups(tables[0]["group"])
    bootstrap = _Bootstrap(list(draw_weights(group, resamples, seed)))
    return [
        _summarise_change(change, table, group, bootstrap)
        for change, table in zip(changes, tables, strict=True)
    ]


def estimate_auroc(rows: pd.DataFrame, score: str, *, resamples: int = 1000, seed: int = 0) -> Estimate:
    """How well one column of numbers tells melanoma by itself; rows without a label or a number are left out."""
    y_true, values = rows["y_true"].to_numpy(np.int64), rows[score].to_numpy(np.float64)
    known = (y_true >= 0) & np.isfinite(values)
    bootstrap = _Bootstrap(list(draw_weights(number_groups(rows["group"]), resamples, seed)))
    return bootstrap.estimate(Ranking.of(y_true, values, known).auroc, missing=_ONE_CLASS)


class _Bootstrap:
    """Estimates of statistics that all see the same resamples."""

    def __init__(self, weights: Sequence[Floats]) -> None:
        self._weights = weights

    def estimate(self, statistic: Statistic, *, trials: int | None = None, missing: str = "") -> Estimate:
        """A statistic of weights (r, n) with its interval; see `metrics.estimate`."""
        point = float(statistic(np.ones((1, self._weights[0].shape[1])))[0])
        drawn = np.concatenate([statistic(weights) for weights in self._weights])
        return estimate(point, drawn, trials=trials, missing=missing)


def _summarise_change(
    change: str, table: pd.DataFrame, group: NDArray[np.int64], bootstrap: _Bootstrap
) -> Effect:
    moments = ("before", "after", "control")
    pairs = _Pairs(
        table["y_true"].to_numpy(np.int64),
        group,
        {name: table[f"y_prob_{name}"].to_numpy(np.float64) for name in moments},
        {name: (table[f"decision_{name}"] != Decision.NO_SIGN).to_numpy() for name in moments},
    )
    was_assessed = table["decision_before"] != Decision.CANNOT_ASSESS
    classes = {}
    for y_true, name in CLASSES.items():
        here = (pairs.y_true == y_true) & pairs.changed
        if here.any():
            classes[name] = _compare_class(pairs, here, bootstrap)
    return Effect(
        change,
        classes,
        _compare_auroc(pairs, bootstrap),
        int((was_assessed & (table["decision_after"] == Decision.CANNOT_ASSESS)).sum()),
        {str(reason): int(n) for reason, n in table.loc[~pairs.changed, "reason"].value_counts().items()},
    )


def _compare_class(pairs: _Pairs, here: Bools, bootstrap: _Bootstrap) -> ClassEffect:
    both = here & pairs.controlled
    changed, control = _measure(pairs, "after"), _measure(pairs, "control")
    n_groups, n_groups_both = (len(np.unique(pairs.group[where])) for where in (here, both))
    figures = {}
    for name in FIGURES:
        trials = (n_groups, n_groups_both) if name in _SHARES else (None, None)
        figures[name] = Contrast(
            bootstrap.estimate(_mean(changed[name], here), trials=trials[0]),
            bootstrap.estimate(_mean(control[name], both), trials=trials[1]) if both.any() else None,
            bootstrap.estimate(_mean(changed[name] - control[name], both)) if both.any() else None,
        )
    return ClassEffect(int(here.sum()), int(both.sum()), n_groups, figures)


def _measure(pairs: _Pairs, moment: str) -> dict[str, Floats]:
    """FIGURES of each image (n,)."""
    delta = pairs.y_prob[moment] - pairs.y_prob["before"]
    before, now = pairs.referred["before"], pairs.referred[moment]
    flips = {"to_no_sign": before & ~now, "to_refer": ~before & now}
    return {"abs_delta": np.abs(delta), "delta": delta} | {k: v.astype(np.float64) for k, v in flips.items()}


def _mean(values: Floats, where: Bools) -> Statistic:
    """The mean of values (n,) over a part of the images, NaN in resamples without any of it."""
    share = where.astype(np.float64)
    total = np.where(where, values, 0.0)

    def mean(weights: Floats) -> Floats:
        count = weights @ share
        means: Floats = np.full(len(count), np.nan)
        np.divide(weights @ total, count, out=means, where=count > 0)
        return means

    return mean


def _compare_auroc(pairs: _Pairs, bootstrap: _Bootstrap) -> AurocEffect:
    labelled = pairs.y_true >= 0
    here, both = labelled & pairs.changed, labelled & pairs.controlled

    def rank(moment: str, where: Bools) -> Statistic:
        return Ranking.of(pairs.y_true, pairs.y_prob[moment], where).auroc

    def subtract(first: Statistic, second: Statistic) -> Statistic:
        return lambda weights: first(weights) - second(weights)

    def find(statistic: Statistic) -> Estimate:
        return bootstrap.estimate(statistic, missing=_ONE_CLASS)

    before, after = rank("before", here), rank("after", here)
    plain, changed, control = (rank(moment, both) for moment in ("before", "after", "control"))
    return AurocEffect(
        find(before),
        find(after),
        find(subtract(after, before)),
        find(control) if both.any() else None,
        find(subtract(control, plain)) if both.any() else None,
        find(subtract(changed, control)) if both.any() else None,
    )

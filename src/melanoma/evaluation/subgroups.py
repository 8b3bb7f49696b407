"""The same figures for parts of the images: within each source, by age, sex, site, diagnosis, skin tone."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
import pandas as pd

from melanoma.evaluation.attributes import NOT_STATED, Attribute, list_attributes
from melanoma.evaluation.discrimination import Discrimination
from melanoma.evaluation.metrics import Bools, Estimate, Floats, Outcomes, Ranking, draw_weights, estimate
from melanoma.evaluation.skin_tone import CAVEAT

MIN_OF_CLASS: Final = 10  # groups
TOO_FEW: Final = "too few to say"
SHOWN: Final = ("auroc", "sensitivity", "specificity")
_DRAWN_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One part of the images; `name` is '' for those of which nothing is stated.

    `figures`: of SHOWN those that can be: of a diagnosis only sensitivity or only specificity.
    """

    name: str
    n_melanoma: int
    n_other: int
    n_groups: int
    figures: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All parts by one attribute; none when it is not stated for any image, which `note` then says.

    `n_not_stated` counts the images without a value, `n_impossible` those among them that have one that
    cannot be, such as an age of -5.
    """

    by: str
    subgroups: list[Subgroup]
    n_not_stated: int
    n_impossible: int
    note: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """From plain JSON types. Raises TypeError on a foreign key."""
        parts = [
            Subgroup(**{**part, "figures": _read_figures(part["figures"])}) for part in values["subgroups"]
        ]
        return cls(**{**values, "subgroups": parts})


@dataclass(frozen=True, slots=True)
class WithinSources:
    """Plain mean of the AUROCs within each source of `sources`; those `left_out` have too few of a class."""

    auroc: Estimate
    sources: list[str]
    left_out: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises TypeError on a foreign key."""
        return cls(**{**values, "auroc": Estimate.from_dict(values["auroc"])})


def break_down(rows: pd.DataFrame, outcomes: Outcomes, *, resamples: int, seed: int) -> list[Breakdown]:
    """Figures by every attribute of the images; see `Breakdown`.

    A figure needs images of at least MIN_OF_CLASS groups of the class (AUROC: of each, assessed); below that
    it is "too few to say". Intervals draw the groups of the part.
    """
    return [_split(attribute, outcomes, resamples, seed) for attribute in list_attributes(rows)]


def average_within(
    rows: pd.DataFrame, outcomes: Outcomes, *, resamples: int, seed: int
) -> WithinSources | None:
    """Mean AUROC within sources, None with one source; a model that only knows the source gets 0.5.

    The bootstrap draws groups within sources; groups that lie in several sources are drawn among their like.
    """
    names = sorted(rows["source"].unique())
    if len(names) < 2:
        return None
    source = rows["source"].to_numpy(dtype=object)
    left_out = [name for name in names if _lacks(outcomes, (source == name) & outcomes.assessed)]
    used = [name for name in names if name not in left_out]
    if len(used) < 2:
        few = f"fewer than two sources with {MIN_OF_CLASS} of each class"
        return WithinSources(Estimate(None, None, None, few), used, left_out)
    where = [(source == name) & outcomes.assessed for name in used]
    rankings = [Ranking.of(outcomes.y_true, outcomes.y_prob, mask) for mask in where]

    def average(weights: Floats) -> Floats:
        return np.asarray(np.mean([ranking.auroc(weights) for ranking in rankings], axis=0))

    value = float(average(np.ones((1, len(source))))[0])
    drawn = [average(weights) for weights in draw_within(outcomes, np.array(where), resamples, seed)]
    return WithinSources(estimate(value, np.concatenate(drawn)), used, left_out)


def draw_within(outcomes: Outcomes, where: Bools, resamples: int, seed: int) -> Iterator[Floats]:
    """Weights (r, n) of draws of groups among those that touch the same sources; `where` bool (sources, n)."""
    touches = np.zeros((int(outcomes.group.max()) + 1, len(where)), np.bool_)
    for number, mask in enumerate(where):
        touches[outcomes.group[mask], number] = True
    _, stratum = np.unique(touches, axis=0, return_inverse=True)
    strata = [np.flatnonzero(stratum == number) for number in range(int(stratum.max()) + 1)]
    rng = np.random.default_rng(seed)
    for first in range(0, resamples, _DRAWN_AT_ONCE):
        times = np.zeros((min(_DRAWN_AT_ONCE, resamples - first), len(touches)))
        for row in times:
            for groups in strata:
                np.add.at(row, rng.choice(groups, len(groups)), 1)
        yield times[:, outcomes.group]


def _split(attribute: Attribute, outcomes: Outcomes, resamples: int, seed: int) -> Breakdown:
    lacking = int((attribute.values == NOT_STATED).sum())
    if not attribute.order:
        return Breakdown(attribute.name, [], lacking, attribute.n_impossible, "not stated for any image")
    names = [*attribute.order, *([NOT_STATED] if lacking else [])]
    parts = []
    for name in names:
        here = (attribute.values == name).to_numpy(dtype=np.bool_)
        for mask, figures in _divide(
            here, outcomes, by_class=attribute.name == "diagnosis" and name != NOT_STATED
        ):
            parts.append(_describe(name, outcomes.subset(mask), figures, resamples, seed))
    note = CAVEAT if attribute.name == "skin tone" else ""
    return Breakdown(attribute.name, parts, lacking, attribute.n_impossible, note)


def _divide(here: Bools, outcomes: Outcomes, *, by_class: bool) -> Iterator[tuple[Bools, tuple[str, ...]]]:
    """What of these images gets which figures: a diagnosis is melanoma or not, and has no other class."""
    if not by_class:
        yield here, SHOWN
        return
    for y, figure in ((1, "sensitivity"), (0, "specificity")):
        side = here & (outcomes.y_true == y)
        if side.any():
            yield side, (figure,)


def _describe(name: str, part: Outcomes, figures: tuple[str, ...], resamples: int, seed: int) -> Subgroup:
    melanoma = part.y_true == 1
    may_say = {
        "auroc": not _lacks(part, part.assessed),
        "sensitivity": _count_groups(part, melanoma) >= MIN_OF_CLASS,
        "specificity": _count_groups(part, ~melanoma) >= MIN_OF_CLASS,
    }
    said = [figure for figure in figures if may_say[figure]]
    estimates = dict.fromkeys(figures, Estimate(None, None, None, TOO_FEW))
    estimates |= _estimate(part, said, resamples, seed) if said else {}
    n_melanoma = int(melanoma.sum())
    return Subgroup(name, n_melanoma, len(melanoma) - n_melanoma, int(part.group.max()) + 1, estimates)


def _estimate(part: Outcomes, names: list[str], resamples: int, seed: int) -> dict[str, Estimate]:
    model = Discrimination(part, part.assessed)
    point = model.figures(np.ones((1, len(part.y_true))))
    drawn = [model.figures(weights) for weights in draw_weights(part.group, resamples, seed)]
    trials = {
        "sensitivity": _count_groups(part, part.y_true == 1),
        "specificity": _count_groups(part, part.y_true == 0),
    }
    return {
        name: estimate(
            float(point[name][0]),
            np.concatenate([figures[name] for figures in drawn]),
            trials=trials.get(name),
        )
        for name in names
    }


def _lacks(outcomes: Outcomes, where: Bools) -> bool:
    """Whether there is too little of either class for an AUROC."""
    return any(_count_groups(outcomes, where & (outcomes.y_true == y)) < MIN_OF_CLASS for y in (0, 1))


def _count_groups(outcomes: Outcomes, where: Bools) -> int:
    return len(np.unique(outcomes.group[where]))


def _read_figures(figures: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate.from_dict(figure) for name, figure in figures.items()}

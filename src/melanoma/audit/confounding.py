"""How well melanoma, and the source, can be told without looking at the lesion.

An AUROC of 0.5 is what one wants to see: the cue says nothing. Whatever a cue reaches, a model may reach
without learning anything about melanoma.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from melanoma.audit.crossvalidation import (
    METHOD,
    assign_strata,
    bootstrap,
    deal_folds,
    score_out_of_fold,
)
from melanoma.audit.cues import NUMBERS, SHOWS_LESION
from melanoma.evaluation.metrics import Estimate, Ranking, estimate

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_GROUPS: Final = 20  # of each class
MAX_IMAGES: Final = 20_000
STRONGEST: Final = 3
TOGETHER: Final = "together"
_SUBJECTS = {
    "border": "the border alone tells",
    "frame": "the shape of the frame alone tells",
    "skin": "the colour of the surrounding skin alone tells",
    "file": "the file's header alone tells",
    "file size": "the file's size, to which the lesion's texture adds, tells",
    TOGETHER: "all cues without the lesion together tell",
}


@dataclass(frozen=True, slots=True)
class Confounding:
    """What one cue tells about one target.

    `target`: 'melanoma' or 'source'. `scope`: for melanoma the source within which it is told; for source the
    one that is told from the others; None for all sources together, which for source is the mean of the
    sources' AUROCs. `estimate`: its `note` says why there is no figure. `counts`, `left_out`: how many
    images of each class were measured, and were not because they lack the cue or their source is too small.
    `strongest`: single numbers of the cue with the AUROC that each has by itself on the same images, without
    any fitting; below 0.5 where low values mean the target.
    """

    target: str
    cue: str
    scope: str | None
    estimate: Estimate
    counts: dict[str, int]
    left_out: dict[str, int]
    strongest: tuple[tuple[str, float], ...] = ()

    @property
    def sentence(self) -> str:
        """The finding in words."""
        subject = _SUBJECTS.get(self.cue, f"{self.cue} alone tells")
        e = self.estimate
        what = _name_task(self.target, self.scope)
        if e.value is None:
            return f"whether {subject} {what}: not measured, {e.note}"
        interval = "" if e.low is None or e.high is None else f" ({e.low:.2f} to {e.high:.2f})"
        out = [f"{n:,} of {n + self.counts[name]:,} {name}" for name, n in self.left_out.items() if n]
        rest = f"; left out: {', '.join(out)}" if out else ""
        mean = "a mean AUROC of" if self.target == "source" and self.scope is None else "AUROC"
        return f"{subject} {what} at {mean} {e.value:.2f}{interval}{rest}"

    def to_dict(self) -> dict[str, Any]:
        """The fields and the sentence as plain JSON types."""
        strongest = [{"number": name, "auroc": auroc} for name, auroc in self.strongest]
        return asdict(self) | {"strongest": strongest, "sentence": self.sentence}


@dataclass(frozen=True, slots=True)
class ConfoundingReport:
    """Every finding. `n_images` were given and `n_sampled` measured: whole groups, at most `MAX_IMAGES`."""

    findings: tuple[Confounding, ...]
    n_images: int
    n_sampled: int
    resamples: int
    seed: int
    method: str = METHOD

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self) | {"findings": [finding.to_dict() for finding in self.findings]}


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """Something to be told: `label` (n,) an index into `classes` for the images of `where` (n,)."""

    target: str
    scope: str | None
    classes: tuple[str, ...]
    label: Integers
    where: Bools


def measure(
    cues: Mapping[str, NDArray[np.float32]],
    y_true: Sequence[int] | Integers,
    source: Sequence[str],
    group: Sequence[str] | Sequence[int] | Integers,
    *,
    names: Mapping[str, Sequence[str]] = NUMBERS,
    resamples: int = 500,
    limit: int = MAX_IMAGES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ConfoundingReport:
    """Measure each cue, and those that do not depend on the lesion together.

    `cues`: name -> float32 (n, d), a row of NaN where an image lacks the cue. `y_true` 0/1 (n,). `source`,
    `group` (n,): images of one group (copies, one lesion, one patient) never stand on both sides of a fold.
    `names`: what the d numbers are called. More than `limit` images are sampled by group, small sources
    whole. `progress` is told (measured, all). Raises ValueError when lengths differ.
    """
    y_all, sources = np.asarray(y_true, np.int64), np.asarray(source, np.str_)
    groups = np.unique(np.asarray(group), return_inverse=True)[1].astype(np.int64)
    if {len(sources), len(groups), *(len(x) for x in cues.values())} != {len(y_all)}:
        raise ValueError("cues, y_true, source and group must have one entry an image")
    chosen = _sample(sources, groups, limit, seed)
    tables = {name: np.asarray(x)[chosen] for name, x in cues.items()}
    together = [x for name, x in tables.items() if name not in SHOWS_LESION]
    if len(together) > 1:
        tables[TOGETHER] = np.concatenate(together, axis=1)
    tasks = _set_tasks(y_all[chosen], sources[chosen])
    findings: list[Confounding] = []
    for done, (cue, task) in enumerate([(cue, task) for cue in tables for task in tasks], start=1):
        called = names.get(cue, ()) if cue != TOGETHER else ()
        findings += _measure(
            cue, tables[cue], task, groups[chosen], names=called, resamples=resamples, seed=seed
        )
        if progress is not None:
            progress(done, len(tables) * len(tasks))
    return ConfoundingReport(tuple(findings), len(y_all), len(chosen), resamples, seed)


def _name_task(target: str, scope: str | None) -> str:
    if target == "melanoma":
        return "melanoma from other " + ("over all sources" if scope is None else f"in {scope}")
    return "the sources apart" if scope is None else f"{scope} from the other sources"


def _set_tasks(y_true: Integers, source: NDArray[np.str_]) -> list[_Task]:
    """Melanoma over all sources, melanoma within each, and the source."""
    found, code = np.unique(source, return_inverse=True)
    labels = tuple(str(name) for name in found)
    every = np.ones(len(y_true), np.bool_)
    classes = ("other", "melanoma")
    tasks = [_Task("melanoma", None, classes, y_true, every)] if len(labels) != 1 else []
    tasks += [_Task("melanoma", name, classes, y_true, code == i) for i, name in enumerate(labels)]
    return [*tasks, _Task("source", None, labels, code.astype(np.int64), every)]


def _measure(
    cue: str,
    table: NDArray[np.float32],
    task: _Task,
    group: Integers,
    *,
    names: Sequence[str],
    resamples: int,
    seed: int,
) -> list[Confounding]:
    """One finding; for more than two sources one more for each."""
    complete = task.where & np.isfinite(table).all(axis=1)
    independent = [len(np.unique(group[complete & (task.label == i)])) for i in range(len(task.classes))]
    enough = [i for i, number in enumerate(independent) if number >= MIN_GROUPS]
    measured = complete & np.isin(task.label, enough)
    counts, left_out = _count(task, measured), _count(task, task.where & ~measured)
    reason = _explain_missing(task, independent)
    whole = Confounding(task.target, cue, task.scope, Estimate(None, None, None, reason), counts, left_out)
    if reason:
        return [whole]
    x, groups = table[measured], np.unique(group[measured], return_inverse=True)[1].astype(np.int64)
    label = np.searchsorted(enough, task.label[measured]).astype(np.int64)
    drawn, strongest = _tell_apart(x, label, groups, names, (resamples, seed))
    mean = replace(whole, estimate=_estimate(drawn.mean(axis=1)))
    if len(enough) == 2:
        return [replace(mean, strongest=strongest[0])]
    each = [
        replace(
            _single_out(whole, task.classes[number]), estimate=_estimate(drawn[:, i]), strongest=strongest[i]
        )
        for i, number in enumerate(enough)
    ]
    return [mean, *each]


def _tell_apart(
    x: NDArray[np.float32], label: Integers, group: Integers, names: Sequence[str], draws: tuple[int, int]
) -> tuple[Floats, list[tuple[tuple[str, float], ...]]]:
    """AUROC of each label, as `bootstrap` gives them, and its strongest numbers; of two labels the second's.

    `draws`: number of resamples and seed.
    """
    resamples, seed = draws
    scores = score_out_of_fold(x, label, deal_folds(label, group, seed), seed)
    told = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    truths = [(label == i).astype(np.int64) for i in told]
    rankings = [Ranking.of(truth, scores[:, i]) for truth, i in zip(truths, told, strict=True)]
    drawn = bootstrap(rankings, group, resamples, seed)
    return drawn, [_find_strongest(x, truth, names) for truth in truths]


def _estimate(auroc: Floats) -> Estimate:
    """From the figure on all images and, after it, on the resamples."""
    return estimate(float(auroc[0]), auroc[1:])


def _count(task: _Task, where: Bools) -> dict[str, int]:
    number = np.bincount(task.label[where], minlength=len(task.classes))
    return {name: int(n) for name, n in zip(task.classes, number, strict=True)}


def _single_out(whole: Confounding, name: str) -> Confounding:
    """The finding for one source, its counts against those of all others."""
    counts, left_out = (
        {name: part[name], "the other sources": sum(part.values()) - part[name]}
        for part in (whole.counts, whole.left_out)
    )
    return replace(whole, scope=name, counts=counts, left_out=left_out)


def _explain_missing(task: _Task, independent: Sequence[int]) -> str:
    """Why there is no figure; '' when there is one."""
    present = _count(task, task.where)
    if task.target == "source":
        if len(present) < 2:
            return "there is one source only"
        enough = sum(number >= MIN_GROUPS for number in independent) >= 2
        return "" if enough else f"fewer than two sources have {MIN_GROUPS} independent images with this cue"
    for name, number in zip(task.classes, independent, strict=True):
        if present[name] == 0:
            return f"there is no image of {name}"
        if number < MIN_GROUPS:
            return f"{number} independent images of {name} have this cue, and {MIN_GROUPS} are needed"
    return ""


def _sample(source: NDArray[np.str_], group: Integers, limit: int, seed: int) -> Integers:
    """Rows of whole groups, at most `limit`; the largest sources give way first."""
    if len(source) <= limit:
        return np.arange(len(source))
    stratum = assign_strata(np.unique(source, return_inverse=True)[1].astype(np.int64), group)
    size = np.bincount(group)
    order = np.random.default_rng(seed).permutation(len(size))
    totals = np.bincount(stratum, weights=size)
    kept = np.zeros(len(size), np.bool_)
    for number, rare in enumerate(np.argsort(totals)):
        share = limit // (len(totals) - number)  # what small sources leave, larger ones may use
        here = order[stratum[order] == rare]
        here = here[size[here] <= share]  # one huge group must not keep all others out
        here = here[np.cumsum(size[here]) <= share]
        kept[here] = True
        limit -= int(size[here].sum())
    return np.flatnonzero(kept[group])


def _find_strongest(
    x: NDArray[np.float32], truth: Integers, names: Sequence[str]
) -> tuple[tuple[str, float], ...]:
    """The numbers that rank the images best by themselves, with their AUROC; none without names."""
    weights = np.ones((1, len(truth)))
    alone = [
        (name, float(Ranking.of(truth, column.astype(np.float64)).auroc(weights)[0]))
        for name, column in zip(names, x.T, strict=False)
    ]
    telling = [(name, auroc) for name, auroc in alone if auroc != 0.5]
    return tuple(sorted(telling, key=lambda pair: -abs(pair[1] - 0.5))[:STRONGEST])

"""What is known of a bundle: its own facts, and the results that were given with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from melanoma.evaluation import statements as stating
from melanoma.evaluation.evaluate import EvaluationReport
from melanoma.evaluation.looks import LookCount
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.plain_words import describe, describe_use
from melanoma.evaluation.result_files import Evaluated, Explained, Stressed
from melanoma.evaluation.subgroups import SHOWN, Breakdown
from melanoma.inference.bundle import Bundle

MAKING: Final = ("train", "val", "calibration")  # names of images that had a part in making the model
HOME, AWAY, MIXED, UNKNOWN, MADE = (
    "same as training",
    "another",
    "partly the same",
    "not known",
    "these images made the model",
)


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """One set of images with its figures. `source`: where it is from, HOME, AWAY, MIXED, UNKNOWN or MADE.

    `words` and `use`: what the figures and the decision curves come to.
    """

    report: EvaluationReport
    source: str
    words: list[str]
    use: list[str]
    looks: LookCount | None


@dataclass(frozen=True, slots=True)
class Lowest:
    """The lowest of a figure over the parts of a breakdown, None where none of them has it."""

    part: str
    figure: Estimate


@dataclass(frozen=True, slots=True)
class BreakdownSummary:
    """One breakdown in short: `n` parts, `n_told` with a figure, the lowest of each of `subgroups.SHOWN`."""

    by: str
    n: int
    n_told: int
    lowest: dict[str, Lowest | None]


@dataclass(frozen=True, slots=True)
class Card:
    """All that a model card is made of; `statements` by keys of `statements.TITLES`."""

    bundle: Bundle
    sets: list[JudgedSet] = field(default_factory=list)
    compared: list[Evaluated] = field(default_factory=list)
    stressed: list[Stressed] = field(default_factory=list)
    explained: list[Explained] = field(default_factory=list)
    statements: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The bundle's facts."""
        return self.bundle.facts

    @property
    def judged(self) -> list[JudgedSet]:
        """The sets that had no part in making the model."""
        return [judged for judged in self.sets if judged.source != MADE]

    @property
    def has_domain_check(self) -> bool:
        """Whether the bundle refuses what is no dermoscopic image; older bundles cannot."""
        return getattr(self.bundle, "domain", None) is not None

    def list_breakdowns(self, by: Sequence[str] = ()) -> list[Breakdown]:
        """Breakdowns of the judged sets, those by certain attributes only where given."""
        every = [part for judged in self.judged for part in judged.report.breakdowns]
        return [breakdown for breakdown in every if not by or breakdown.by in by]


def gather(
    bundle: Bundle,
    evaluations: Sequence[Path] = (),
    stress: Sequence[Path] = (),
    explanations: Sequence[Path] = (),
    statements: Path | None = None,
) -> Card:
    """A card from the folders of results. Raises ConfigError for one that is of another bundle or of another kind."""
    evaluated = [Evaluated.load(folder, bundle.digest) for folder in evaluations]
    return Card(
        bundle,
        [judged for one in evaluated for judged in _list_sets(one, bundle.facts.get("sources"))],
        [one for one in evaluated if one.comparison is not None],
        [Stressed.load(folder, bundle.digest) for folder in stress],
        [Explained.load(folder, bundle.digest) for folder in explanations],
        {} if statements is None else stating.load(statements),
    )


def summarise_breakdown(breakdown: Breakdown) -> BreakdownSummary:
    """How many parts there are, of how many something can be said, and where each figure is lowest."""
    parts = [part for part in breakdown.subgroups if part.name]
    told = [part for part in parts if any(figure.value is not None for figure in part.figures.values())]
    lowest: dict[str, Lowest | None] = {}
    for name in SHOWN:
        known = [
            Lowest(part.name, part.figures[name])
            for part in told
            if name in part.figures and part.figures[name].value is not None
        ]
        lowest[name] = min(known, key=lambda one: one.figure.value or 0.0, default=None)
    return BreakdownSummary(breakdown.by, len(parts), len(told), lowest)


def _list_sets(evaluated: Evaluated, trained_on: list[str] | None) -> Iterator[JudgedSet]:
    for report in evaluated.reports:
        last = report is evaluated.reports[-1]
        source = _place(report, trained_on)
        origin = evaluated.origin if last else None
        looks = evaluated.looks if last else None
        words = [] if source == MADE else describe(report, origin, looks)
        use = [describe_use(curve) for curve in report.decision_curves]
        yield JudgedSet(report, source, words, use, looks)


def _place(report: EvaluationReport, trained_on: list[str] | None) -> str:
    """Where the images are from, by the names of their sources."""
    if report.name in MAKING:
        return MADE
    if not trained_on or not report.sources:
        return UNKNOWN
    shared = set(report.sources) & set(trained_on)
    return AWAY if not shared else HOME if shared == set(report.sources) else MIXED

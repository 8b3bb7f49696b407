"""What an evaluation comes to, in sentences that need no statistics."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from melanoma.evaluation.evaluate import EvaluationReport
from melanoma.evaluation.looks import LookCount
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.pages import format_percent
from melanoma.evaluation.utility import PRACTICE, DecisionCurve

PATIENTS: Final = 1000
_SEEN: Final = "; of images that the model has seen, figures are far too good."
_MOST: Final = 0.8  # of the thresholds, from which share on it is "nearly every" one
_SHORTEST: Final = 3  # thresholds in a row; fewer may stand out by chance


@dataclass(frozen=True, slots=True)
class Origin:
    """What the judged images are to the model.

    `trained_on`: names of the sources that it was trained on, None where that is not known. `n_test`: how many of the
    images are known to be test images.
    """

    trained_on: list[str] | None
    n_test: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Practice:
    """Of PATIENTS people of whom a share PRACTICE has melanoma, how many are what, as whole numbers."""

    melanomas: int
    others: int
    found: int
    false_alarms: int

    @property
    def missed(self) -> int:
        """Melanomas that are not referred."""
        return self.melanomas - self.found

    @property
    def referred(self) -> int:
        """Everybody who is referred."""
        return self.found + self.false_alarms


def describe(report: EvaluationReport, origin: Origin | None, looks: LookCount | None) -> list[str]:
    """Paragraphs for the top of a page: how good, what that means in a practice, what the figures are worth."""
    paragraphs = [describe_images(report), describe_practice(report), describe_worth(report, origin, looks)]
    return [paragraph for paragraph in paragraphs if paragraph]


def describe_images(report: EvaluationReport) -> str:
    """How many in 100 of each class are referred, and how many images could not be assessed."""
    if report.coverage == 0:
        return (
            "The model could not assess 100 % of the images, so nothing can be said of how well it tells melanoma."
            " Every one of these images would be referred."
        )
    found, spared = report.figures["sensitivity"], report.figures["specificity"]
    alarms = spared.complement
    if found.value is None:
        words = f"Of 100 images without melanoma, the model refers {_say_of(100, alarms)}. There is no melanoma here."
    elif spared.value is None:
        words = f"Of 100 melanomas the model refers {_say_of(100, found)}. All of these images are melanomas."
    else:
        words = (
            f"Of 100 melanomas the model refers {_say_of(100, found)}."
            f" Of 100 images that show no melanoma it refers {_say_of(100, alarms)} as well."
        )
    if report.coverage < 1:
        refused = format_percent(1 - report.coverage)
        words += f" It could not assess {refused} of the images; these count as referred."
    auroc = report.figures["auroc"]
    if auroc.value is not None:
        words += (
            " Shown a melanoma and another image, it gives the melanoma the higher probability in"
            f" {_say_of(100, auroc)} of 100 such pairs; guessing would in 50."
        )
    return words


def describe_practice(report: EvaluationReport) -> str:
    """What that means among PATIENTS people of whom a share PRACTICE has melanoma; '' where it is not known."""
    practice = count_patients(report)
    if practice is None:
        return ""
    found, spared = report.figures["sensitivity"], report.figures["specificity"]
    missed = _say_of(practice.melanomas, found.complement, practice.missed)
    words = (
        f"Suppose {round(100 * PRACTICE)} of 100 patients whose mole is photographed have melanoma. Then of"
        f" {PATIENTS:,} patients {practice.melanomas} have it: the model refers about {practice.found} of them and"
        f" misses {missed}. Of the {practice.others} others it refers"
        f" {_say_of(practice.others, spared.complement)} too."
    )
    if practice.referred:
        words += (
            f" So of about {practice.referred} people it refers, {_say_number(practice.found)} have melanoma."
        )
    return f"{words} That holds where melanomas and other moles look as they do in these images."


def describe_worth(report: EvaluationReport, origin: Origin | None, looks: LookCount | None) -> str:
    """Whether the images are from where the model was trained, and how often test images were looked at."""
    words = list(_say_origin(report, origin)) if origin is not None else []
    if looks is not None and looks.total > 1:
        words.append(
            f"Test images were looked at {looks.total:,} times so far; whoever looks often and keeps the best gets"
            " figures that are a little too good."
        )
    return " ".join(words)


def describe_use(curve: DecisionCurve) -> str:
    """Where a decision curve says that the model does more good than referring everybody or nobody."""
    lead = f"Where {format_percent(curve.prevalence)} have melanoma"
    ranges = [run for run in _find_runs(curve) if len(run) >= _SHORTEST]
    n_useful, n = sum(map(len, ranges)), len(curve.points)
    if not ranges:
        return f"{lead}, it is nowhere clear that the model does more good than both."
    if n_useful >= _MOST * n:
        every = "every" if n_useful == n else "nearly every"
        return f"{lead}, the model clearly does more good than both at {every} threshold shown."
    words = [f"from {format_percent(run[0])} to {format_percent(run[-1])}" for run in ranges]
    return f"{lead}, the model clearly does more good than both at thresholds {' and '.join(words)}."


def count_patients(report: EvaluationReport) -> Practice | None:
    """Whole numbers of patients, None without sensitivity, specificity or any assessed image."""
    found, spared = report.figures["sensitivity"].value, report.figures["specificity"].value
    if found is None or spared is None or report.coverage == 0:
        return None
    melanomas = round(PRACTICE * PATIENTS)
    others = PATIENTS - melanomas
    return Practice(melanomas, others, round(found * melanomas), round((1 - spared) * others))


def _say_of(total: int, share: Estimate, count: int = 0) -> str:
    """So many of a total, with the interval: "about 95 (93 to 97)"; `count` where it was rounded already."""
    value = share.value or 0.0
    words = _say_number(count or value * total) if value < 1 or share.low is None else f"all {total}"
    if share.low is None or share.high is None:
        return f"{words} ({share.note})"
    low, high = round(share.low * total), round(share.high * total)
    return words if low == high else f"{words} ({low:,} to {high:,})"


def _say_number(count: float) -> str:
    if count == 0:
        return "none"
    return "fewer than 1" if count < 0.5 else f"about {round(count):,}"


def _say_origin(report: EvaluationReport, origin: Origin) -> Iterator[str]:
    here = ", ".join(report.sources)
    if origin.trained_on is None or not report.sources:
        yield f"What the model was trained on is not known here{_SEEN}"
        return
    shared = [name for name in report.sources if name in origin.trained_on]
    if not shared:
        yield (
            f"By their names ({here}), these images come from elsewhere than the training images"
            f" ({', '.join(origin.trained_on)}). Copies of training images may still be among them; an audit tells."
        )
        return
    some = "These images come" if len(shared) == len(report.sources) else "Some of these images come"
    yield f"{some} from where the training images come from ({', '.join(shared)}): elsewhere expect worse."
    yield from _say_kept_apart(report.n, origin.n_test)


def _say_kept_apart(n: int, n_test: int) -> Iterator[str]:
    if n_test == 0:
        yield f"Nothing says that they were kept apart from training{_SEEN}"
    elif n_test == n:
        yield "They are given as test images."
    else:
        yield f"Only {n_test:,} of the {n:,} are known to be test images{_SEEN}"


def _find_runs(curve: DecisionCurve) -> list[list[float]]:
    """Thresholds at which the model is of use, neighbours together."""
    useful, runs = set(curve.useful), [list[float]()]
    for point in curve.points:
        if point.threshold in useful:
            runs[-1].append(point.threshold)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]

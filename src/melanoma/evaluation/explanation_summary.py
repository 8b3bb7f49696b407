"""What the check of heat maps comes to, question by question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from melanoma.data.manifest import UNLABELLED
from melanoma.evaluation.explanation_figures import CLASSES, Part
from melanoma.evaluation.explanations import Explanations
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.weight_check import WeightCheck

ALIKE: Final = 0.5  # rank correlation from which on maps count as alike

_FEW: Final = "Too few images to say."
_NO_LESION: Final = "In no image with heat a lesion was found."
_NO_HEAT: Final = "No image has any heat."

Answer = Literal["yes", "no", "cannot say"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One question about the heat maps, its answer, and the figures behind it in words."""

    question: str
    answer: Answer
    sentence: str


def list_findings(report: Explanations) -> list[Finding]:
    """The questions that can be asked of these images, in the order of the page."""
    return list(_find(report))


def _find(report: Explanations) -> Iterator[Finding]:
    everything = report.parts[0]
    figures, cold = everything.figures, report.n_without_heat == everything.n
    classes = [part for part in report.parts if part.by == "class" and part.name != CLASSES[UNLABELLED]]
    for part in classes or [everything]:
        on_lesion = part.figures["heat_on_lesion"]
        if on_lesion.value is not None:
            yield from _ask_lesion(part)
        else:
            why = _NO_HEAT if cold else _FEW if part.n_localised else _NO_LESION
            yield Finding(f"Does the heat lie on the lesion{_name(part)}?", "cannot say", why)
    if figures["heat_outside_field"].value is not None:
        yield _ask_frame(everything, classes)
    if report.weights is not None:
        yield _ask_weights(report.weights)
    if figures["change_hottest"].value is None:
        why = _NO_HEAT if cold else _FEW
        yield Finding("Does hiding the hottest tenth of the image matter?", "cannot say", why)
    else:
        yield _ask_change(figures)
        yield from (
            _ask_fall(part)
            for part in classes or [everything]
            if part.figures["fall_hottest"].value is not None
        )


def _ask_lesion(part: Part) -> Iterator[Finding]:
    """Of one class at a time: melanomas are larger, and larger lesions hold more of any heat."""
    figures, which = part.figures, _name(part)
    yield Finding(
        f"Does more of the heat lie on the lesion than of a blob in the middle of the image{which}?",
        _is_beyond(figures["heat_minus_blob"], 0),
        _say_share(part),
    )
    yield Finding(
        f"Is the hottest place on the lesion more often than by chance{which}?",
        _is_beyond(figures["points_minus_cells"], 0),
        f"It is in {_percent(figures['points_at_lesion'], ends=True)} of the images; a place drawn by lot would be in"
        f" {_percent(figures['lesion_cells'])}.",
    )


def _say_share(part: Part) -> str:
    figures = part.figures
    other = figures["other_heat_on_lesion"]
    borrowed = f", and of another image's heat {_percent(other)}" if other.value is not None else ""
    return (
        f"{_percent(figures['heat_on_lesion'], ends=True)} of the heat lies on the lesion, which takes"
        f" {_percent(figures['lesion_area'])} of the image: {_times(figures['lift'])} what chance gives. Of a blob in"
        f" the middle, which looks at nothing, {_percent(figures['blob_on_lesion'])} would lie there{borrowed}."
    )


def _ask_frame(part: Part, classes: Sequence[Part]) -> Finding:
    figures = part.figures
    counts = " and ".join(f"{one.n_framed:,} {one.name}" for one in classes)
    return Finding(
        "Is less heat on the edge of dark frames and corners than chance would put there?",
        _is_beyond(figures["lift_frame_edge"], 1, below=True),
        f"In the {part.n_framed:,} images that have such{f' ({counts})' * bool(counts)}, their edge has"
        f" {_percent(figures['heat_on_frame_edge'], ends=True)} of the heat and takes {_percent(figures['frame_edge'])}"
        f" of the image: {_times(figures['lift_frame_edge'])} what chance gives. Of the whole heat,"
        f" {_percent(figures['heat_outside_field'])} lies outside the field of view, which takes"
        f" {_percent(figures['outside_field'])}.",
    )


def _ask_weights(check: WeightCheck) -> Finding:
    last, unrelated = check.steps[-1].likeness, check.unrelated
    question = "Does the heat change when the network's weights are made random?"
    if last.spearman.value is None:
        return Finding(question, "yes", "With all weights random no heat is left at all.")
    answer: Answer = "cannot say"
    if last.spearman.high is not None and last.spearman.high < ALIKE:
        answer = "yes"
    elif last.spearman.low is not None and last.spearman.low >= ALIKE:
        answer = "no"
    return Finding(
        question,
        answer,
        f"With all weights random, heat maps have a rank correlation of {_number(last.spearman, ends=True)} with those"
        f" of the network as it is (1: the same){_say_unrelated(unrelated.spearman)}.",
    )


def _say_unrelated(spearman: Estimate) -> str:
    return f"; maps of two unrelated images have {_number(spearman)}" if spearman.value is not None else ""


def _ask_change(figures: dict[str, Estimate]) -> Finding:
    return Finding(
        "Does hiding the hottest tenth of the image matter more than hiding as much elsewhere?",
        _is_beyond(figures["change_difference"], 0),
        f"It moves the probability by {_number(figures['change_hottest'], ends=True)}, the same shape elsewhere by"
        f" {_number(figures['change_elsewhere'])}.",
    )


def _ask_fall(part: Part) -> Finding:
    figures = part.figures
    fall, other = figures["fall_hottest"].value or 0.0, figures["fall_elsewhere"].value or 0.0
    return Finding(
        "Does the probability of melanoma then fall more, as the heat is said to show where melanoma was seen"
        f"{_name(part)}?",
        _is_beyond(figures["fall_difference"], 0) if fall > 0 else "no",
        f"It {_move(fall)} when the hottest tenth is hidden, and {_move(other)} with the same shape elsewhere.",
    )


def _name(part: Part) -> str:
    return f" ({part.name})" if part.by == "class" else ""


def _move(fall: float) -> str:
    return f"falls by {fall:.3f}" if fall >= 0 else f"rises by {-fall:.3f}"


def _is_beyond(figure: Estimate, limit: float, *, below: bool = False) -> Answer:
    """Whether the figure's whole interval lies above the limit (`below`: below it), on the other side, or neither."""
    if figure.low is None or figure.high is None or figure.low <= limit <= figure.high:
        return "cannot say"
    return "yes" if (figure.high < limit) == below else "no"


def _percent(figure: Estimate, ends: bool = False) -> str:
    if figure.value is None:
        return figure.note
    text = f"{100 * figure.value:.0f} %"
    if ends and figure.low is not None and figure.high is not None:
        text += f" ({100 * figure.low:.0f}–{100 * figure.high:.0f})"
    return text


def _number(figure: Estimate, ends: bool = False) -> str:
    if figure.value is None:
        return figure.note
    text = _sign(figure.value)
    if ends and figure.low is not None and figure.high is not None:
        text += f" ({_sign(figure.low)} to {_sign(figure.high)})"
    return text


def _sign(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _times(figure: Estimate) -> str:
    if figure.value is None:
        return figure.note
    text = f"{figure.value:.1f}"
    if figure.low is not None and figure.high is not None:
        text += f" ({figure.low:.1f}–{figure.high:.1f})"
    return f"{text} times"

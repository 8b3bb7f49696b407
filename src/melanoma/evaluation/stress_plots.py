"""Plots of stress tests: a dot and an interval for every change, and for its control."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from melanoma.evaluation.effects import Effect
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.pairs import LESION_ALONE, LESION_HIDDEN, TITLES
from melanoma.evaluation.plots import BLUE, GREY, ORANGE, dress
from melanoma.evaluation.stress_words import PLURAL

_ROW = 0.27  # inches
_APART = 0.17  # rows, between the two dots of a row


@dataclass(frozen=True, slots=True)
class _Panel:
    """One class and one of `effects.FIGURES`, side by side with others over the same rows."""

    of: str
    figure: str
    label: str
    share: bool = False


def plot_movements(effects: Sequence[Effect]) -> Figure:
    """Mean |change of y_prob| of every change and class, beside that of noise of the same energy."""
    panels = [
        _Panel(name, "abs_delta", f"Mean |change of y_prob|, {PLURAL[name]}")
        for name in _list_classes(effects)
    ]
    return _plot(effects, panels)


def plot_flips(effects: Sequence[Effect]) -> Figure:
    """Melanomas lost and false alarms gained, as shares of their class; of unlabelled images both flips."""
    kinds = {
        "melanoma": [("to_no_sign", "Melanomas lost")],
        "other": [("to_refer", "False alarms gained")],
        "unlabelled": [("to_no_sign", "No longer referred"), ("to_refer", "Newly referred")],
    }
    panels = [
        _Panel(name, figure, label, share=True)
        for name in _list_classes(effects)
        for figure, label in kinds[name]
    ]
    return _plot(effects, panels)


def plot_lesion(hidden: Effect, alone: Effect) -> Figure:
    """AUROC with the lesion, without as much skin, without the lesion, and with nothing else."""
    rows = [
        ("As photographed", hidden.auroc.before, GREY),
        ("As much skin hidden, where there is room", hidden.auroc.control, GREY),
        (TITLES[LESION_ALONE][0], alone.auroc.after, BLUE),
        (TITLES[LESION_HIDDEN][0], hidden.auroc.after, ORANGE),
    ]
    figure = Figure(figsize=(7.6, 2.1), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    dress(axes, "AUROC (0.5: nothing is known)", "")
    axes.axvline(0.5, color=GREY, linewidth=0.9, linestyle="--")
    for place, (_, estimate, color) in enumerate(rows):
        if estimate is not None:
            _draw(axes, estimate, place, color, "o")
    _name_rows(axes, [name for name, _, _ in rows])
    axes.set_xlim(min(0.45, axes.get_xlim()[0]), 1.005)
    return figure


def _list_classes(effects: Sequence[Effect]) -> list[str]:
    return [name for name in PLURAL if any(name in effect.classes for effect in effects)]


def _plot(effects: Sequence[Effect], panels: Sequence[_Panel]) -> Figure:
    figure = Figure(figsize=(7.6, 0.9 + _ROW * len(effects)), layout="constrained", facecolor="white")
    first = None
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1, sharex=first)
        first = first or axes
        dress(axes, panel.label, "")
        for place, effect in enumerate(effects):
            if panel.of in effect.classes:
                contrast = effect.classes[panel.of].figures[panel.figure]
                if contrast.control is not None:
                    _draw(axes, contrast.control, place + _APART, GREY, "D")
                _draw(axes, contrast.changed, place - _APART, ORANGE, "o")
        _name_rows(axes, [TITLES[effect.change][0] if number == 0 else "" for effect in effects])
        if panel.share:
            axes.xaxis.set_major_formatter("{x:.0%}")
    figure.axes[0].set_xlim(0, max(figure.axes[0].get_xlim()[1], 0.02))
    _explain(figure)
    return figure


def _draw(axes: Axes, estimate: Estimate, place: float, color: str, marker: str) -> None:
    if estimate.value is None:
        return
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [place, place], color=color, linewidth=1.6)
    size = 5.5 if marker == "o" else 3.8
    axes.plot([estimate.value], [place], marker, color=color, markersize=size, clip_on=False)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _explain(figure: Figure) -> None:
    axes = figure.axes[0]
    handles = [
        *axes.plot([], [], "o-", color=ORANGE, markersize=5.5, label="the change"),
        *axes.plot([], [], "D-", color=GREY, markersize=3.8, label="noise of the same energy"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8.5, frameon=False)

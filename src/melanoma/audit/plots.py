"""Plots of an audit, as figures that belong to nobody's global state."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from melanoma.audit.confounding import Confounding
from melanoma.evaluation.plots import BLUE, GREEN, GREY, ORANGE, PINK, SKY
from melanoma.evaluation.thumbnails import shorten

MAX_SCOPES = 6
_INK = "#1F2328"
_SERIES = ((_INK, "D"), (BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PINK, "v"), (SKY, "P"))
_BAND = 0.76  # of the distance between two cues, that the dots of one cue take


def plot_confounding(findings: Sequence[Confounding], scopes: Sequence[tuple[str | None, str]]) -> Figure:
    """AUROC of each cue with its 95 % interval: a row a cue, a colour a scope.

    `findings` are of one target; `scopes` at most MAX_SCOPES pairs of scope and what it is called. A finding
    without a figure leaves its place empty.
    """
    cues = list(dict.fromkeys(finding.cue for finding in findings))
    height = 1.25 + len(cues) * (0.2 + 0.14 * len(scopes))
    figure = Figure(figsize=(5.2, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.axvline(0.5, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    found = {(finding.cue, finding.scope): finding for finding in findings}
    for index, (scope, _) in enumerate(scopes):
        offset = _BAND * ((index + 0.5) / len(scopes) - 0.5)
        places = [row + offset for row in range(len(cues))]
        _plot_scope(axes, [found.get((cue, scope)) for cue in cues], places, index)
    _dress(axes, cues)
    legend = figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    for text, (_, name) in zip(legend.get_texts(), scopes, strict=True):
        text.set_parse_math(False)  # a dollar sign would start a formula
        text.set_text(shorten(name))  # a label that begins with _ would be left out
    return figure


def _plot_scope(
    axes: Axes, findings: Sequence[Confounding | None], places: Sequence[float], index: int
) -> None:
    color, marker = _SERIES[index]
    shown = [(f.estimate, y) for f, y in zip(findings, places, strict=True) if f is not None]
    for estimate, y in shown:
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [y, y], color=color, linewidth=1.6)
    dots = [(estimate.value, y) for estimate, y in shown if estimate.value is not None]
    x, y_all = ([dot[i] for dot in dots] for i in (0, 1))
    look: dict[str, Any] = {"markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.6}
    axes.plot(x, y_all, marker, color=color, label=str(index), **look)


def _dress(axes: Axes, cues: Sequence[str]) -> None:
    axes.set_xlabel("AUROC (0.5: tells nothing, 1: tells all)", fontsize=9.5, color=_INK)
    axes.set_yticks(range(len(cues)), [shorten(cue) for cue in cues])
    axes.set_ylim(len(cues) - 0.5, -0.5)
    axes.set_xlim(min(0.4, axes.get_xlim()[0]), 1.01)
    axes.tick_params(labelsize=9, colors=_INK, length=3)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x", color="#E4E6EA", linewidth=0.7)
    for row in range(1, len(cues)):
        axes.axhline(row - 0.5, color="#E4E6EA", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#9AA0A6")

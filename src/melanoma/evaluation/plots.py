"""Plots of evaluations and of training, as figures that belong to nobody's global state.

Colours are those of Okabe & Ito 2008, told apart by every kind of colour vision; line styles differ too.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from melanoma.evaluation.curves import HISTOGRAM_BINS
from melanoma.evaluation.evaluate import EvaluationReport

BLUE, ORANGE, GREEN, PINK, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#6B6B6B"
_INK = "#1F2328"
_SERIES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PINK, ":"), (SKY, "-"), (_INK, "--"))
_SIZE = (4.2, 3.6)


def plot_roc(reports: Sequence[EvaluationReport]) -> Figure:
    """ROC curves of the assessed images; a dot marks the decisions on all images."""
    figure, axes = _frame("False alarms (1 - specificity)", "Sensitivity")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
    for index, report in enumerate(reports):
        color, style = _SERIES[index % len(_SERIES)]
        if report.curves.roc:
            x, y = np.array(report.curves.roc).T
            label = f"{_escape(report.name)}, AUROC {report.figures['auroc'].value:.3f}"
            axes.plot(x, y, color=color, linestyle=style, linewidth=1.8, label=label)
        sensitivity, specificity = (report.figures[name].value for name in ("sensitivity", "specificity"))
        if sensitivity is not None and specificity is not None:
            axes.plot(1 - specificity, sensitivity, "o", color=color, markeredgecolor="white", markersize=8)
    axes.plot([], [], "o", color=GREY, markersize=6, label="operating point")
    if not any(report.curves.roc for report in reports):
        axes.text(0.5, 0.62, "no curve: one class only", ha="center", color=GREY)
    _square(axes)
    _add_legend(axes, "lower right")
    return figure


def plot_reliability(reports: Sequence[EvaluationReport]) -> Figure:
    """Observed share of melanoma against mean probability in 15 bins; a larger dot stands for more images."""
    figure, axes = _frame("Mean probability given", "Share that is melanoma")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), label="perfect")
    for index, report in enumerate(reports):
        color, style = _SERIES[index % len(_SERIES)]
        bins = report.curves.reliability
        if bins:
            x, y, count = np.array([(b.y_prob, b.observed, b.count) for b in bins]).T
            axes.plot(x, y, color=color, linestyle=style, linewidth=1.2, label=_escape(report.name))
            axes.scatter(x, y, s=8 + 60 * count / count.max(), color=color, alpha=0.8, linewidths=0)
    _square(axes)
    _add_legend(axes, "upper left")
    return figure


def plot_confusion(report: EvaluationReport) -> Figure:
    """Counts of all images by truth and decision, shaded by the share of their row."""
    figure, axes = _frame("", "")
    c = report.confusion
    counts = np.array([[c.tp, c.fn], [c.fp, c.tn]])
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    for row, column in np.ndindex(2, 2):
        ink = "white" if share[row, column] > 0.6 else _INK
        text = f"{counts[row, column]:,}\n{share[row, column]:.1%}"
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=12)
    axes.set_xticks([0, 1], ["referred", "not referred"])
    axes.set_yticks([0, 1], ["melanoma", "other"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(_escape(report.name), fontsize=10, color=_INK)
    axes.grid(visible=False)
    return figure


def plot_probabilities(report: EvaluationReport) -> Figure:
    """Histogram of `y_prob` by class, each as a share of its class, with the threshold."""
    figure, axes = _frame("Probability of melanoma", "Share of the class")
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    classes = (
        ("other", report.curves.histogram_other, BLUE),
        ("melanoma", report.curves.histogram_melanoma, ORANGE),
    )
    for label, counts, color in classes:
        share = np.array(counts) / max(sum(counts), 1)
        axes.stairs(share, edges, fill=True, color=color, alpha=0.25)
        axes.stairs(share, edges, color=color, linewidth=1.6, label=f"{label} ({sum(counts):,})")
    if report.operating_point is not None:
        threshold = report.operating_point.threshold
        axes.axvline(threshold, color=_INK, linewidth=1, linestyle="--", label=f"threshold {threshold:.3g}")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_title(_escape(report.name), fontsize=10, color=_INK)
    _add_legend(axes, "best")
    return figure


def plot_history(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss and accuracy by epoch, training and validation; one mapping an epoch, a curve a known key."""
    figure = Figure(figsize=(7.6, 3.2), layout="constrained", facecolor="white")
    for position, name in enumerate(("loss", "accuracy")):
        axes = figure.add_subplot(1, 2, position + 1)
        dress(axes, "Epoch", name.capitalize())
        _plot_epochs(axes, history, name, {"label": "training", "color": BLUE, "linestyle": "-"})
        dashed = {"label": "validation", "color": ORANGE, "linestyle": "--"}
        _plot_epochs(axes, history, f"val_{name}", dashed)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        _add_legend(axes, "best")
    return figure


def to_png(figure: Figure, dpi: int = 144) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    _write(figure, buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """The figure as SVG, letters as outlines; the same figure gives the same text."""
    buffer = io.StringIO()
    # The only way to fixed element ids, and undone at once: without it every report differs in every byte.
    with mpl.rc_context({"svg.hashsalt": "melanoma", "svg.fonttype": "path"}):
        _write(figure, buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _write(figure: Figure, buffer: IO[Any], **options: Any) -> None:
    with warnings.catch_warnings():
        # A name in letters that the font lacks shows boxes in the plot; the page's tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, **options)


def _frame(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    dress(axes, x_label, y_label)
    return figure, axes


def dress(axes: Axes, x_label: str, y_label: str) -> None:
    """Labels, grid and ink that all plots share."""
    axes.set_xlabel(x_label, fontsize=9.5, color=_INK)
    axes.set_ylabel(y_label, fontsize=9.5, color=_INK)
    axes.tick_params(labelsize=8.5, colors=_INK, length=3)
    axes.grid(visible=True, color="#E4E6EA", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9AA0A6")


def _plot_epochs(
    axes: Axes, history: Sequence[Mapping[str, float]], key: str, look: Mapping[str, Any]
) -> None:
    """One curve over the epochs that have the key; a dot where a line would be too short to be seen."""
    points = [(epoch, row[key]) for epoch, row in enumerate(history, start=1) if key in row]
    if points:
        x, y = np.array(points, dtype=np.float64).T
        axes.plot(x, y, linewidth=1.8, marker="o" if len(points) < 3 else "", **look)


def _square(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))


def _add_legend(axes: Axes, place: Literal["best", "lower right", "upper left"]) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc=place, fontsize=8, frameon=True, framealpha=0.85, edgecolor="none", handlelength=2.2)


def _escape(name: str) -> str:
    """A name as plain text: a dollar sign would start a formula, control characters have no letter."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    shown = shown if len(shown) <= 24 else f"{shown[:23]}…"
    return shown.replace("$", r"\$")

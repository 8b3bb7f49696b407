"""Plots of what a model is worth in a practice: net benefit, and a thousand patients."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from melanoma.evaluation.pages import format_percent
from melanoma.evaluation.plain_words import PATIENTS, Practice
from melanoma.evaluation.plots import BLUE, GREEN, GREY, ORANGE, dress
from melanoma.evaluation.utility import DecisionCurve

_ROWS: Final = 25
_LIGHT: Final = "#D5D9DE"


def plot_decision_curve(curve: DecisionCurve) -> Figure:
    """Net benefit of the model with its band, of referring everybody and of referring nobody."""
    figure = Figure(figsize=(4.2, 3.6), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    dress(axes, "Threshold probability", f"Net benefit, melanomas found per {PATIENTS:,}")
    at = [point.threshold for point in curve.points]
    everybody = PATIENTS * np.array([point.refer_all for point in curve.points])
    axes.plot(at, everybody, color=ORANGE, linestyle="--", linewidth=1.6, label="refer everybody")
    axes.axhline(0, color=GREY, linestyle=":", linewidth=1.6, label="refer nobody")
    _plot_band(axes, at, curve)
    top = PATIENTS * curve.prevalence
    axes.set(xlim=(0, max(at)), ylim=(-0.25 * top, 1.05 * top))
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    axes.set_title(f"{format_percent(curve.prevalence)} have melanoma", fontsize=10)
    axes.legend(loc="best", fontsize=8, framealpha=0.85, edgecolor="none", handlelength=2.2)
    return figure


def plot_patients(practice: Practice) -> Figure:
    """A dot a patient: found, missed, referred in vain, spared."""
    figure = Figure(figsize=(5.2, 4.0), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    parts = (
        ("melanoma, referred", practice.found, ORANGE, "o"),
        ("melanoma, missed", practice.missed, "#000000", "X"),
        ("no melanoma, referred", practice.false_alarms, BLUE, "o"),
        ("no melanoma, not referred", practice.others - practice.false_alarms, _LIGHT, "o"),
    )
    first = 0
    for name, count, color, marker in parts:
        x, y = np.divmod(np.arange(first, first + count), _ROWS)
        label = f"{name}: {count:,}"
        axes.scatter(
            x, -y, s=22 if marker == "o" else 30, color=color, marker=marker, linewidths=0, label=label
        )
        first += count
    axes.set_axis_off()
    axes.set_aspect("equal")
    figure.legend(
        loc="outside lower center", ncols=2, fontsize=9.5, columnspacing=1.2, frameon=False, handletextpad=0.2
    )
    return figure


def _plot_band(axes: Axes, at: Sequence[float], curve: DecisionCurve) -> None:
    bounds = [(point.model.value, point.model.low, point.model.high) for point in curve.points]
    value, low, high = PATIENTS * np.array(bounds, dtype=np.float64).T
    axes.fill_between(at, low, high, color=GREEN, alpha=0.22, linewidth=0, label="95 % interval")
    axes.plot(at, value, color=GREEN, linewidth=1.9, label="refer as the model says")

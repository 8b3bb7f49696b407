"""Plots of the check of heat maps, as figures that belong to nobody's global state."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from melanoma.evaluation.explanation_figures import Part
from melanoma.evaluation.explanations import MeanMap
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.plots import BLUE, GREEN, GREY, ORANGE, PINK
from melanoma.evaluation.thumbnails import shorten
from melanoma.evaluation.weight_check import WeightCheck

_INK: Final = "#1F2328"
_SHARES: Final = (
    ("heat_on_lesion", "the heat", ORANGE, "o"),
    ("lesion_area", "chance: the lesion's share of the image", GREY, "D"),
    ("blob_on_lesion", "a blob in the middle", BLUE, "s"),
    ("other_heat_on_lesion", "the heat of another image", GREEN, "^"),
)
_MEASURES: Final = (
    ("spearman", "rank correlation", ORANGE, "o"),
    ("spearman_size", "its size, whatever its sign", PINK, "s"),
    ("ssim", "structural similarity", BLUE, "^"),
)


def plot_shares(parts: Sequence[Part]) -> Figure:
    """What share lies on the lesion, of the heat and of what it is held against: a row a part of the images."""
    figure = Figure(figsize=(5.4, 1.5 + 0.62 * len(parts)), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    for index, (key, label, color, marker) in enumerate(_SHARES):
        offset = 0.7 * ((index + 0.5) / len(_SHARES) - 0.5)
        estimates = [part.figures[key] for part in parts]
        places = [row + offset for row in range(len(parts))]
        _plot_dots(axes, estimates, places, color=color, marker=marker, label=label)
    axes.set_yticks(range(len(parts)), [_name_part(part) for part in parts])
    axes.set_ylim(len(parts) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("Share that lies on the lesion", fontsize=9.5, color=_INK)
    _dress(axes, "x")
    for row in range(1, len(parts)):
        axes.axhline(row - 0.5, color="#E4E6EA", linewidth=0.7)
    _add_legend(figure)
    return figure


def plot_steps(check: WeightCheck) -> Figure:
    """How alike heat maps stay as more layers are made random; the band is that of two unrelated images."""
    figure = Figure(figsize=(5.4, 4.0), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    band = check.unrelated.spearman
    if band.value is not None and band.low is not None and band.high is not None:
        axes.axhspan(band.low, band.high, color=GREY, alpha=0.25, linewidth=0)
        label = "rank correlation of two unrelated images"
        axes.axhline(band.value, color=GREY, linewidth=1, linestyle="--", label=label)
    steps = range(len(check.steps) + 1)
    same = Estimate(1.0, None, None)
    for index, (key, label, color, marker) in enumerate(_MEASURES):
        estimates = [same, *(getattr(step.likeness, key) for step in check.steps)]
        places = [step + 0.12 * (index - 1) for step in steps]
        _plot_dots(axes, estimates, places, color=color, marker=marker, label=label, upright=True)
    names = ["none", *(step.name for step in check.steps)]
    axes.set_xticks(list(steps), names, rotation=25, ha="right", rotation_mode="anchor")
    axes.set_ylim(min(-0.3, axes.get_ylim()[0]), 1.05)
    axes.set_xlabel("Random layers: from the output down to ...", fontsize=9.5, color=_INK)
    axes.set_ylabel("Likeness to the network's own map", fontsize=9.5, color=_INK)
    _dress(axes, "y")
    _add_legend(figure)
    return figure


def plot_maps(maps: Sequence[MeanMap]) -> Figure:
    """The mean heat map of each class with the line within which most lesions lie."""
    figure = Figure(figsize=(2.9 * len(maps) + 0.9, 3.1), layout="constrained", facecolor="white")
    top = max(float(np.max(mean.heat)) * np.size(mean.heat) for mean in maps)
    panels = figure.subplots(1, len(maps), squeeze=False)[0]
    for axes, mean in zip(panels, maps, strict=True):
        heat, lesion = np.array(mean.heat), np.array(mean.lesion)
        # By the square root: one hot corner must not leave all the rest black.
        drawn = axes.imshow(heat * heat.size, cmap="inferno", norm=PowerNorm(0.5, vmin=0, vmax=top))
        if min(lesion.shape) > 1 and lesion.min() < 0.5 < lesion.max():
            axes.contour(lesion, levels=[0.5], colors="#00FFFF", linewidths=1.4)
        axes.set_title(f"{mean.name} ({mean.n:,})", fontsize=10, color=_INK)
        axes.set_xticks([])
        axes.set_yticks([])
    bar = figure.colorbar(drawn, ax=list(panels), shrink=0.85)
    bar.ax.tick_params(labelsize=8.5)
    bar.set_label("heat, times an even spread", fontsize=8.5, color=_INK)
    return figure


def _plot_dots(
    axes: Axes, estimates: Sequence[Estimate], places: Sequence[float], *, upright: bool = False, **look: Any
) -> None:
    """Dots with their intervals, along the horizontal axis unless `upright`."""
    shown = [(one, place) for one, place in zip(estimates, places, strict=True) if one.value is not None]
    for one, place in shown:
        if one.low is not None and one.high is not None:
            ends, beside = [one.low, one.high], [place, place]
            axes.plot(*((beside, ends) if upright else (ends, beside)), color=look["color"], linewidth=1.5)
    values, beside = [one.value for one, _ in shown], [place for _, place in shown]
    axes.plot(
        *((beside, values) if upright else (values, beside)),
        linestyle="",
        markersize=5.5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        **look,
    )


def _name_part(part: Part) -> str:
    name = shorten(part.name).replace("$", r"\$")
    return f"{name} ({part.n_localised:,})"


def _dress(axes: Axes, along: str) -> None:
    axes.tick_params(labelsize=8.5, colors=_INK, length=3)
    axes.grid(visible=True, axis=along, color="#E4E6EA", linewidth=0.7)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9AA0A6")


def _add_legend(figure: Figure) -> None:
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)

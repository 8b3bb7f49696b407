"""Parallel coordinates of a search: a line a trial, an axis a value."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

SCALES = ("linear", "log", "names")


def plot_search(table: pd.DataFrame, scales: Mapping[str, str]) -> Figure:
    """Trials of `table` over the columns of `scales` (each one of SCALES) and their `auroc`; the best on top and bold.

    `sources` in the table: how many each trial saw; lines of those that were stopped before the end are dashed.
    """
    names = [*scales, "auroc"]
    places = {name: _place(table[name], scales.get(name, "linear")) for name in names}
    figure = Figure(figsize=(max(5.0, 1.9 * len(names)), 4.2), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    colours = mpl.colormaps["viridis"]
    quality = np.nan_to_num(places["auroc"])
    whole = (table["sources"] == table["sources"].max()).to_numpy()
    order = np.lexsort([quality, whole])
    lines = np.stack(
        [np.column_stack([np.arange(len(names)), [places[name][row] for name in names]]) for row in order]
    )
    best = order[-1]
    axes.add_collection(
        LineCollection(
            list(np.nan_to_num(lines)),
            colors=[colours(0.9 * quality[row]) for row in order],
            linewidths=[2.6 if row == best else 1.2 for row in order],
            linestyles=["-" if whole[row] else "--" for row in order],
        )
    )
    for position, name in enumerate(names):
        _draw_axis(axes, position, table[name], scales.get(name, "linear"))
    axes.set_xlim(-0.35, len(names) - 0.4)
    axes.set_ylim(-0.14, 1.06)
    axes.axis("off")
    return figure


def _place(values: "pd.Series[float]", scale: str) -> NDArray[np.float64]:
    """Where values lie between the bottom, 0, and the top of their axis."""
    if scale == "names":
        numbers = pd.Categorical(values.astype(str), categories=_list_names(values)).codes.astype(float)
    else:
        numbers = np.log(values.to_numpy(float)) if scale == "log" else values.to_numpy(float)
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    return (numbers - low) / (high - low) if high > low else np.full(len(numbers), 0.5)


def _list_names(values: "pd.Series[float]") -> list[str]:
    """Numbers in their order, else words in theirs."""
    numbers = pd.to_numeric(values, errors="coerce")
    ordered = values if numbers.isna().any() else values.iloc[numbers.argsort()]
    return list(dict.fromkeys(sorted(ordered.astype(str)) if numbers.isna().any() else ordered.astype(str)))


def _draw_axis(axes: "mpl.axes.Axes", position: int, values: "pd.Series[float]", scale: str) -> None:
    axes.plot([position, position], [0, 1], color="#444", linewidth=1, zorder=3)
    axes.text(position, -0.1, str(values.name), ha="center", va="center", fontsize=9)
    if scale == "names":
        names = _list_names(values)
        marks = [
            (number / max(len(names) - 1, 1) if len(names) > 1 else 0.5, name)
            for number, name in enumerate(names)
        ]
    else:
        low, high = values.min(), values.max()
        marks = [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")] if high > low else [(0.5, f"{low:.3g}")]
    for height, text in marks:
        axes.text(position + 0.04, height, text, ha="left", va="center", fontsize=8, color="#222", zorder=4)

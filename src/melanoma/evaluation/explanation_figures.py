"""Figures of heat maps with intervals, for all images and for parts of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from melanoma.data.manifest import UNLABELLED
from melanoma.evaluation.heat import MEASURED
from melanoma.evaluation.judged import number_groups
from melanoma.evaluation.metrics import Bools, Estimate, Floats, draw_weights, estimate
from melanoma.evaluation.subgroups import MIN_OF_CLASS, TOO_FEW
from melanoma.inference.decision import Decision

CLASSES: Final = {1: "melanoma", 0: "other", UNLABELLED: "unlabelled"}
DIFFERENCES: Final = {
    "heat_minus_blob": ("heat_on_lesion", "blob_on_lesion"),
    "heat_minus_other": ("heat_on_lesion", "other_heat_on_lesion"),
    "points_minus_cells": ("points_at_lesion", "lesion_cells"),
    "change_difference": ("change_hottest", "change_elsewhere"),
    "fall_difference": ("fall_hottest", "fall_elsewhere"),
}
RATIOS: Final = {
    "lift": ("heat_on_lesion", "lesion_area"),
    "lift_outside_field": ("heat_outside_field", "outside_field"),
    "lift_frame_edge": ("heat_on_frame_edge", "frame_edge"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the images: `by` all, class, decision or source.

    `n`: images that could be read, `n_localised` those with heat and a lesion, `n_framed` those with heat and a frame.
    `figures`: means of the columns `heat.MEASURED` over the images that have them, RATIOS of two means, and means
    of DIFFERENCES image by image.
    """

    by: str
    name: str
    n: int
    n_groups: int
    n_localised: int
    n_framed: int
    figures: dict[str, Estimate]


def describe_parts(rows: pd.DataFrame, *, resamples: int, seed: int) -> tuple[list[Part], list[str]]:
    """Figures of all images and of parts of them, and what is left out with the reason.

    `rows` of `heat.tabulate` that could be read, with `group`. A figure needs images of at least MIN_OF_CLASS groups.
    """
    parts = [_describe(by, name, rows[mask], resamples, seed) for by, name, mask in _divide(rows)]
    return parts, list(_explain_missing(rows))


def _divide(rows: pd.DataFrame) -> Iterator[tuple[str, str, Bools]]:
    y_true, source = rows["y_true"].to_numpy(), rows["source"].to_numpy(dtype=object)
    yield "all", "all images", np.ones(len(rows), dtype=np.bool_)
    labelled = y_true != UNLABELLED
    if labelled.any():
        for value, name in CLASSES.items():
            if (y_true == value).any():
                yield "class", name, y_true == value
        right = (rows["decision"] != Decision.NO_SIGN).to_numpy() == (y_true == 1)
        yield "decision", "right", labelled & right
        yield "decision", "wrong", labelled & ~right
    names = sorted(set(source))
    for name in names if len(names) > 1 else []:
        yield "source", name, source == name


def _explain_missing(rows: pd.DataFrame) -> Iterator[str]:
    found = set(rows["y_true"]) - {UNLABELLED}
    if not found:
        yield "No image has a label, so there are no figures by class or by whether the decision was right."
    elif len(found) == 1:
        yield f"All labelled images are of one class ({CLASSES[found.pop()]}), so nothing can be said of the other."
    if rows["heat_on_lesion"].isna().all():
        yield "In no image with heat a lesion was found, so nothing can be said of where the heat lies."
    if rows["outside_field"].isna().all():
        yield "No image with heat has a dark frame or corners, so nothing can be said of the heat on them."


def _describe(by: str, name: str, rows: pd.DataFrame, resamples: int, seed: int) -> Part:
    columns = {column: rows[column].to_numpy(dtype=np.float64) for column in MEASURED}
    columns |= {key: columns[first] - columns[second] for key, (first, second) in DIFFERENCES.items()}
    table = np.column_stack(list(columns.values()))
    group = number_groups(rows["group"])
    few = {key: _count_groups(group, values) < MIN_OF_CLASS for key, values in columns.items()}
    few |= {key: few[second] for key, (_, second) in RATIOS.items()}
    value, drawn = _average(table, np.ones((1, len(rows)))), [np.zeros((0, table.shape[1]))]
    if not all(few.values()):
        drawn += [_average(table, weights) for weights in draw_weights(group, resamples, seed)]
    points = _name_figures(list(columns), value)
    resampled = _name_figures(list(columns), np.concatenate(drawn))
    too_few = Estimate(None, None, None, TOO_FEW)
    return Part(
        by=by,
        name=name,
        n=len(rows),
        n_groups=len(np.unique(group)),
        n_localised=int(rows["heat_on_lesion"].notna().sum()),
        n_framed=int(rows["heat_outside_field"].notna().sum()),
        figures={
            key: too_few if few[key] else estimate(float(points[key][0]), resampled[key]) for key in points
        },
    )


def _count_groups(group: np.ndarray, values: Floats) -> int:
    return len(np.unique(group[np.isfinite(values)]))


def _average(table: Floats, weights: Floats) -> Floats:
    """Weighted means of the finite values of each column (n, k) under each weighting (r, n), as (r, k)."""
    present = np.isfinite(table)
    total = weights @ np.where(present, table, 0.0)
    count = weights @ present.astype(np.float64)
    means: Floats = np.full(total.shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _name_figures(names: list[str], means: Floats) -> dict[str, Floats]:
    """Each column of means (r, k) by its name, and the ratios of two of them."""
    figures = dict(zip(names, means.T, strict=True))
    for key, (first, second) in RATIOS.items():
        size = figures[second]
        figures[key] = np.divide(figures[first], size, out=np.full(len(size), np.nan), where=size > 0)
    return figures

"""The heat map of every image, and what it is held against."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.data.segmentation import segment
from melanoma.data.threads import map_jobs
from melanoma.errors import ImageError
from melanoma.evaluation.deletion import measure_hiding
from melanoma.evaluation.localisation import (
    draw_blob,
    find_edge,
    find_hits,
    measure_share,
    place_mask,
    points_at,
)
from melanoma.evaluation.metrics import Floats
from melanoma.inference import images
from melanoma.inference.decision import Decision
from melanoma.inference.predictor import Predictor
from melanoma.inference.preprocessing import find_box, prepare

FRAMED: Final = 0.01  # share outside the field of view, from which on an image has a frame

MEASURED: Final = (
    "heat_on_lesion",
    "lesion_area",
    "blob_on_lesion",
    "other_heat_on_lesion",
    "points_at_lesion",
    "lesion_cells",
    "heat_outside_field",
    "outside_field",
    "heat_on_frame_edge",
    "frame_edge",
    "change_hottest",
    "change_elsewhere",
    "fall_hottest",
    "fall_elsewhere",
)

Heat = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What one image gave.

    `heat` float32 (rows, columns); `lesion` and `outside` (rows, columns): the share of each cell that the lesion
    takes, None where none was found, and that lies outside the field of view. `hidden_hottest`, `hidden_elsewhere`:
    see `deletion.measure_hiding`, `y_prob` at the bundle's prevalence. `prepared` uint8 (size, size, 3) for those
    that were asked for.
    """

    y_prob: float
    decision: str
    heat: Heat
    lesion: Floats | None
    outside: Floats
    hidden_hottest: float
    hidden_elsewhere: list[float]
    prepared: NDArray[np.uint8] | None

    @property
    def is_warm(self) -> bool:
        """Whether there is any heat."""
        return bool(self.heat.max() > 0)


def look_at_all(
    predictor: Predictor,
    paths: Sequence[str],
    *,
    keep: Collection[int],
    seed: int,
    progress: Callable[[int, int], None],
) -> list[Look | ImageError]:
    """Each image's look, or why it cannot be read; `keep`: the numbers of those whose network input is kept."""

    def look(number: int) -> Look | ImageError:
        rng = np.random.default_rng((seed, number))
        try:
            return _look_at(predictor, paths[number], number in keep, rng)
        except ImageError as error:
            return error

    return map_jobs(look, range(len(paths)), progress)


def tabulate(
    table: pd.DataFrame, looks: Sequence[Look | ImageError], partner: NDArray[np.int64]
) -> pd.DataFrame:
    """One row an image: `source, path, image_id, y_true` of the table, `y_prob, decision`, MEASURED, and `error`.

    `partner` (n,): the image whose heat map is laid on this one's lesion, -1 for none. What does not exist is NaN:
    shares without heat or without a lesion, and what lies outside the field of view where hardly anything does.
    """
    measured: list[dict[str, float | str]] = []
    for look, other in zip(looks, partner, strict=True):
        if isinstance(look, ImageError):
            measured.append({"decision": str(Decision.CANNOT_ASSESS), "error": str(look)})
            continue
        borrowed = looks[other] if other >= 0 else None
        measured.append(_measure(look, borrowed.heat if isinstance(borrowed, Look) else None))
    known = table[["source", "path", "image_id", "y_true"]].reset_index(drop=True)
    said = pd.DataFrame(measured, columns=["y_prob", "decision", *MEASURED, "error"])
    return pd.concat([known, said.astype(dict.fromkeys(["y_prob", *MEASURED], "float64"))], axis=1)


def _look_at(predictor: Predictor, path: str, keep: bool, rng: np.random.Generator) -> Look:
    image = images.load(path)
    spec, box = predictor.bundle.preprocessing, predictor.heat_box
    seen = find_box(image, spec)
    prediction, output = predictor.predict(image), predictor.run(image)
    heat = output.heatmap[0]
    parts = segment(image)
    hottest, elsewhere = measure_hiding(predictor, image, heat, rng)
    return Look(
        y_prob=float(predictor.bundle.calibration.transform(output.logit)[0]),
        decision=str(prediction.decision),
        heat=heat,
        lesion=place_mask(parts.lesion, heat.shape, seen, box) if parts.lesion.any() else None,
        outside=place_mask(~parts.field, heat.shape, seen, box),
        hidden_hottest=hottest,
        hidden_elsewhere=elsewhere,
        prepared=prepare(image, spec) if keep else None,
    )


def _measure(look: Look, other: Heat | None) -> dict[str, float | str]:
    """The row of one image."""
    row: dict[str, float | str] = {"y_prob": look.y_prob, "decision": look.decision, "error": ""}
    if not look.is_warm:
        return row
    if look.lesion is not None:
        row |= {
            "heat_on_lesion": measure_share(look.heat, look.lesion),
            "lesion_area": float(look.lesion.mean()),
            "blob_on_lesion": measure_share(draw_blob(look.heat.shape), look.lesion),
            "points_at_lesion": float(points_at(look.heat, look.lesion)),
            "lesion_cells": float(find_hits(look.lesion).mean()),
        }
        if other is not None:
            row["other_heat_on_lesion"] = measure_share(other, look.lesion)
    if look.outside.mean() >= FRAMED:
        edge = find_edge(look.outside)
        row |= {
            "heat_outside_field": measure_share(look.heat, look.outside),
            "outside_field": float(look.outside.mean()),
            "heat_on_frame_edge": measure_share(look.heat, edge),
            "frame_edge": float(edge.mean()),
        }
    elsewhere = np.array(look.hidden_elsewhere)
    return row | {
        "change_hottest": abs(look.hidden_hottest - look.y_prob),
        "change_elsewhere": float(np.abs(elsewhere - look.y_prob).mean()),
        "fall_hottest": look.y_prob - look.hidden_hottest,
        "fall_elsewhere": float((look.y_prob - elsewhere).mean()),
    }

"""How much of a heat map lies on the lesion, and how much would by chance.

Everything is measured on the heat map's own cells: a mask of the image becomes, for each cell, the share of it that
the mask covers. The cells stand for a part of what the network sees, and only that part counts.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.metrics import Floats
from melanoma.inference.explain import place_cells
from melanoma.inference.network_file import Box

_EDGE: Final = 0.02  # share of a cell that is taken for none
BLOB_WIDTH: Final = 1 / 6  # standard deviation in sides of the map, so that three of them reach its edge


def place_mask(mask: NDArray[np.bool_], cells: tuple[int, ...], seen: Box, box: Box) -> Floats:
    """The share of each cell of a heat map of (rows, columns) that a mask of the image (h, w) covers.

    `seen`, `box`: see `explain.spread`. Of a cell that reaches out of the image, the part within counts.
    """
    rows, columns = place_cells(cells, seen, box)
    down, across = (
        _average(edges, length) for edges, length in zip((rows, columns), mask.shape, strict=True)
    )
    shares = down.astype(np.float32) @ mask.astype(np.float32) @ across.T.astype(np.float32)
    return np.clip(shares.astype(np.float64).round(6), 0, 1)  # single precision: half must stay half


def measure_share(heat: NDArray[np.floating], cells: Floats) -> float:
    """The share in [0, 1] of the heat's sum that lies within the cells; NaN when there is no heat.

    `heat` non-negative (rows, columns), taken as even within a cell; `cells` in [0, 1] of the same shape.
    """
    total = float(heat.sum())
    return float((heat * cells).sum()) / total if total > 0 else float("nan")


def find_hits(cells: Floats) -> NDArray[np.bool_]:
    """The cells whose larger part is covered: where the hottest one must lie to point at the mask."""
    return np.asarray(cells >= 0.5)


def find_edge(cells: Floats) -> Floats:
    """1 in the cells that hold both what is covered and what is not, else 0: the edge of a frame, for one."""
    return np.asarray((cells > _EDGE) & (cells < 1 - _EDGE), dtype=np.float64)


def points_at(heat: NDArray[np.floating], cells: Floats) -> bool:
    """Whether the hottest cell, the first of equals, points at what the cells cover.

    The pointing game of Zhang et al. 2018, "Top-down neural attention by excitation backprop", without a margin.
    """
    return bool(find_hits(cells).flat[int(np.argmax(heat))])


def draw_blob(shape: tuple[int, int]) -> Floats:
    """A Gaussian in the middle of a map of `shape`: a heat map that looks at nothing."""
    axes = [((np.arange(n) + 0.5) / n - 0.5) / BLOB_WIDTH for n in shape]
    y, x = (np.exp(-(axis**2) / 2) for axis in axes)
    return np.asarray(np.outer(y, x))


def pair_unrelated(group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each image another one of a different group, -1 where there is none. `group` (n,)."""
    order = rng.permutation(len(group))
    partner = np.full(len(group), -1, dtype=np.int64)
    for place, image in enumerate(order):
        later = np.r_[order[place + 1 :], order[:place]]
        strangers = later[group[later] != group[image]]
        if len(strangers):
            partner[image] = strangers[0]
    return partner


def _average(edges: Floats, length: int) -> Floats:
    """Weights (cells, length) that average the pixels of a side within each cell."""
    pixels = np.arange(length)
    inside = np.minimum(pixels + 1, edges[1:, None]) - np.maximum(pixels, edges[:-1, None])
    inside = np.maximum(inside, 0)
    return np.asarray(inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-12))

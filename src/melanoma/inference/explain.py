"""Where the network saw melanoma, laid over the image."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.inference.network_file import WHOLE, Box
from melanoma.inference.preprocessing import Preprocessing, find_box

STRENGTH = 0.6
# A few anchors of matplotlib's inferno (CC0), dark to bright, even in lightness.
INFERNO = np.array(
    [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39]]
)


def overlay(
    image: NDArray[np.uint8],
    heatmap: NDArray[np.float32],
    spec: Preprocessing,
    box: Box = WHOLE,
    strength: float = STRENGTH,
) -> NDArray[np.uint8]:
    """The image with the heat map over it, most opaque where the network saw most.

    `image` RGB uint8 (h, w, 3), `heatmap` non-negative (rows, columns), `box`: see `network_file.find_heat_box`;
    `strength`: opacity where it saw most, 0 to 1; returns uint8 (h, w, 3).

    The map is scaled to its own maximum, so overlays of two images cannot be compared in
    strength.
    """
    heat = spread(heatmap / max(float(heatmap.max()), 1e-12), image.shape[:2], find_box(image, spec), box)
    level = Image.fromarray(np.rint(255 * heat).astype(np.uint8))
    opacity = level.point([round(strength * value) for value in range(256)])
    level.putpalette(_palette())
    return np.asarray(Image.composite(level.convert("RGB"), Image.fromarray(image), opacity))


@cache
def _palette() -> bytes:
    """Red, green and blue of the 256 levels."""
    positions, level = np.linspace(0, 1, len(INFERNO)), np.linspace(0, 1, 256)
    channels = [np.interp(level, positions, channel) for channel in INFERNO.T]
    return np.stack(channels, axis=-1).astype(np.uint8).tobytes()


def shrink(image: NDArray[np.uint8], longest_side: int) -> NDArray[np.uint8]:
    """RGB uint8 (h, w, 3) with no side longer than so many pixels, in the same proportions; never enlarged."""
    height, width = image.shape[:2]
    if max(height, width) <= longest_side:
        return image
    scale = longest_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def spread(
    heat: NDArray[np.float32], shape: tuple[int, int], seen: Box, box: Box = WHOLE
) -> NDArray[np.float32]:
    """The map (rows, columns), linear between its cells, at the size of an image of `shape`.

    `seen`: what the network sees, see `preprocessing.find_box`; `box`: see `network_file.find_heat_box`. Beyond the
    outermost cells their heat goes on to the edge of what the network saw; further out it is zero.
    """
    ends = place_cells(heat.shape, seen, box)
    rows = _interpolate(heat.astype(np.float32), ends[0], shape[0])
    whole = _interpolate(rows.T, ends[1], shape[1]).T
    left, upper, right, lower = (round(edge) for edge in seen)
    picture = np.zeros(shape, dtype=np.float32)
    picture[upper:lower, left:right] = whole[upper:lower, left:right]
    return picture


def place_cells(
    cells: tuple[int, ...], seen: Box, box: Box = WHOLE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the cells of a heat map begin and end in an image, pixels: (rows + 1,) and (columns + 1,); see `spread`."""
    left, upper, right, lower = seen
    width, height = right - left, lower - upper
    rows = np.linspace(upper + box[1] * height, upper + box[3] * height, cells[0] + 1)
    columns = np.linspace(left + box[0] * width, left + box[2] * width, cells[1] + 1)
    return rows, columns


def _interpolate(heat: NDArray[np.float32], edges: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    """The map (cells, n) at every pixel of a side, (length, n); a matrix product would take all cores for it."""
    middles = (edges[:-1] + edges[1:]) / 2
    place = np.interp(np.arange(length) + 0.5, middles, np.arange(len(middles)))
    first = np.minimum(place.astype(np.int64), max(len(middles) - 2, 0))
    share = (place - first).astype(np.float32)[:, None]
    after = np.minimum(first + 1, len(middles) - 1)
    between: NDArray[np.float32] = heat[first] * (1 - share) + heat[after] * share
    return between

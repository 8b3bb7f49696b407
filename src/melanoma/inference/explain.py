"""Where the network saw melanoma, laid over the image."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.inference.preprocessing import Preprocessing, find_box

# A few anchors of matplotlib's inferno (CC0), dark to bright, even in lightness.
INFERNO = np.array(
    [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39]]
)


def overlay(
    image: NDArray[np.uint8], heatmap: NDArray[np.float32], spec: Preprocessing, strength: float = 0.6
) -> NDArray[np.uint8]:
    """The image with the heat map over it, most opaque where the network saw most.

    `image` RGB uint8 (h, w, 3), `heatmap` non-negative (rows, columns); returns uint8 (h, w, 3). The map is
    scaled to its own maximum, so overlays of two images cannot be compared in strength.
    """
    heat = _spread(heatmap / max(float(heatmap.max()), 1e-12), image, spec)
    positions = np.linspace(0, 1, len(INFERNO))
    level = np.linspace(0, 1, 256)
    colours = np.stack([np.interp(level, positions, channel) for channel in INFERNO.T], axis=-1).astype(
        np.uint8
    )
    colour = Image.fromarray(colours[np.rint(255 * heat).astype(np.uint8)])
    opacity = Image.fromarray(np.rint(255 * strength * heat).astype(np.uint8))
    return np.asarray(Image.composite(colour, Image.fromarray(image), opacity))


def _spread(heat: NDArray[np.float32], image: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """The map at the image's size, zero outside what the network saw."""
    left, upper, right, lower = (round(edge) for edge in find_box(image, spec))
    picture = Image.fromarray(heat.astype(np.float32))
    inside = picture.resize((right - left, lower - upper), Image.Resampling.BICUBIC)
    spread = np.zeros(image.shape[:2], dtype=np.float32)
    spread[upper:lower, left:right] = np.clip(np.asarray(inside), 0, 1)
    return spread

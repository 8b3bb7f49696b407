"""A: how unlike its mirror image the lesion is, in shape, colour and structure, about both of its axes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.abcd.lesion import Floats, Lesion

GRID: Final = 96  # samples a side across the lesion

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "asymmetry_shape_less": "share of the lesion that its mirror image leaves bare, the better axis",
        "asymmetry_shape_more": "the same about the worse axis",
        "asymmetry_colour_less": "mean CIELAB distance between mirrored places, the better axis",
        "asymmetry_colour_more": "the same about the worse axis",
        "asymmetry_structure_less": "mean gap in local contrast between mirrored places over their mean, better axis",
        "asymmetry_structure_more": "the same about the worse axis",
        "asymmetry_pigment_offset": "from the middle of the area to the middle of the pigment, in diameters",
        "asymmetry_elongation": "short axis over long axis",
    }
)


def measure(lesion: Lesion) -> dict[str, float]:
    """The features of MEANINGS; what is mirrored is seen along the principal axes. Stolz et al. 1994."""
    inside = _align(lesion.mask.astype(np.float32), lesion) > 0.5
    lab = _align(lesion.lab, lesion)
    contrast = _align(measure_contrast(lesion.pigment), lesion)
    shape, colour, structure = [], [], []
    for axis in (0, 1):
        both = inside & np.flip(inside, axis)
        shape.append(float((inside ^ np.flip(inside, axis)).sum() / (2 * max(inside.sum(), 1))))
        gap = np.sqrt(((lab - np.flip(lab, axis)) ** 2).sum(axis=2))
        colour.append(_mean(gap[both]))
        unlike = np.abs(contrast - np.flip(contrast, axis))
        structure.append(_mean(unlike[both]) / max(_mean(contrast[both]), 1e-3))
    pairs = {"shape": shape, "colour": colour, "structure": structure}
    values = {
        f"asymmetry_{name}_{which}": value
        for name, pair in pairs.items()
        for which, value in zip(("less", "more"), sorted(pair), strict=True)
    }
    return values | {
        "asymmetry_pigment_offset": _measure_offset(lesion),
        "asymmetry_elongation": _measure_elongation(lesion),
    }


def measure_contrast(pigment: Floats, side: int = 7) -> Floats:
    """Standard deviation (h, w) within a square of `side` pixels around each pixel."""
    mean = cv2.blur(pigment, (side, side))
    square = cv2.blur(pigment * pigment, (side, side))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), dtype=np.float32)


def _align(values: Floats, lesion: Lesion) -> Floats:
    """Values sampled on a square grid (GRID, GRID) along the lesion's axes that holds the whole lesion."""
    y, x = np.nonzero(lesion.mask)
    reach = float(np.hypot(x - lesion.centre[0], y - lesion.centre[1]).max()) + 1
    step = 2 * reach / GRID
    cos, sin = step * np.cos(lesion.angle), step * np.sin(lesion.angle)
    middle = (GRID - 1) / 2
    matrix = np.array(
        [
            [cos, -sin, lesion.centre[0] - middle * (cos - sin)],
            [sin, cos, lesion.centre[1] - middle * (sin + cos)],
        ]
    )
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(values, matrix, (GRID, GRID), flags=how), dtype=np.float32)


def _measure_offset(lesion: Lesion) -> float:
    y, x = np.nonzero(lesion.mask)
    weight = np.maximum(lesion.pigment[lesion.mask], 0) + 1e-3
    centre = np.average(np.stack([x, y]), axis=1, weights=weight)
    return float(np.hypot(*(centre - lesion.centre)) / lesion.diameter)


def _measure_elongation(lesion: Lesion) -> float:
    y, x = np.nonzero(lesion.mask)
    short, long = np.linalg.eigvalsh(np.cov(np.stack([x, y])) + 1 / 12 * np.eye(2))
    return float(np.sqrt(short / long))


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean()) if values.size else 0.0

"""B: how ragged the outline is, how abruptly the pigment ends in each of eight sectors, and how large it all is."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.abcd.lesion import Lesion

SECTORS: Final = 8
BAND: Final = (1.5, 6.0)  # pixels from the outline, on either side
ABRUPT: Final = 0.5  # share of the lesion's contrast that is gone across the outline
MIN_BAND: Final = 12  # pixels: fewer are seen where the field ends at the lesion

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "border_compactness": "perimeter squared over 4 pi area, 1 for a disc",
        "border_solidity": "area over that of the convex hull",
        "border_radial_variation": "spread of the outline's distance from the centre over its mean",
        "border_roughness": "the same after the slow waves (up to three around the lesion) are taken out",
        "border_fractal_dimension": "of the outline, by counting boxes",
        "border_notches": "number of notches deeper than a twentieth of the diameter",
        "border_deepest_notch": "depth of the deepest notch in diameters",
        "border_abrupt_sectors": "of eight sectors, how many end abruptly (the B of the ABCD rule)",
        "border_abruptness_mean": "share of the lesion's pigment that is gone across the outline, mean of sectors",
        "border_abruptness_spread": "its spread over the sectors",
        "border_abruptness_most": "in the most abrupt sector",
        "border_abruptness_least": "in the least abrupt sector",
        "size_diameter": "diameter of the disc of the same area, in diameters of the field of view",
        "size_longest": "longest way across, in diameters of the field of view",
    }
)


def measure(lesion: Lesion) -> dict[str, float]:
    """The features of MEANINGS. Stolz et al. 1994; shape after Celebi et al. 2007."""
    outline = _trace(lesion)
    hull = cv2.convexHull(outline).reshape(-1, 2)
    area = _fill(outline, lesion)
    field = float(2 * np.sqrt(lesion.field.sum() / np.pi))
    across = np.linalg.norm(hull[:, None] - hull[None], axis=2)
    return {
        "border_compactness": cv2.arcLength(outline, True) ** 2 / (4 * np.pi * area),
        "border_solidity": min(area / max(cv2.contourArea(hull), 1.0), 1.0),
        **_measure_radii(outline, lesion),
        "border_fractal_dimension": _count_boxes(outline),
        **_measure_notches(outline, lesion.diameter),
        **_measure_abruptness(lesion),
        "size_diameter": lesion.diameter / field,
        "size_longest": float(across.max() + 1) / field,
    }


def _trace(lesion: Lesion) -> NDArray[np.int32]:
    """Outline of the largest part, (n, 1, 2) as x, y."""
    outlines, _ = cv2.findContours(lesion.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(max(outlines, key=cv2.contourArea), dtype=np.int32).reshape(-1, 1, 2)


def _fill(outline: NDArray[np.int32], lesion: Lesion) -> float:
    """Pixels within the outline, which is that of the largest part only."""
    filled = cv2.fillPoly(np.zeros(lesion.mask.shape, np.uint8), [outline], 1)
    return float(filled.sum())


def _measure_radii(outline: NDArray[np.int32], lesion: Lesion) -> dict[str, float]:
    """From the distance to the centre at 128 places along the outline, as waves around the lesion."""
    places = np.linspace(0, len(outline), 128, endpoint=False).astype(np.int64)
    radius = np.hypot(*(outline[places, 0] - np.array(lesion.centre)).T)
    waves = 2 * np.abs(np.fft.rfft(radius)) ** 2 / len(radius) ** 2
    mean = max(float(radius.mean()), 1e-3)
    return {
        "border_radial_variation": float(radius.std()) / mean,
        "border_roughness": float(np.sqrt(waves[4:33].sum())) / mean,
    }


def _count_boxes(outline: NDArray[np.int32]) -> float:
    """Slope of the number of boxes that the outline meets against their size. Mandelbrot 1967."""
    points = outline[:, 0]
    sides = np.array([2, 3, 4, 6, 8, 12])
    counts = [len(np.unique(points // side, axis=0)) for side in sides]
    return float(-np.polyfit(np.log(sides), np.log(counts), 1)[0])


def _measure_notches(outline: NDArray[np.int32], diameter: float) -> dict[str, float]:
    depths = np.zeros(0)
    if len(outline) > 3:
        # approximated first: OpenCV refuses the hull of an outline that meets itself
        plain = cv2.approxPolyDP(outline, 1.0, True)
        hull = np.sort(cv2.convexHull(plain, returnPoints=False), axis=0)
        found = cv2.convexityDefects(plain, hull) if len(hull) > 3 else None
        depths = depths if found is None else found.reshape(-1, 4)[:, 3] / 256 / diameter
    return {
        "border_notches": float((depths > 0.05).sum()),
        "border_deepest_notch": float(depths.max(initial=0)),
    }


def _measure_abruptness(lesion: Lesion) -> dict[str, float]:
    """Fall of pigment from a band within the outline to one without, sector by sector; NaN where none is seen."""
    near, far = BAND
    pigment = lesion.pigment
    contrast = max(float(np.median(pigment[lesion.mask])), 0.05)
    y, x = np.indices(lesion.mask.shape)
    angle = np.arctan2(y - lesion.centre[1], x - lesion.centre[0]) - lesion.angle
    sector = np.floor(angle / (2 * np.pi / SECTORS)).astype(np.int64) % SECTORS
    within = (lesion.depth > near) & (lesion.depth <= far)
    without = (lesion.depth < -near) & (lesion.depth >= -far) & lesion.field
    falls = []
    for number in range(SECTORS):
        inner, outer = pigment[within & (sector == number)], pigment[without & (sector == number)]
        if min(len(inner), len(outer)) >= MIN_BAND:
            falls.append(float(np.median(inner) - np.median(outer)) / contrast)
    if not falls:
        falls = [float("nan")]
    fall = np.array(falls)
    return {
        "border_abrupt_sectors": float(np.where(np.isnan(fall), np.nan, fall > ABRUPT).mean() * SECTORS),
        "border_abruptness_mean": float(fall.mean()),
        "border_abruptness_spread": float(fall.std()),
        "border_abruptness_most": float(fall.max()),
        "border_abruptness_least": float(fall.min()),
    }

"""Hints about an image that is judged all the same: blurred, too dark, too bright, hairy, lesion cut off at the rim.

A hint changes no decision. Each is a number with a limit, chosen on public collections so that few untouched images
get it; `benchmarks/domain.py` measures how many do, and how many do once the defect is made.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RGB = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE: Final = 128  # pixels
DARK: Final = 30  # brightest channel outside the field of view
MIN_SEEN: Final = 300  # pixels
REACH: Final = 3  # pixels to both sides of a hair
ALONG: Final = (-8, -4, 0, 4, 8)  # pixels along it
HAIR_DEPTH: Final = 0.10  # logarithm of intensity
MIN_CONTRAST: Final = 0.25  # logarithm, of a lesion against its surroundings

LEAST_SHARPNESS: Final = -2.2
LEAST_BRIGHTNESS: Final = 110
MOST_GLARE: Final = 0.05
MOST_HAIR: Final = 0.03
MOST_CUT_OFF: Final = 0.35


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured of one image.

    `sharpness`: logarithm of how much detail the finest scale has against a coarser one; `brightness`: 0..255, of
    the lighter quarter of the field, 0 where there is no field; `glare`: share of the field that is white; `hair`:
    share of the field under thin dark lines; `cut_off`: share of the side that holds most of the lesion.
    """

    sharpness: float
    brightness: float
    glare: float
    hair: float
    cut_off: float


def find_hints(image: RGB) -> list[str]:
    """What is wrong with an image, RGB uint8 (h, w, 3) before it is prepared; empty when nothing is.

    Sharpness is judged from 128 pixels a side on: below, every image is blurred by being enlarged.
    """
    found = measure(image)
    hints = {
        "blurred": found.sharpness < LEAST_SHARPNESS and min(image.shape[:2]) >= SIDE,
        "too dark": found.brightness < LEAST_BRIGHTNESS,
        "too bright": found.glare > MOST_GLARE,
        "hair over the lesion": found.hair > MOST_HAIR,
        "lesion cut off at the rim": found.cut_off > MOST_CUT_OFF,
    }
    return [hint for hint, given in hints.items() if given]


def measure(image: RGB) -> Quality:
    """The numbers behind the hints, of RGB uint8 (h, w, 3) of any size."""
    resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = np.ascontiguousarray(
        np.asarray(resized).transpose(2, 0, 1)
    )  # NumPy is slow along a last axis of 3
    brightest = pixels.max(axis=0)
    field = brightest > DARK
    if field.mean() < 0.05:
        return Quality(0.0, 0.0, 0.0, 0.0, 0.0)
    light = _logarithms()[pixels].mean(axis=0)
    return Quality(
        sharpness=_measure_sharpness(light, field),
        brightness=_upper_quartile(brightest[field]),
        glare=float((pixels.min(axis=0) > 250)[field].mean()),
        hair=_measure_hair(light, field),
        cut_off=_measure_cut_off(light, field),
    )


def _upper_quartile(values: NDArray[np.uint8]) -> float:
    return float(np.searchsorted(np.cumsum(np.bincount(values, minlength=256)), 0.75 * len(values)))


def _measure_sharpness(light: Floats, field: Mask) -> float:
    """Second differences at the finest scale against those four pixels apart; blur takes the finest first.

    Neighbours are averaged first: steps of whole grey levels would look like detail.
    """
    inner = field.copy()
    for _ in range(2):  # a frame's edge is no detail
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    if inner.sum() < MIN_SEEN:
        inner[:] = True
    smooth = (light[1:, 1:] + light[:-1, 1:] + light[1:, :-1] + light[:-1, :-1]) / 4
    fine, coarse = _second_differences(smooth, inner[1:, 1:], 1), _second_differences(light, inner, 4)
    return float(np.log((fine + 1e-5) / (coarse + 0.004)))


def _second_differences(light: NDArray[np.floating], inner: Mask, step: int) -> float:
    down = np.abs(light[2 * step :] - 2 * light[step:-step] + light[: -2 * step])[inner[step:-step]]
    across = np.abs(light[:, 2 * step :] - 2 * light[:, step:-step] + light[:, : -2 * step])
    return float(down.mean() + across[inner[:, step:-step]].mean()) / 2


def _measure_hair(light: Floats, field: Mask) -> float:
    return float((_find_ridges(light) > HAIR_DEPTH)[field].mean())


def _find_ridges(light: Floats) -> Floats:
    """How much darker than both sides, on average along a line, in the best of eight directions."""
    padded, half = np.pad(light, REACH, mode="edge"), max(ALONG)
    best, depth = np.full_like(light, -1), np.zeros((SIDE + 2 * half,) * 2, np.float32)
    for angle in np.pi * np.arange(8) / 8:
        y, x = np.sin(angle), np.cos(angle)
        dy, dx = round(REACH * y), round(REACH * x)
        sides = np.minimum(_view(padded, REACH + dy, REACH + dx), _view(padded, REACH - dy, REACH - dx))
        depth[half:-half, half:-half] = np.clip(sides - light, -0.3, 0.3)
        along = np.zeros_like(light)
        for k in ALONG:
            along += _view(depth, half + round(k * x), half - round(k * y))
        best = np.maximum(best, along / len(ALONG))
    return best


def _view(padded: Floats, top: int, left: int) -> Floats:
    return padded[top : top + SIDE, left : left + SIDE]


def _measure_cut_off(light: Floats, field: Mask) -> float:
    """Otsu's threshold parts lesion from skin; the share of the side that holds most lesion."""
    even = light - _fit_light(light, field)
    threshold, contrast = _otsu(even[field])
    if contrast < MIN_CONTRAST:
        return 0.0
    lesion = (even < threshold) & field
    rows, columns = (lesion[2:6], lesion[-6:-2]), (lesion[:, 2:6], lesion[:, -6:-2])
    bands = [*(row.mean(axis=0) for row in rows), *(column.mean(axis=1) for column in columns)]
    return float(max((band > 0.5).mean() for band in bands))


def _fit_light(light: Floats, field: Mask) -> Floats:
    """A plane and a fall towards the rim, fitted to the lighter pixels: uneven light is no lesion."""
    terms, thin = _light_terms(), np.s_[::4, ::4]
    seen = field[thin]
    design, target = terms[:, *thin][:, seen].T, light[thin][seen]
    kept = np.ones(len(target), np.bool_)
    fit = np.zeros(4, np.float32)
    for _ in range(3):
        fit = _solve(design[kept], target[kept])
        rest = target - design @ fit
        kept = rest > np.partition(rest, len(rest) * 3 // 10)[len(rest) * 3 // 10]
    return np.asarray(np.tensordot(fit, terms, axes=1), dtype=np.float32)


def _solve(design: Floats, target: Floats) -> Floats:
    """Least squares; a middle darker than the rim is a lesion, not light, and is not fitted."""
    normal = design.T @ design + np.float32(1e-3) * np.eye(4, dtype=np.float32)
    right = design.T @ target
    fit = np.linalg.solve(normal, right)
    return np.append(np.linalg.solve(normal[:3, :3], right[:3]), np.float32(0)) if fit[3] > 0 else fit


@cache
def _light_terms() -> Floats:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    return np.stack([np.ones_like(x), x, y, x * x + y * y])


def _otsu(values: Floats) -> tuple[float, float]:
    """The threshold that parts values best in two, and how far the two means lie apart. Otsu 1979."""
    least, most = float(values.min()), float(values.max())
    step = max(most - least, 1e-6) / 63
    counts = np.bincount(((values - least) / step).astype(np.intp), minlength=64)
    middles = least + step * (np.arange(64) + 0.5)
    below = np.cumsum(counts)[:-1]
    above = len(values) - below
    sums = np.cumsum(counts * middles)
    low, high = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    best = int(np.argmax(below * above * (high - low) ** 2))
    return least + step * (best + 1), float(high[best] - low[best])


@cache
def _logarithms() -> Floats:
    return np.log(np.arange(256, dtype=np.float32) + 8)

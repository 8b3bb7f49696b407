"""Hints about an image that is judged all the same: blurred, too dark, too bright, hairy.

A hint changes no decision. Each is a number with a limit, chosen on public collections so that few untouched images
get it; `benchmarks/domain.py` measures how many do, and how many do once the defect is made.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.inference.preprocessing import as_picture

RGB = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE: Final = 128  # pixels
DARK: Final = 30  # brightest channel outside the field of view
MIN_SEEN: Final = 300  # pixels
REACH: Final = 3  # pixels to both sides of a hair
ALONG: Final = (-8, -4, 0, 4, 8)  # pixels along it
HAIR_DEPTH: Final = 0.10  # logarithm of intensity

LEAST_SHARPNESS: Final = -2.2
LEAST_BRIGHTNESS: Final = 110
MOST_GLARE: Final = 0.05
MOST_HAIR: Final = 0.03


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured of one image.

    `sharpness`: logarithm of how much detail the finest scale has against a coarser one; `brightness`: 0..255, of
    the lighter quarter of the field, 0 where there is no field; `glare`: share of the field that is white; `hair`:
    share of the field under thin dark lines.
    """

    sharpness: float
    brightness: float
    glare: float
    hair: float


def find_hints(image: RGB | Image.Image) -> list[str]:
    """What is wrong with an image, RGB uint8 (h, w, 3) before it is prepared; empty when nothing is.

    Sharpness is judged from 128 pixels a side on: below, every image is blurred by being enlarged.
    """
    picture = as_picture(image)
    found = measure(picture)
    hints = {
        "blurred": found.sharpness < LEAST_SHARPNESS and min(picture.size) >= SIDE,
        "too dark": found.brightness < LEAST_BRIGHTNESS,
        "too bright": found.glare > MOST_GLARE,
        "hair in view": found.hair > MOST_HAIR,
    }
    return [hint for hint, given in hints.items() if given]


def measure(image: RGB | Image.Image) -> Quality:
    """The numbers behind the hints, of RGB uint8 (h, w, 3) of any size."""
    resized = as_picture(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = np.ascontiguousarray(
        np.asarray(resized).transpose(2, 0, 1)
    )  # NumPy is slow along a last axis of 3
    brightest = pixels.max(axis=0)
    field = brightest > DARK
    if field.mean() < 0.05:
        return Quality(0.0, 0.0, 0.0, 0.0)
    light = _logarithms()[pixels].mean(axis=0)
    return Quality(
        sharpness=_measure_sharpness(light, field),
        brightness=_upper_quartile(brightest[field]),
        glare=float((pixels.min(axis=0) > 250)[field].mean()),
        hair=_measure_hair(light, field),
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
    best, along = np.full_like(light, -1), np.empty_like(light)
    depth = np.zeros((SIDE + 2 * half,) * 2, np.float32)
    inner = depth[half:-half, half:-half]
    for angle in np.pi * np.arange(8) / 8:
        y, x = np.sin(angle), np.cos(angle)
        dy, dx = round(REACH * y), round(REACH * x)
        np.minimum(
            _view(padded, REACH + dy, REACH + dx), _view(padded, REACH - dy, REACH - dx), out=along
        )  # the darker side
        np.subtract(along, light, out=inner)
        np.clip(inner, -0.3, 0.3, out=inner)
        along[:] = 0
        for k in ALONG:
            along += _view(depth, half + round(k * x), half - round(k * y))
        np.maximum(best, along, out=best)
    best /= len(ALONG)
    return best


def _view(padded: Floats, top: int, left: int) -> Floats:
    return padded[top : top + SIDE, left : left + SIDE]


@cache
def _logarithms() -> Floats:
    return np.log(np.arange(256, dtype=np.float32) + 8)

"""An image as 40 numbers that need no network: colours and how they go together, edges, octaves, middle against rim.

What they mean must never change: the domain check in a bundle was fitted on them.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RGB = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE: Final = 96  # pixels; a multiple of 32, for five halvings
DARK: Final = 40  # brightest channel of a pixel outside the field of view, or of no use for its colour
MIN_SEEN: Final = 240  # pixels
FEATURES: Final = (
    *("dark", "white", "plain"),
    *("red_green_low", "red_green", "red_green_high", "red_green_spread"),
    *("green_blue_low", "green_blue", "green_blue_high", "green_blue_spread"),
    *("light_below", "light_above", "light_spread"),
    *("red_follows_green", "green_follows_blue", "blue_follows_light", "red_green_std", "green_blue_std"),
    *("distinct_colours", "edge_25", "edge_50", "edge_90", "edge_98", "straight_edges"),
    *("octave_1", "octave_2", "octave_3", "octave_4", "coarse_light", "fine_red_green", "fine_green_blue"),
    *("middle_light", "middle_red_green", "middle_green_blue"),
    *("rim_light_std", "rim_red_green", "rim_green_blue", "rim_red_green_std", "rim_green_blue_std"),
)


@dataclass(frozen=True, slots=True)
class _Look:
    """An image at working size: `pixels` (3, s, s); `light` the mean of the channels' logarithms, float32 (s, s);
    `red_green`, `green_blue` their differences; `seen` what is not black within the centre disc. `values` float32
    (6, n): of what is seen red, green, blue, `light`, `red_green`, `green_blue`.
    """

    pixels: RGB
    light: Floats
    red_green: Floats
    green_blue: Floats
    seen: Mask
    values: Floats


def describe(image: RGB) -> Floats:
    """The numbers named in `FEATURES`, float32 (40,), of RGB uint8 (h, w, 3) of any size.

    Differences of logarithms hardly depend on exposure, so a dark photograph of skin still is one.
    """
    look = _look(image)
    parts = (
        _share_plain(look),
        _colours(look),
        _couplings(look),
        _edges(look),
        _octaves(look),
        _middle(look),
    )
    return np.concatenate(parts, dtype=np.float32)


def _look(image: RGB) -> _Look:
    resized = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=_field(image))
    pixels = np.ascontiguousarray(
        np.asarray(resized).transpose(2, 0, 1)
    )  # NumPy is slow along a last axis of 3
    seen = (pixels.max(axis=0) > DARK) & _disc(0.0, 0.98)
    if seen.sum() < MIN_SEEN:
        seen = _disc(0.0, 0.98)
    planes = np.empty((6, SIDE, SIDE), np.float32)
    np.take(_logarithms(), pixels, out=planes[:3])
    red, green, blue, light, red_green, green_blue = planes
    np.add(red, green, out=light)
    light += blue
    light /= 3
    np.subtract(red, green, out=red_green)
    np.subtract(green, blue, out=green_blue)
    values = planes.reshape(6, -1).take(np.flatnonzero(seen), axis=1)
    return _Look(pixels, light, red_green, green_blue, seen, values)


def _field(image: RGB) -> tuple[int, int, int, int]:
    """The box without black bars and without what lies outside a round frame; everything if that leaves little."""
    height, width = image.shape[:2]
    bright = np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2]) > DARK
    rows, columns = np.flatnonzero(bright.mean(axis=1) > 0.06), np.flatnonzero(bright.mean(axis=0) > 0.06)
    if len(rows) == 0 or len(columns) == 0:
        return 0, 0, width, height
    left, upper, right, lower = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    if right - left < 0.2 * width or lower - upper < 0.2 * height:
        return 0, 0, width, height
    return left, upper, right, lower


def _share_plain(look: _Look) -> list[float]:
    """Dark, pure white, and neighbours of exactly one colour, as on screens and paper."""
    u = look.pixels
    same = (u[:, 1:, 1:] == u[:, 1:, :-1]).all(axis=0) | (u[:, 1:, 1:] == u[:, :-1, 1:]).all(axis=0)
    white = (u.min(axis=0) > 247).mean()
    dark = 1 - look.seen.sum() / _disc(0.0, 0.98).sum()
    return [
        float(np.log(0.05 + dark)),
        float(np.log(0.02 + white)),
        float(np.log(0.01 + same[_inner(look.seen)].mean())),
    ]


def _colours(look: _Look) -> list[float]:
    found: list[float] = []
    for values in look.values[4:]:
        low, first, middle, third, high = _quantiles(values, (0.02, 0.25, 0.5, 0.75, 0.98))
        found += [low, middle, high, float(np.log(third - first + 0.01))]
    low, tenth, middle, ninetieth, high = _quantiles(look.values[3], (0.02, 0.1, 0.5, 0.9, 0.98))
    return [*found, middle - low, high - middle, float(np.log(ninetieth - tenth + 0.03))]


def _couplings(look: _Look) -> list[float]:
    """How the channels go together, as one pigment over one skin makes them, and how many colours there are."""
    red, green, blue, light, first, second = look.values
    pairs = (_correlate(red, green), _correlate(green, blue))
    coarse = (look.pixels >> 4).astype(np.int16)
    codes = (coarse[0] * 256 + coarse[1] * 16 + coarse[2])[look.seen]
    share = np.bincount(codes, minlength=1) / len(codes)
    share = share[share > 0]
    return [
        *(float(np.arctanh(np.clip(value, -0.99, 0.995))) for value in pairs),
        _correlate(second, light),
        float(np.log(first.std() + 0.01)),
        float(np.log(second.std() + 0.01)),
        float(-(share * np.log(share)).sum()),
    ]


def _edges(look: _Look) -> list[float]:
    """Strength of edges, and the share of the strong ones that run along the image's sides."""
    across = np.abs(look.light[1:, 1:] - look.light[1:, :-1])
    down = np.abs(look.light[1:, 1:] - look.light[:-1, 1:])
    inner = _inner(look.seen)
    across, down = across[inner], down[inner]
    strength = np.hypot(across, down)
    levels = _quantiles(strength, (0.25, 0.5, 0.9, 0.98))
    strong = strength > max(levels[2], 0.02)
    more, less = np.maximum(across, down)[strong], np.minimum(across, down)[strong]
    straight = float((less < 0.2 * more).mean()) if len(more) > 10 else 0.26
    floors = (0.001, 0.002, 0.003, 0.005)
    return [
        *(float(np.log(level + floor)) for level, floor in zip(levels, floors, strict=True)),
        straight,
    ]


def _octaves(look: _Look) -> list[float]:
    """Energy lost at each halving against the next, and colour at the finest: noise is white, skin is not."""
    light = _fill(look.light, look.seen)
    energies = []
    for _ in range(5):
        light, energy = _halve(light)
        energies.append(energy)
    steps = [first - second for first, second in pairwise(energies)]
    fine = [_halve(_fill(plane, look.seen))[1] for plane in (look.red_green, look.green_blue)]
    return [*steps, energies[3], *fine]


def _fill(plane: Floats, seen: Mask) -> Floats:
    """The plane less its median, 0 where nothing is seen."""
    return np.where(seen, plane - np.float32(_quantiles(plane[seen], (0.5,))[0]), np.float32(0))


def _middle(look: _Look) -> list[float]:
    """Middle less rim, and the rim by itself: around a lesion lies skin."""
    middle, rim = _disc(0.0, 0.45) & look.seen, _disc(0.6, 1.03) & look.seen
    if min(middle.sum(), rim.sum()) < 10:
        middle = rim = look.seen
    planes = (look.light, look.red_green, look.green_blue)
    differences = [float(plane[middle].mean() - plane[rim].mean()) for plane in planes]
    light, first, second = (plane[rim] for plane in planes)
    return [
        *differences,
        float(np.log(light.std() + 0.02)),
        *(_quantiles(values, (0.5,))[0] for values in (first, second)),
        *(float(np.log(values.std() + 0.01)) for values in (first, second)),
    ]


def _halve(plane: Floats) -> tuple[Floats, float]:
    """The plane at half its size, and the logarithm of the mean energy that this takes away."""
    half = (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / np.float32(4)
    lost = float(np.vdot(plane, plane)) / plane.size - float(np.vdot(half, half)) / half.size
    return half, float(np.log(max(lost, 0.0) + 1e-6))


def _quantiles(values: Floats, shares: tuple[float, ...]) -> list[float]:
    ordered = np.sort(values)
    return [float(ordered[round(share * (len(ordered) - 1))]) for share in shares]


def _correlate(first: Floats, second: Floats) -> float:
    x, y = first - first.mean(), second - second.mean()
    return float((x * y).mean() / np.sqrt((x * x).mean() * (y * y).mean() + 1e-5))


def _inner(seen: Mask) -> Mask:
    """Pixels that are seen with their left and upper neighbours; all, where hardly any is."""
    inner = seen[1:, 1:] & seen[1:, :-1] & seen[:-1, 1:]
    return inner if inner.sum() >= MIN_SEEN else np.ones_like(inner)


@cache
def _disc(least: float, most: float) -> Mask:
    """Distance from the centre between two radii; 1 is the middle of a side."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    distance = np.hypot(x, y)
    return np.asarray((distance >= least) & (distance < most))


@cache
def _logarithms() -> Floats:
    return np.log(np.arange(256, dtype=np.float32) + 12)

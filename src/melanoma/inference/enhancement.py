"""Image processing that a bundle may ask for before its network: round frames, hair, the colour of the light."""

from functools import reduce
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RGB = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Grid = TypeVar("Grid", RGB, Mask)
Box = tuple[float, float, float, float]

DARK: Final = 45  # brightest channel outside the field of view
MINKOWSKI: Final = 6
_SIDE: Final = 128  # pixels, where frames are looked for
_RAYS: Final = 64
_MIN_SEEN: Final = 0.25  # share of the rays that must end in the frame
_MAX_MISFIT: Final = 0.05  # of the radius
_HAIR_LINE: Final = 0.03  # length of the closing lines, share of the side
_HAIR_RUN: Final = 0.14  # shortest hair, share of the side
_HAIR_DEPTH: Final = 14  # grey levels
_STEEP: Final = ((1, 2), (2, 1), (1, 4), (4, 1), (2, 3), (3, 2))  # at most 14 degrees between two directions
_DIRECTIONS: Final = ((0, 1), (1, 0), (1, 1), (1, -1), *_STEEP, *((y, -x) for y, x in _STEEP))


def find_frame(image: RGB) -> Box | None:
    """The largest box inside a dermatoscope's round black frame, as (left, upper, right, lower) in pixels.

    `image` RGB uint8 (h, w, 3). An ellipse with upright axes, for pictures that were squashed, is fitted to where
    rays from the centre enter the dark and stay there. None without such a frame.
    """
    small = np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
    edges = _enter_dark(small.max(axis=2) < DARK)
    if len(edges) < _MIN_SEEN * _RAYS:
        return None
    fitted = _fit_ellipse(edges)
    if fitted is None:
        return None
    x, y, half_width, half_height = fitted
    reach = np.array([half_width, half_height]) / np.sqrt(2) - 1  # a pixel of blurred rim
    low, high = np.maximum(np.array([x, y]) - reach, 0), np.minimum(np.array([x, y]) + reach, _SIDE)
    if (high - low).min() < _SIDE / 4:
        return None
    scale = np.array([image.shape[1], image.shape[0]]) / _SIDE
    (left, upper), (right, lower) = (low * scale).tolist(), (high * scale).tolist()
    return left, upper, right, lower


def balance_colours(image: RGB) -> RGB:
    """Remove the colour of the light: shades of grey with Minkowski norm 6 (Finlayson & Trezzi 2004).

    RGB uint8 (h, w, 3) to the same; black surround and glare have no say. For dermoscopy: Barata et al. 2015.
    """
    seen = (image.max(axis=2) >= DARK) & (image.max(axis=2) < 250)
    if not seen.any():
        return image
    light = np.mean((image[seen] / np.float32(255)) ** MINKOWSKI, axis=0, dtype=np.float64) ** (1 / MINKOWSKI)
    gain = light.mean() / np.maximum(light, 1e-3)
    table = np.clip(np.rint(np.arange(256)[:, None] * gain), 0, 255).astype(np.uint8)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)


def remove_hair(image: RGB) -> RGB:
    """Fill thin dark lines with what lies beside them, after DullRazor (Lee et al. 1997).

    RGB uint8 (h, w, 3) to the same. Hair is what a closing by short lines in four directions lightens, where it
    goes on in a line; so dots and the net of a mole mostly stay.
    """
    hair = find_hair(image)
    return _fill(image, hair) if hair.any() else image


def find_hair(image: RGB) -> Mask:
    """Where thin dark lines run, with their rims, bool (h, w)."""
    dark = 255 - image.min(axis=2)
    side = min(dark.shape)
    length, run = max(3, round(_HAIR_LINE * side)), max(6, round(_HAIR_RUN * side))
    broad = reduce(np.minimum, [_open(dark, length, step) for step in _DIRECTIONS[:4]])
    thin = _thicken(dark - broad > _HAIR_DEPTH)
    lines = [_open(thin, max(3, round(run / np.hypot(*step))), step) for step in _DIRECTIONS]
    return reduce(np.logical_or, lines)


def _open(values: Grid, length: int, step: tuple[int, int]) -> Grid:
    """Grey opening by a line of `length` points: what is bright and shorter in this direction goes."""
    margin = 2 * length * max(map(abs, step))  # what the shifts bring in from the other edge stays in here
    padded = np.pad(values, margin, mode="constant" if values.dtype == np.bool_ else "edge")
    eroded = _sweep(padded, length, step, np.minimum)
    opened = _sweep(eroded, length, (-step[0], -step[1]), np.maximum)
    return opened[margin:-margin, margin:-margin]


def _sweep(values: Grid, length: int, step: tuple[int, int], pick: np.ufunc) -> Grid:
    """The least or greatest of `length` values from each pixel on, in doubling strides."""
    covered = 1
    while covered < length:
        stride = min(covered, length - covered)
        shifted = np.roll(values, (-stride * step[0], -stride * step[1]), axis=(0, 1))
        values, covered = pick(values, shifted), covered + stride
    return values


def _thicken(mask: Mask) -> Mask:
    """One pixel more on every side."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:])


def _fill(image: RGB, hole: Mask) -> RGB:
    """Pixels of the hole become the mean of those around that are outside it, from as near as there are some."""
    filled, left = image.copy(), hole.copy()
    known = np.concatenate([image * ~hole[..., None], ~hole[..., None]], axis=-1, dtype=np.float64)
    reach = max(2, round(_HAIR_LINE * min(hole.shape) / 2))
    while left.any() and reach < 2 * max(hole.shape):
        sums = _sum_around(known, reach)
        reached = left & (sums[..., 3] >= reach)
        filled[reached] = np.rint(sums[reached, :3] / sums[reached, 3:]).astype(np.uint8)
        left, reach = left & ~reached, 2 * reach
    return filled


def _sum_around(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Sums over the square of `reach` pixels to every side, by a summed-area table (h, w, channels)."""
    height, width = values.shape[:2]
    table = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0), (0, 0)))
    rows, columns = np.arange(height), np.arange(width)
    top, bottom = np.maximum(rows - reach, 0), np.minimum(rows + reach + 1, height)
    left, right = np.maximum(columns - reach, 0), np.minimum(columns + reach + 1, width)
    strips = table[bottom] - table[top]
    return np.asarray(strips[:, right] - strips[:, left])


def _enter_dark(dark: Mask) -> NDArray[np.float64]:
    """Where rays from the centre last see light before a dark that reaches the rim, (n, 2) as x, y."""
    middle = (_SIDE - 1) / 2
    angles = 2 * np.pi * (np.arange(_RAYS) + 0.5) / _RAYS
    edges = []
    for x, y in zip(np.cos(angles), np.sin(angles), strict=True):
        distances = np.arange(0, middle / max(abs(x), abs(y)), 0.5)
        seen = dark[np.rint(middle + distances * y).astype(int), np.rint(middle + distances * x).astype(int)]
        light = np.flatnonzero(~seen)
        if seen[-1] and len(light) and len(seen) - light[-1] > 4:
            edges.append((middle + distances[light[-1]] * x, middle + distances[light[-1]] * y))
    return np.array(edges, dtype=np.float64).reshape(-1, 2)


def _fit_ellipse(edges: NDArray[np.float64]) -> tuple[float, float, float, float] | None:
    """Centre x, y and half axes by least squares without the worst fifth; None where the points lie on none."""
    points = edges / _SIDE - 0.5
    kept = np.ones(len(points), np.bool_)
    for _ in range(3):
        x, y = points[kept].T
        terms = np.column_stack([x * x, y * y, x, y])
        a, b, c, d = np.linalg.lstsq(terms, np.ones(len(x)), rcond=None)[0].tolist()
        if a <= 0 or b <= 0:
            return None
        at = np.array([-c / (2 * a), -d / (2 * b)])
        power = 1 + a * at[0] ** 2 + b * at[1] ** 2
        axes = np.sqrt(power / np.array([a, b]))
        misfit = np.abs(np.hypot(*((points - at) / axes).T) - 1)
        kept = misfit <= np.quantile(misfit, 0.8)
    if (
        np.median(misfit) > _MAX_MISFIT
        or axes.max() > 2 * axes.min()
        or axes.max() > 1
        or np.abs(at).max() > 0.25
    ):
        return None
    return (*((at + 0.5) * _SIDE).tolist(), *(axes * _SIDE).tolist())

"""Drawn pictures that are no dermoscopy, for the domain check to be fitted against.

Shapes, strokes, clouds, waves, balls, ramps and grain in any colours, a third of them in those of skin and pigment; no
photograph among them, so that photographs can judge the check. `counterexamples.npy` beside this file holds what
`describe` says of the first ones, made by `scripts/write_counterexamples.py`; drawing them takes half a minute.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from melanoma.data.artefacts import Pixels, add_round_frame, smooth_noise
from melanoma.inference.description import describe

Picture = NDArray[np.floating]
Rng = np.random.Generator

SIDE: Final = 160
COUNT: Final = 4000
SEED: Final = 9


def load() -> NDArray[np.float32]:
    """Features of `COUNT` counterexamples, float32 (COUNT, d)."""
    path = Path(str(resources.files("melanoma"))) / "data" / "counterexamples.npy"
    return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)


def describe_first(count: int) -> NDArray[np.float32]:
    """The same, drawn anew, of the first `count`."""
    return np.stack([describe(draw(np.random.default_rng([SEED, number]))) for number in range(count)])


def draw(rng: Rng) -> Pixels:
    """One counterexample, RGB uint8 (160, 160, 3)."""
    picture = _draw_one(rng)
    choice = rng.random()
    if choice < 0.25:
        picture = _blend(picture, _draw_one(rng), rng)
    elif choice < 0.35:
        picture = _split(picture, _draw_one(rng), rng)
    if rng.random() < 0.4:
        x, y = _plane()
        angle, tilt, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5), rng.uniform(0, 0.4)
        light = 1 + tilt * (np.cos(angle) * x + np.sin(angle) * y) - fall * (x * x + y * y)
        picture = picture * np.clip(light, 0.05, 1.4)[..., None]
    if rng.random() < 0.5:
        picture = picture + rng.normal(0, rng.uniform(0, 6), picture.shape)
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 4)))
        pixels = np.asarray(blurred, dtype=np.uint8)
    return add_round_frame(pixels, rng) if rng.random() < 0.15 else pixels


def _draw_one(rng: Rng) -> Picture:
    return np.clip(_DRAWINGS[int(rng.integers(len(_DRAWINGS)))](rng), 0, 255)


def _blend(first: Picture, second: Picture, rng: Rng) -> Picture:
    """One cut out of the other, or fading into it."""
    cloud = _cloud(rng)
    mask = (cloud > 0.5).astype(float) if rng.random() < 0.5 else np.clip(1.5 * cloud - 0.2, 0, 1)
    return np.asarray(first * (1 - mask[..., None]) + second * mask[..., None])


def _split(first: Picture, second: Picture, rng: Rng) -> Picture:
    """Side by side, or one above the other."""
    at = int(rng.integers(SIDE // 4, 3 * SIDE // 4))
    if rng.random() < 0.5:
        return np.concatenate((first[:, :at], second[:, at:]), axis=1)
    return np.concatenate((first[:at], second[at:]), axis=0)


def _draw_clouds(rng: Rng) -> Picture:
    if rng.random() < 0.3:
        return 255 * np.stack([_cloud(rng) for _ in range(3)], axis=2)
    return _colour(_cloud(rng), rng)


def _draw_leaves(rng: Rng) -> Picture:
    """Discs, boxes and polygons over each other, sizes by a power law ("dead leaves", Lee et al. 2001)."""
    palette = _draw_palette(rng, 12)
    picture = Image.new("RGB", (SIDE, SIDE), _ink(palette[0]))
    pen = ImageDraw.Draw(picture)
    smallest, shape = rng.uniform(2, 12), int(rng.integers(4))
    for _ in range(int(rng.choice((10, 40, 150, 400)))):
        size = min(smallest * (1 + rng.pareto(1.2)), SIDE / 2)
        (x, y), flat = rng.uniform(-10, SIDE + 10, 2).tolist(), size * rng.uniform(0.15, 1)
        ink = _ink(palette[rng.integers(12)] + rng.normal(0, 8, 3))
        kind = shape if shape < 3 else int(rng.integers(3))
        if kind == 0:
            pen.ellipse((x - size, y - flat, x + size, y + flat), fill=ink)
        elif kind == 1:
            pen.rectangle((x - size, y - flat, x + size, y + flat), fill=ink)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8)))).tolist()
            pen.polygon([(x + size * np.cos(a), y + size * np.sin(a)) for a in angles], fill=ink)
    leaves = np.asarray(picture, dtype=np.float64)
    if rng.random() < 0.5:
        leaves *= (1 + rng.uniform(0.05, 0.5) * (_cloud(rng) - 0.5))[..., None]
    return leaves


def _draw_strokes(rng: Rng) -> Picture:
    """Straight strokes, mostly of one direction or of any: straw, grass, fur."""
    palette = _draw_palette(rng, 8)
    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE), _ink(palette[0]))
    pen = ImageDraw.Draw(picture)
    direction, scatter = rng.uniform(0, np.pi), float(rng.choice((0.1, 0.5, 3)))
    length, width = rng.uniform(8, 90), int(rng.integers(1, 7))
    for _ in range(int(rng.choice((30, 150, 600, 1500)))):
        x, y = rng.uniform(0, 2 * SIDE, 2)
        angle, long = direction + rng.normal(0, scatter), length * rng.uniform(0.5, 1.5)
        end = (x + long * np.cos(angle), y + long * np.sin(angle))
        pen.line([(x, y), end], fill=_ink(palette[rng.integers(1, 8)]), width=width)
    return _shrink(picture)


def _draw_rows(rng: Rng) -> Picture:
    """Rows of little bars, like writing from afar."""
    palette = _draw_palette(rng, 2) if rng.random() < 0.4 else np.array(((255.0,) * 3, (20.0,) * 3))
    ground, ink = (_ink(colour) for colour in (palette if rng.random() < 0.8 else palette[::-1]))
    picture = Image.new("RGB", (2 * SIDE, 2 * SIDE), ground)
    pen = ImageDraw.Draw(picture)
    height = int(rng.integers(5, 26))
    for y in range(int(rng.integers(0, 20)), 2 * SIDE, int(height * rng.uniform(1.4, 2.4))):
        x, end = rng.uniform(0, 30), 2 * SIDE * rng.uniform(0.6, 1.1)
        while x < end:
            width, top = height * rng.uniform(0.1, 0.8), y + height * rng.uniform(0, 0.4)
            pen.rectangle((x, top, x + max(1, 0.4 * width), y + height), fill=ink)
            if rng.random() < 0.5:
                pen.line((x, top, x + width, top), fill=ink, width=max(1, height // 6))
            x += width + height * (0.2 if rng.random() < 0.8 else 0.8)
    return _shrink(picture.rotate(90) if rng.random() < 0.3 else picture)


def _draw_waves(rng: Rng) -> Picture:
    """Gratings, warped or straight, soft or hard: cloth, wood, tiles."""
    x, y = _plane()
    waves = np.zeros((SIDE, SIDE))
    for _ in range(int(rng.integers(1, 4))):
        angle = rng.uniform(0, np.pi) if rng.random() < 0.6 else rng.integers(2) * np.pi / 2
        phase = np.pi * rng.uniform(2, 40) * (x * np.cos(angle) + y * np.sin(angle))
        waves += np.sin(phase + rng.uniform(0, 8) * _cloud(rng))
    if rng.random() < 0.5:
        waves = np.tanh(6 * (waves - rng.uniform(-0.8, 0.8)))
    return _colour(_stretch(waves + rng.uniform(0, 1) * _cloud(rng)), rng)


def _draw_balls(rng: Rng) -> Picture:
    """Shaded balls on a ground: fruit, coins, cells."""
    palette = _draw_palette(rng, 4)
    x, y = _plane()
    picture = palette[0] * (1 + 0.2 * (_cloud(rng) - 0.5))[..., None]
    usual = rng.uniform(0.1, 0.6)
    for _ in range(int(rng.integers(1, 16))):
        (cx, cy), radius = rng.uniform(-1, 1, 2), usual * rng.uniform(0.6, 1.3)
        u, v = (x - cx) / radius, (y - cy) / radius
        distance = np.hypot(u, v)
        cover = np.clip((1 - distance) * radius * SIDE / 2 / rng.uniform(1, 3), 0, 1)
        light = 1 - 0.3 * (u * rng.uniform(-1, 1) + v * rng.uniform(-1, 1)) - 0.2 * distance**2
        light = np.clip(light, 0.2, 1.5) * (1 + rng.uniform(0, 0.4) * (_cloud(rng) - 0.5))
        ball = palette[rng.integers(1, 4)] * light[..., None]
        picture = picture * (1 - cover[..., None]) + ball * cover[..., None]
    return np.asarray(picture)


def _draw_ramp(rng: Rng) -> Picture:
    """A colour that fades into another, straight or round, at times hardly."""
    x, y = _plane()
    angle, centre = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.3, 2)
    straight = 0.5 + (np.cos(angle) * x + np.sin(angle) * y) / 2.84
    ramp = straight if rng.random() < 0.6 else np.hypot(x - centre[0], y - centre[1]) / 1.6
    picture = _colour(np.clip(ramp, 0, 1), rng)
    if rng.random() < 0.5:
        colour = _draw_palette(rng, 1)[0]
        picture = colour + rng.uniform(0, 0.3) * (picture - colour)
    return np.asarray(picture)


def _draw_grain(rng: Rng) -> Picture:
    channels = 1 if rng.random() < 0.5 else 3
    noise = rng.normal(0, rng.uniform(2, 80), (SIDE, SIDE, channels))
    return np.asarray(_draw_palette(rng, 1)[0] + noise)


_DRAWINGS: Final[tuple[Callable[[Rng], Picture], ...]] = (
    *(_draw_clouds, _draw_leaves, _draw_strokes, _draw_rows),
    *(_draw_waves, _draw_balls, _draw_ramp, _draw_grain),
)


def _draw_palette(rng: Rng, count: int) -> Picture:
    """RGB (count, 3) in 0..255: any colours, greys, skin under pigment, around one colour, or warm ones."""
    kind = int(rng.choice(5, p=(0.15, 0.15, 0.35, 0.15, 0.2)))
    if kind == 0:
        palette = rng.uniform(0, 255, (count, 3))
    elif kind == 1:
        palette = rng.uniform(0, 255, (count, 1)) + rng.normal(0, 4, (count, 3))
    elif kind == 2:
        dark = rng.beta(1, 2)
        skin = np.array((236, 196, 178)) * (1 - dark) + np.array((96, 62, 46)) * dark
        absorption = rng.uniform((0.3, 0.6, 0.7), (0.8, 1.1, 1.4))
        palette = (
            skin * np.exp(-rng.uniform(0, 1.6, (count, 1)) * absorption) * rng.uniform(0.85, 1.1, (count, 3))
        )
    elif kind == 3:
        palette = rng.uniform(20, 235, 3) + rng.normal(0, rng.uniform(5, 60), (count, 3))
    else:
        red = rng.uniform(60, 250, (count, 1))
        green = red * rng.uniform(0.2, 0.85)
        palette = np.concatenate((red, green, green * rng.uniform(0.2, 0.9)), axis=1)
    return np.clip(palette, 0, 255)


def _colour(field: Picture, rng: Rng) -> Picture:
    """A field in [0, 1] through two to five colours, by lightness or in any order."""
    palette = _draw_palette(rng, int(rng.integers(2, 6)))
    if rng.random() < 0.5:
        palette = palette[np.argsort(palette.sum(axis=1))]
    stops = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(field, stops, palette[:, c]) for c in range(3)], axis=2)


def _cloud(rng: Rng) -> Picture:
    """Cloudy noise in [0, 1], coarse or fine, soft or rough."""
    roughness, grains = rng.uniform(0.2, 1.2), float(rng.choice((2, 3, 4, 8, 16, 32)))
    octaves = [(grains * 2**k, 2.0 ** (-k * roughness)) for k in range(6) if grains * 2**k <= SIDE]
    return _stretch(smooth_noise(rng, (SIDE, SIDE), octaves))


def _stretch(field: Picture) -> Picture:
    low, high = np.quantile(field, (0.02, 0.98))
    return np.asarray(np.clip((field - low) / (high - low + 1e-6), 0, 1))


def _plane() -> tuple[Picture, Picture]:
    """Coordinates x and y from -1 to 1, (160, 160) each."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return x, y


def _shrink(picture: Image.Image) -> Picture:
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)


def _ink(colour: Picture) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue

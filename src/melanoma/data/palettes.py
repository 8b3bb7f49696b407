"""Colours, clouds and coordinates that drawn pictures are made of."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.data.artefacts import smooth_noise

Picture = NDArray[np.floating]
Rng = np.random.Generator

SIDE: Final = 160  # pixels of a drawn picture


def draw_palette(rng: Rng, count: int) -> Picture:
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


def apply_palette(field: Picture, rng: Rng) -> Picture:
    """A field in [0, 1] through two to five colours, by lightness or in any order."""
    palette = draw_palette(rng, int(rng.integers(2, 6)))
    if rng.random() < 0.5:
        palette = palette[np.argsort(palette.sum(axis=1))]
    stops = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(field, stops, palette[:, c]) for c in range(3)], axis=2)


def draw_cloud(rng: Rng, *, finest: int = 32) -> Picture:
    """Cloudy noise in [0, 1], coarse or fine, soft or rough."""
    roughness, grains = (
        rng.uniform(0.2, 1.2),
        float(rng.choice([k for k in (2, 3, 4, 8, 16, 32) if k <= finest])),
    )
    octaves = [(grains * 2**k, 2.0 ** (-k * roughness)) for k in range(6) if grains * 2**k <= SIDE]
    return stretch(smooth_noise(rng, (SIDE, SIDE), octaves))


def stretch(field: Picture) -> Picture:
    """The field brought to [0, 1], but for its outermost 2 % on both sides."""
    low, high = np.quantile(field, (0.02, 0.98))
    return np.asarray(np.clip((field - low) / (high - low + 1e-6), 0, 1))


def make_plane() -> tuple[Picture, Picture]:
    """Coordinates x and y from -1 to 1, (160, 160) each."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return x, y


def shrink(picture: Image.Image) -> Picture:
    """A picture of any size at (SIDE, SIDE, 3), so that lines are smooth."""
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)


def make_ink(colour: Picture) -> tuple[int, int, int]:
    """A colour, RGB (3,), as Pillow takes it."""
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue

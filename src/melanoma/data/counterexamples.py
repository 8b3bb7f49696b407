"""Pictures that are no dermoscopy, for the domain check to be fitted against.

Most are drawn: shapes, strokes, clouds, fur, vessels and more in any colours, a third of them in those of skin and
pigment. The others show parts of photographs that ship with scikit-image, scikit-learn and matplotlib; each of these
knows its photograph's name, so that a photograph can judge a check that never saw it. `counterexamples.npy` beside
this file holds what `describe` says of them, made by `scripts/write_counterexamples.py`.
"""

from collections.abc import Callable, Iterable, Set
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from melanoma.data import nature, photographs, shapes
from melanoma.data.artefacts import Pixels, add_round_frame
from melanoma.data.palettes import SIDE, Picture, Rng, apply_palette, draw_cloud, make_plane
from melanoma.data.photographs import draw_part, tint_skin
from melanoma.inference.description import describe

DRAWN: Final = 4600
OF_EACH_PHOTOGRAPH: Final = 60
SEED: Final = 9


def load(without: Set[str] = frozenset()) -> NDArray[np.float32]:
    """Features of the counterexamples, float32 (n, d), but of those that show one of these photographs."""
    path = Path(str(resources.files("melanoma"))) / "data" / "counterexamples.npy"
    stored = np.load(path, allow_pickle=False)
    return np.asarray(stored[~np.isin(name_photographs(), sorted(without))], dtype=np.float32)


def name_photographs() -> NDArray[np.str_]:
    """The photograph that each counterexample shows, str (n,), '' where it is drawn."""
    return np.array([""] * DRAWN + [name for name in photographs.NAMES for _ in range(OF_EACH_PHOTOGRAPH)])


def describe_anew(numbers: Iterable[int]) -> NDArray[np.float32]:
    """The features of these counterexamples, float32 (n, d), drawn anew."""
    names = name_photographs()
    return np.stack([describe(draw(np.random.default_rng([SEED, n]), str(names[n]))) for n in numbers])


def draw(rng: Rng, photograph: str = "") -> Pixels:
    """One counterexample, RGB uint8 (160, 160, 3); with a name of `photographs.NAMES` it shows a part of that."""
    picture = _draw_photograph(rng, photograph) if photograph else _draw_one(rng)
    choice = rng.random()
    if choice < 0.25:
        picture = _blend(picture, _draw_one(rng), rng)
    elif choice < 0.35:
        picture = _split(picture, _draw_one(rng), rng)
    if rng.random() < 0.4:
        x, y = make_plane()
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


def _draw_photograph(rng: Rng, name: str) -> Picture:
    """A part of a photograph as it is, in a skin colour, or through other colours."""
    part = Image.fromarray(draw_part(name, rng, 0.15)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    picture = np.asarray(part, dtype=np.float64)
    choice = rng.random()
    if choice < 0.2:
        return tint_skin(picture.mean(axis=2) / 255, rng).astype(np.float64)
    if choice < 0.35:
        return apply_palette(picture.mean(axis=2) / 255, rng)
    if choice < 0.6:
        picture = 255 * (picture / 255) ** np.exp(rng.normal(0, 0.3)) * np.exp(rng.normal(0, 0.15, 3))
    return np.clip(picture, 0, 255)


def _draw_one(rng: Rng) -> Picture:
    return np.clip(_DRAWINGS[int(rng.integers(len(_DRAWINGS)))](rng), 0, 255)


def _blend(first: Picture, second: Picture, rng: Rng) -> Picture:
    """One cut out of the other, or fading into it."""
    cloud = draw_cloud(rng)
    mask = (cloud > 0.5).astype(float) if rng.random() < 0.5 else np.clip(1.5 * cloud - 0.2, 0, 1)
    return np.asarray(first * (1 - mask[..., None]) + second * mask[..., None])


def _split(first: Picture, second: Picture, rng: Rng) -> Picture:
    """Side by side, or one above the other."""
    at = int(rng.integers(SIDE // 4, 3 * SIDE // 4))
    if rng.random() < 0.5:
        return np.concatenate((first[:, :at], second[:, at:]), axis=1)
    return np.concatenate((first[:at], second[at:]), axis=0)


_DRAWINGS: Final[tuple[Callable[[Rng], Picture], ...]] = (
    *(2 * (shapes.draw_clouds, shapes.draw_leaves, shapes.draw_strokes, shapes.draw_rows)),
    *(2 * (shapes.draw_waves, shapes.draw_balls, shapes.draw_ramp, shapes.draw_grain)),
    *(3 * (nature.draw_vessels,)),
    *(2 * (nature.draw_fur,)),
    *(nature.draw_tissue, nature.draw_lines),
)

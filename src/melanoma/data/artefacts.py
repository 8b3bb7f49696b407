"""What lies on the skin or in the optics but is not the lesion: hair, rulers, ink, gel bubbles, frames.

Each function takes RGB uint8 (h, w, 3) of any shape and returns a new array of that shape, and knows nothing
of how the image was made, so the same artefact can be laid over real images. The same seed gives the same
artefact, hence pairs with and without it.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from melanoma.errors import ConfigError

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]
Artefact = Callable[[Pixels, np.random.Generator], Pixels]

SUPERSAMPLING: Final = 2  # Pillow draws without antialiasing


def add_hair(image: Pixels, rng: np.random.Generator, *, count: int | None = None) -> Pixels:
    """Lay curved hairs over the image, all of one colour and mostly of one direction.

    `count`: number of hairs; by default 4 to 30, few more often than many.
    """
    number = int(4 + 26 * rng.beta(1, 2)) if count is None else count
    layer, draw = _canvas(image)
    unit = min(layer.size)
    main_direction = rng.uniform(0, np.pi)
    thickness = rng.uniform(0.003, 0.008) * unit
    for _ in range(number):
        start = rng.uniform(-0.1, 1.1, 2) * layer.size
        points = _curve(start, main_direction + rng.normal(0, 0.5), rng.uniform(0.3, 1.3) * unit, rng)
        width = max(1, round(thickness * rng.uniform(0.6, 1.3)))
        draw.line(points, fill=int(rng.integers(140, 245)), width=width)
    # Most hair is nearly black under a dermatoscope; some is fair.
    colour = rng.uniform((15, 10, 5), (70, 50, 40)) if rng.random() < 0.85 else np.array((205, 175, 130))
    return _blend(image, _coverage(layer, image), colour)


def add_ruler(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Draw a dark millimetre scale along one side, every fifth or tenth tick longer."""
    layer, draw = _canvas(image)
    size, unit = np.array(layer.size), min(layer.size)
    direction, side = int(rng.integers(2)), int(rng.integers(2))
    angle = direction * np.pi / 2 + rng.normal(0, 0.08)
    along = np.array((np.cos(angle), np.sin(angle)))
    inwards = np.array((-along[1], along[0])) * (1 if (side == 0) == (direction == 0) else -1)
    start = size * rng.uniform(0.02, 0.35)
    start[1 - direction] = size[1 - direction] * (0.06 if side == 0 else 0.94)
    spacing, long_every = rng.uniform(0.025, 0.06) * unit, int(rng.choice((5, 10)))
    width = max(1, round(unit * rng.uniform(0.004, 0.009)))
    number = int(rng.uniform(0.4, 0.95) * size[direction] / spacing)
    for tick in range(number):
        foot = start + along * spacing * tick
        length = unit * (0.055 if tick % long_every == 0 else 0.03)
        draw.line([tuple(foot), tuple(foot + inwards * length)], fill=215, width=width)
    if rng.random() < 0.5:
        end = start + along * spacing * max(number - 1, 0)
        draw.line([tuple(start), tuple(end)], fill=215, width=width)
    return _blend(image, _coverage(layer, image), np.array((25, 22, 28)))


def add_ink(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Mark the skin with 1 to 4 translucent strokes of a violet or blue surgical pen, near the rim."""
    layer, draw = _canvas(image)
    size, unit = np.array(layer.size), min(layer.size)
    width = max(2, round(unit * rng.uniform(0.02, 0.05)))
    around = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 5))):
        around += rng.uniform(0.6, 2.2)
        radial = np.array((np.cos(around), np.sin(around)))
        middle = size / 2 + radial * size * rng.uniform(0.36, 0.46)
        heading = around + np.pi / 2 * rng.integers(2) + rng.normal(0, 0.3)
        length = unit * rng.uniform(0.12, 0.35)
        start = middle - np.array((np.cos(heading), np.sin(heading))) * length / 2
        draw.line(_curve(start, heading, length, rng), fill=235, width=width, joint="curve")
    soft = layer.filter(ImageFilter.BoxBlur(unit * 0.005))
    patchy = 0.62 + smooth_noise(rng, image.shape[:2], ((24, 0.15), (70, 0.12)))
    colour = rng.uniform((70, 30, 110), (110, 70, 170))
    return _blend(image, _coverage(soft, image) * np.clip(patchy, 0.15, 0.95), colour)


def add_gel_bubbles(image: Pixels, rng: np.random.Generator, *, count: int | None = None) -> Pixels:
    """Trap air in the immersion gel: lighter discs with a dark rim, a bright inner ring and a glint.

    `count`: number of bubbles; by default 3 to 18.
    """
    number = int(rng.integers(3, 19)) if count is None else count
    (rim, draw_rim), (light, draw_light) = _canvas(image), _canvas(image)
    size, unit = np.array(light.size), min(light.size)
    cluster = rng.uniform(0.1, 0.9, 2)
    line = max(1, round(unit * 0.004))
    for _ in range(number):
        centre = np.clip(cluster + rng.normal(0, 0.28, 2), 0, 1) * size
        radius = unit * (0.008 + 0.05 * rng.beta(1, 3))
        draw_rim.ellipse(_box(centre, radius), outline=105, width=line)
        draw_light.ellipse(_box(centre, radius - line), fill=28, outline=110, width=line)
        draw_light.ellipse(_box(centre - 0.4 * radius, max(radius * 0.22, line)), fill=230)
    blur = ImageFilter.BoxBlur(unit * 0.002)
    darker = _blend(image, _coverage(rim.filter(blur), image), np.array((60, 45, 40)))
    return _blend(darker, _coverage(light.filter(blur), image), np.array((252, 250, 248)))


def add_round_frame(image: Pixels, rng: np.random.Generator, *, radius: float | None = None) -> Pixels:
    """Blacken everything outside the dermatoscope's round field of view.

    `radius`: share of half the diagonal that stays visible; by default 0.70 to 0.88, which takes the corners
    of a square image and at its lower end touches the middle of the sides.
    """
    height, width = image.shape[:2]
    half_diagonal = np.hypot(height, width) / 2
    visible = half_diagonal * (rng.uniform(0.70, 0.88) if radius is None else radius)
    centre_y, centre_x = np.array((height, width)) * (0.5 + rng.normal(0, 0.012, 2))
    y, x = np.ogrid[:height, :width]
    distance = np.hypot(y + 0.5 - centre_y, x + 0.5 - centre_x).astype(np.float32)
    softness = max(half_diagonal * rng.uniform(0.008, 0.035), 0.5)
    coverage = np.clip((distance - visible) / softness, 0, 1)
    return _blend(image, coverage, rng.uniform(0, 14, 3))


ARTEFACTS: Final[Mapping[str, Artefact]] = MappingProxyType(
    {
        "hair": add_hair,
        "ruler": add_ruler,
        "ink": add_ink,
        "gel_bubbles": add_gel_bubbles,
        "round_frame": add_round_frame,
    }
)

ArtefactRates = Mapping[str, tuple[float, float]]
"""Artefact name -> (share of benign images with it, share of melanomas with it), each in [0, 1]."""

DEFAULT_RATES: Final[ArtefactRates] = MappingProxyType(
    {
        "hair": (0.35, 0.35),
        "ruler": (0.2, 0.2),
        "ink": (0.08, 0.08),
        "gel_bubbles": (0.15, 0.15),
        "round_frame": (0.2, 0.2),
    }
)


def draw_artefacts(
    y_true: int, rng: np.random.Generator, rates: ArtefactRates = DEFAULT_RATES
) -> tuple[str, ...]:
    """Which artefacts an image of this class gets. Raises ConfigError for an unknown name or a bad rate."""
    for name, pair in rates.items():
        if name not in ARTEFACTS or not all(0 <= rate <= 1 for rate in pair):
            raise ConfigError(
                f"artefact rate {name}={pair}: use {', '.join(ARTEFACTS)} and shares from 0 to 1"
            )
    chances = rng.random(len(ARTEFACTS))
    drawn = zip(ARTEFACTS, chances, strict=True)
    return tuple(name for name, chance in drawn if chance < rates.get(name, (0, 0))[y_true])


def smooth_noise(
    rng: np.random.Generator, shape: Sequence[int], octaves: Sequence[tuple[int, float]]
) -> Field:
    """Cloudy noise of zero mean, float32 (h, w), the sum of octaves.

    `octaves`: (grains along the shorter side, standard deviation), from coarse to fine.
    """
    height, width = shape[:2]
    total = Image.new("F", (1, 1))
    for cells, deviation in octaves:
        grain = min(height, width) / cells
        grid = (round(height / grain) + 2, round(width / grain) + 2)
        # Enlarging octave by octave needs one enlargement to full size, not one for each.
        coarser = np.asarray(total.resize(grid[::-1], Image.Resampling.BICUBIC))
        finer = rng.standard_normal(grid, dtype=np.float32) * np.float32(1.35 * deviation)
        total = Image.fromarray(coarser + finer)  # 1.35: what interpolation takes away
    return np.asarray(total.resize((width, height), Image.Resampling.BICUBIC))


def _canvas(image: Pixels) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty enlarged layer for the image, and the pen for it."""
    layer = Image.new("L", (image.shape[1] * SUPERSAMPLING, image.shape[0] * SUPERSAMPLING))
    return layer, ImageDraw.Draw(layer)


def _coverage(layer: Image.Image, image: Pixels) -> Field:
    """The layer at the image's own size, float32 (h, w) in [0, 1]."""
    small = layer.resize((image.shape[1], image.shape[0]), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def _blend(image: Pixels, coverage: Field, colour: NDArray[np.float64]) -> Pixels:
    """Mix one RGB colour (0..255) over the image; `coverage` (h, w) in [0, 1] says how much."""
    weight = coverage[..., None].astype(np.float32)
    mixed = image + weight * (colour.astype(np.float32) - image)
    return (mixed + np.float32(0.5)).astype(np.uint8)


def _curve(
    start: NDArray[np.float64], heading: float, length: float, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """A stroke that bends steadily, as 20 points in layer pixels."""
    steps = np.linspace(0, 1, 20)
    bend = rng.normal(0, 0.9)
    x = start[0] + np.cumsum(np.cos(heading + bend * steps)) * length / len(steps)
    y = start[1] + np.cumsum(np.sin(heading + bend * steps)) * length / len(steps)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _box(centre: NDArray[np.float64], radius: float) -> tuple[float, float, float, float]:
    """A circle's bounding box as Pillow wants it."""
    radius = max(radius, 0.5)
    return (
        float(centre[0] - radius),
        float(centre[1] - radius),
        float(centre[0] + radius),
        float(centre[1] + radius),
    )

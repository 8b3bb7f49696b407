"""Draws what the synthetic images show: skin, a lesion in it, and the camera's view of both.

Skin and pigment mix as light does in tissue: the colour is the skin's times exp(-optical density), with
absorption rising from red to blue for melanin; the blue-grey veil scatters, so it is blended over.
Everything is float32, colour planes first, until `expose` makes the picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from skimage.color import lab2rgb

from melanoma.data.artefacts import Field, Pixels, smooth_noise

# Individual typology angle, degrees, from very light to dark. Del Bino and Bernerd 2013.
SKIN_TONES: Final = ((55, 70), (41, 55), (28, 41), (10, 28), (-30, 10), (-55, -30))

# Optical density of one unit of pigment in R, G, B, for the colours that dermoscopy counts.
ABSORPTION: Final[Mapping[str, tuple[float, float, float]]] = MappingProxyType(
    {
        "light_brown": (0.20, 0.42, 0.66),
        "dark_brown": (0.66, 1.00, 1.25),
        "black": (1.45, 1.50, 1.45),
        "red": (0.16, 0.58, 0.50),
        "white": (-0.12, -0.08, -0.04),
        "blue_grey": (0.0, 0.0, 0.0),
    }
)
VEIL: Final = (0.37, 0.43, 0.54)  # RGB in [0, 1] of the blue-grey veil under average light


@dataclass(frozen=True)
class Traits:
    """What carries the class: asymmetry and border in [0, 1], names from `ABSORPTION`, dark dots."""

    asymmetry: float
    border_irregularity: float
    colours: tuple[str, ...]
    n_dots: int


@dataclass(frozen=True)
class _Plane:
    """The image plane seen from the lesion: `radius`, 1 on a round lesion's border; `angle` in radians."""

    x: Field
    y: Field
    radius: Field
    angle: Field


def draw_traits(y_true: int, difficulty: float, rng: np.random.Generator) -> Traits:
    """Each trait follows one hidden severity, with a scatter of its own, so that no trait alone decides."""
    severity = 0.5 + 1.2 * (1 - difficulty) * (y_true - 0.5) + rng.normal(0, 0.14)
    asymmetry, border, variety, dots = np.clip(severity + rng.normal(0, 0.14, 4), 0, 1)
    n_colours = int(np.clip(round(0.7 + 4.2 * variety), 1, len(ABSORPTION)))
    browns = ("light_brown", "dark_brown")
    base, other = browns if rng.random() < 0.8 - 0.6 * variety else browns[::-1]
    pool = (other, "red", "black", "white", "blue_grey")
    # Black and blue-grey are what a naevus seldom has.
    weights = np.array((1.2, 0.4, 0.02 + 3 * variety**3, 0.2 + 0.5 * variety, 0.01 + 4 * variety**3))
    more = rng.choice(pool, n_colours - 1, replace=False, p=weights / weights.sum())
    colours = (str(base), *(str(colour) for colour in more))
    return Traits(float(asymmetry), float(border), colours, int(rng.poisson(1 + 14 * dots)))


def draw_skin(ita: float, size: int, rng: np.random.Generator) -> Field:
    """Bare skin as float32 (3, size, size) in [0, 1]: tone, redness, freckles, fine relief."""
    yellow = rng.uniform(13, 19)
    lightness = 50 + yellow * np.tan(np.radians(ita))
    tone = lab2rgb(np.array((lightness, rng.uniform(8, 16), yellow)).reshape(1, 1, 3)).astype(np.float32)
    shape = (size, size)
    relief = rng.uniform(0.5, 1.5)
    melanin = smooth_noise(rng, shape, ((3, 0.03), (14, 0.02 * relief), (60, 0.02 * relief)))
    spots = smooth_noise(rng, shape, ((12, 1.0), (30, 0.3))) - rng.uniform(1.4, 3.2)
    freckles = rng.uniform(0.05, 0.3) * np.clip(spots, 0, 1.2)
    blood = smooth_noise(rng, shape, ((5, 0.05), (20, 0.05 * relief), (60, 0.04 * relief)))
    density = _density(melanin + freckles, "dark_brown") + _density(blood, "red")
    skin: Field = tone.reshape(3, 1, 1) * np.exp(-density)
    return skin


def draw_lesion(skin: Field, traits: Traits, rng: np.random.Generator) -> tuple[Field, NDArray[np.bool_]]:
    """Lay the lesion into the skin; also its mask, bool (size, size)."""
    shape = skin.shape[1:]
    plane = _place(shape[0], rng)
    depth = _outline(plane, traits, rng)
    inside = _step(depth / rng.uniform(0.04, 0.12))
    texture = 1 + smooth_noise(rng, shape, ((7, 0.12), (16, 0.16), (45, 0.16))) + _network(plane, traits, rng)
    inside *= np.clip(texture, 0.2, 2)
    thickness = rng.uniform(0.5, 0.85) + rng.uniform(0.1, 0.6) * np.clip(depth, 0, 1)
    density = _density(inside * thickness, traits.colours[0])
    veil = np.zeros(shape, np.float32)
    for colour in traits.colours[1:]:
        region = _region(plane, traits, rng) * np.minimum(inside, 1.3)
        if colour == "blue_grey":
            veil = np.clip(rng.uniform(0.6, 0.85) * region, 0, 0.85)
        elif colour in ("red", "white"):  # both show where melanin is missing
            density *= 1 - np.clip(0.7 * region, 0, 1)
        density += _density(region, colour)
    density += rng.uniform(0.4, 0.9) * _dots(plane, traits, rng) * inside
    pigmented = skin * np.exp(-density)
    light = 0.4 + 0.8 * skin.mean(axis=(1, 2), keepdims=True)
    pigmented += veil * (light * np.array(VEIL, np.float32).reshape(3, 1, 1) - pigmented)
    return pigmented.astype(np.float32), depth > 0


def _place(size: int, rng: np.random.Generator) -> _Plane:
    """Where the lesion lies, how large and how long it is: the same for both classes."""
    reach = rng.uniform(0.15, 0.29) * size
    centre = (0.5 + np.clip(rng.normal(0, 0.04, 2), -0.08, 0.08)) * size
    stretch, turn = np.float32(np.sqrt(rng.uniform(1, 1.45))), rng.uniform(0, np.pi)
    y = (np.arange(size, dtype=np.float32)[:, None] - np.float32(centre[0])) / np.float32(reach)
    x = (np.arange(size, dtype=np.float32) - np.float32(centre[1])) / np.float32(reach)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along = np.asarray((x * cos + y * sin) / stretch, dtype=np.float32)
    across = np.asarray((y * cos - x * sin) * stretch, dtype=np.float32)
    return _Plane(
        along, across, np.hypot(along, across, dtype=np.float32), np.arctan2(across, along, dtype=np.float32)
    )


def _outline(plane: _Plane, traits: Traits, rng: np.random.Generator) -> Field:
    """Depth inside the border in lesion radii, negative outside; the area does not depend on the traits."""
    orders = np.arange(1, 13)
    coarse = orders < 4
    spread = np.where(coarse, 0.04 + 0.22 * traits.asymmetry, 0.03 + 0.2 * traits.border_irregularity)
    amplitude = spread * rng.normal(0, 1, len(orders)) / np.where(coarse, np.sqrt(orders), orders)
    turns, phases = np.linspace(-np.pi, np.pi, 721), rng.uniform(0, 2 * np.pi, (len(orders), 1))
    border = np.clip(1 + amplitude @ np.cos(orders[:, None] * turns + phases), 0.4, 1.4)
    border = (border / np.sqrt(np.mean(border**2))).astype(np.float32)
    where = ((plane.angle + np.float32(np.pi)) * np.float32(720 / (2 * np.pi))).astype(np.intp)
    ragged = 0.04 + 0.07 * traits.border_irregularity
    noise = smooth_noise(rng, plane.radius.shape, ((14, ragged), (34, ragged), (75, ragged / 2)))
    # Ragged only near the border, or the noise would leave islands far out on the skin.
    near = np.exp(-(((plane.radius - 1) / np.float32(0.4)) ** 2))
    depth: Field = border[where] - plane.radius + noise * near
    return depth


def _network(plane: _Plane, traits: Traits, rng: np.random.Generator) -> Field:
    """A pigment network: a honeycomb of darker lines, bent and patchy the more irregular the lesion."""
    shape = plane.radius.shape
    step = 2 * np.pi / (rng.uniform(4, 7) * shape[0] / 192)
    bends = smooth_noise(
        rng,
        shape,
        ((9, 1.2 + 1.5 * traits.border_irregularity), (28, 0.6 + 0.6 * traits.border_irregularity)),
    )
    along = np.arange(shape[0], dtype=np.float32) * np.float32(step)
    honeycomb = np.zeros(shape, np.float32)
    for angle in rng.uniform(0, np.pi) + np.array((0, 1, 2)) * np.pi / 3:
        row, column = along[:, None] * np.float32(np.sin(angle)), along * np.float32(np.cos(angle))
        honeycomb += np.cos(row + column + bends)
    patchy = np.clip(0.5 + (0.15 + 0.2 * traits.asymmetry) * bends, 0, 1.3)
    network: Field = np.float32(-rng.uniform(0, 0.22)) * honeycomb * patchy
    return network


def _region(plane: _Plane, traits: Traits, rng: np.random.Generator) -> Field:
    """Where one more colour lies, float32 (h, w) in [0, 1]: the middle, or off it the more asymmetric."""
    away, towards = traits.asymmetry * rng.uniform(0.2, 0.75), rng.uniform(0, 2 * np.pi)
    right, down = np.float32(away * np.cos(towards)), np.float32(away * np.sin(towards))
    distance = np.hypot(plane.x - right, plane.y - down)
    blotchy = 0.1 + 0.25 * traits.border_irregularity
    noise = smooth_noise(rng, distance.shape, ((8, blotchy), (26, 0.14), (70, 0.1)))
    return _step((np.float32(rng.uniform(0.3, 0.65)) - distance + noise) / np.float32(rng.uniform(0.1, 0.25)))


def _dots(plane: _Plane, traits: Traits, rng: np.random.Generator) -> Field:
    """Dark dots and globules, float32 (h, w) in [0, 1]."""
    size = plane.radius.shape[0]
    layer = Image.new("L", (2 * size, 2 * size))
    draw = ImageDraw.Draw(layer)
    inner = np.flatnonzero(plane.radius < 0.55 + 0.4 * traits.asymmetry)
    for y, x in 2 * np.stack(np.divmod(rng.choice(inner, traits.n_dots), size), axis=1):
        radius = 2 * size * rng.uniform(0.004, 0.011)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(rng.integers(120, 255)))
    return np.asarray(layer.reduce(2), dtype=np.float32) / np.float32(255)


def expose(scene: Field, rng: np.random.Generator) -> Pixels:
    """Light, vignette, colour cast, focus and sensor noise: float (3, size, size) to uint8 RGB image."""
    size = scene.shape[1]
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    off_y, off_x = rng.normal(0, 0.15, 2).astype(np.float32)
    falloff = np.float32(rng.uniform(0, 0.2)) * ((axis[:, None] - off_y) ** 2 + (axis - off_x) ** 2)
    gains = (rng.uniform(1.0, 1.28) * rng.normal(1, 0.045, (3, 1, 1))).astype(np.float32)
    lit = scene * (1 - falloff) * gains
    lit += np.float32(0.012) * rng.standard_normal((size, size), dtype=np.float32)
    # Highlights roll off, as in a camera: from 0.75 on the slope falls, to zero at 1.25.
    lit = np.clip(lit, 0, 1.25)
    lit -= np.maximum(lit - np.float32(0.75), 0) ** 2
    pixels = np.ascontiguousarray((lit * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))
    focus = ImageFilter.BoxBlur(size / 192 * rng.uniform(0.2, 0.9))
    return np.array(Image.fromarray(pixels).filter(focus))


def _density(amount: Field, colour: str) -> Field:
    """Pigment amount (h, w) to optical density (3, h, w)."""
    return amount.astype(np.float32) * np.array(ABSORPTION[colour], np.float32).reshape(3, 1, 1)


def _step(value: Field) -> Field:
    """A smooth step from 0 to 1 around zero."""
    step: Field = 0.5 + 0.5 * np.tanh(np.float32(0.5) * value)
    return step

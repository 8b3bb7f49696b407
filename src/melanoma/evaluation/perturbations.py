"""Changes to a photograph that leave the lesion what it is, each at a stated strength, and noise of equal energy.

Lengths are shares of the image's shorter side, so that a strength means the same at every resolution. Each change
gets its own generator, made of the image's content digest, the change's name and a seed: which other images are
judged, and in which order, does not matter.
"""

import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.data.artefacts import (
    Pixels,
    add_gel_bubbles,
    add_hair,
    add_ink,
    add_round_frame,
    add_ruler,
)
from melanoma.inference.images import decode

ENERGY_TOLERANCE: Final = 0.01
_MOST_TRIES = 40
_MOST_DEVIATION = 1e4  # grey levels; beyond it every value is 0 or 255
_DIM, _BRIGHT = 2**-0.5, 2**0.5  # half a stop
# Linear sRGB of the CIE standard illuminants D50 and D75 (ASTM E308), D65 being (1, 1, 1).
_D50, _D75 = (1.176, 0.976, 0.722), (0.929, 1.007, 1.145)

Perturbation = Callable[[Pixels, np.random.Generator], Pixels]


@dataclass(frozen=True, slots=True)
class Change:
    """One change to a photograph.

    `title` and `strength` are for readers. `apply`: RGB uint8 (h, w, 3) and a generator to another image.
    `moves_pixels`: a geometric change. Noise of equal energy would be no control for it, since the difference
    of the pixels then tells how finely structured the image is, and not how strong the change was.
    """

    name: str
    title: str
    strength: str
    apply: Perturbation
    moves_pixels: bool = False


def seed_generator(seed: int, content_digest: str, name: str) -> np.random.Generator:
    """The generator of one change to one image."""
    key = hashlib.sha256(f"{seed}\0{content_digest}\0{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(key[:16]))


def add_noise(image: Pixels, energy: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise, the same deviation everywhere, whose energy is `energy` within 1 %.

    `image` uint8 of any shape. Energy: sum of the squared differences of the uint8 values, after rounding and
    after clipping to 0..255, which takes half of the noise from black and from white places; the deviation is
    raised until the sum is right. Where it cannot be reached, because every value is 0 or 255 already, or because
    it is less than one grey level in one value, the nearest is returned.
    """
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    grain /= np.sqrt(np.mean(grain**2))
    deviation, low, high = math.sqrt(energy / image.size), 0.0, math.inf
    noisy = image.copy()
    for _ in range(_MOST_TRIES):
        noisy = np.clip(np.rint(image + deviation * grain), 0, 255).astype(np.uint8)
        reached = measure_energy(image, noisy)
        if abs(reached - energy) <= ENERGY_TOLERANCE * energy or deviation > _MOST_DEVIATION:
            break
        low, high = (deviation, high) if reached < energy else (low, deviation)
        deviation = 2 * deviation if high == math.inf else (low + high) / 2
    return noisy


def measure_energy(before: Pixels, after: Pixels) -> float:
    """Sum of the squared differences of two uint8 images of one shape."""
    return float(np.sum((after.astype(np.float32) - before) ** 2, dtype=np.float64))


def blur(image: Pixels, rng: np.random.Generator, *, deviation: float) -> Pixels:
    """Gaussian blur, as out of focus. `deviation`: share of the shorter side."""
    del rng
    sigma = deviation * min(image.shape[:2])
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


def compress(image: Pixels, rng: np.random.Generator, *, quality: int) -> Pixels:
    """Write as JPEG at the image's own resolution and read again. `quality`: libjpeg's, from 1 to 95."""
    del rng
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=quality)
    return decode(stream.getvalue())


def light(image: Pixels, rng: np.random.Generator, *, gains: tuple[float, float, float]) -> Pixels:
    """Other light on the same scene, clipped where the sensor would be. `gains`: of linear red, green, blue.

    The values are taken for sRGB (IEC 61966-2-1).
    """
    del rng
    coded = np.arange(256) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    lit = np.minimum(linear[:, None] * gains, 1)
    again = np.where(lit <= 0.0031308, lit * 12.92, 1.055 * lit ** (1 / 2.4) - 0.055)
    table: NDArray[np.uint8] = np.rint(again * 255).astype(np.uint8)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)


def turn(image: Pixels, rng: np.random.Generator, *, degrees: float) -> Pixels:
    """Turn about the centre, to the left or to the right by chance; the corners are filled by mirroring."""
    height, width = image.shape[:2]
    angle = degrees * float(rng.choice((-1, 1)))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    turned = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(turned, dtype=np.uint8)


def turn_quarter(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn by 90 degrees, to the left or to the right by chance; no pixel's value changes."""
    return np.ascontiguousarray(np.rot90(image, int(rng.choice((1, 3)))))


def crop(image: Pixels, rng: np.random.Generator, *, side: float) -> Pixels:
    """Keep the middle, as from nearer. `side`: share of each side that stays."""
    del rng
    height, width = image.shape[:2]
    rows, columns = max(1, round(height * side)), max(1, round(width * side))
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(image[top : top + rows, left : left + columns])


CHANGES: Final = (
    Change(
        "round_frame_mild",
        "Round frame, corners",
        "black outside a disc of 85 % of the half diagonal",
        partial(add_round_frame, radius=0.85),
    ),
    Change(
        "round_frame_strong",
        "Round frame, to the sides",
        "black outside a disc of 72 % of the half diagonal, which touches the sides of a square",
        partial(add_round_frame, radius=0.72),
    ),
    Change("ruler", "Ruler", "a dark millimetre scale along one side", add_ruler),
    Change("ink", "Ink", "1 to 4 strokes of a surgical pen near the rim", add_ink),
    Change("hair_mild", "Hair, few", "6 hairs", partial(add_hair, count=6)),
    Change("hair_strong", "Hair, many", "30 hairs", partial(add_hair, count=30)),
    Change("gel_bubbles_mild", "Gel bubbles, few", "5 bubbles", partial(add_gel_bubbles, count=5)),
    Change("gel_bubbles_strong", "Gel bubbles, many", "18 bubbles", partial(add_gel_bubbles, count=18)),
    Change(
        "cast_warm",
        "Colour cast, warm",
        "light of 5,000 K (CIE D50) with a camera set for 6,500 K (D65)",
        partial(light, gains=_D50),
    ),
    Change(
        "cast_cool",
        "Colour cast, cool",
        "light of 7,500 K (CIE D75) with a camera set for 6,500 K (D65)",
        partial(light, gains=_D75),
    ),
    Change("darker", "Darker", "half a stop less light", partial(light, gains=(_DIM,) * 3)),
    Change("brighter", "Brighter", "half a stop more light", partial(light, gains=(_BRIGHT,) * 3)),
    Change(
        "blur_mild",
        "Blur, mild",
        "Gaussian, deviation 0.4 % of the shorter side (0.08 mm in a field of 20 mm)",
        partial(blur, deviation=0.004),
    ),
    Change(
        "blur_strong",
        "Blur, strong",
        "Gaussian, deviation 1.2 % of the shorter side (0.24 mm in a field of 20 mm)",
        partial(blur, deviation=0.012),
    ),
    Change("jpeg_mild", "JPEG, mild", "quality 50", partial(compress, quality=50)),
    Change("jpeg_strong", "JPEG, strong", "quality 15", partial(compress, quality=15)),
    Change(
        "quarter_turn", "Quarter turn", "90 degrees, without any resampling", turn_quarter, moves_pixels=True
    ),
    Change(
        "turn_15",
        "Turn by 15 degrees",
        "resampled, corners filled by mirroring",
        partial(turn, degrees=15),
        moves_pixels=True,
    ),
    Change(
        "crop_mild", "Crop, mild", "the middle 90 % of each side", partial(crop, side=0.9), moves_pixels=True
    ),
    Change(
        "crop_strong",
        "Crop, strong",
        "the middle 75 % of each side",
        partial(crop, side=0.75),
        moves_pixels=True,
    ),
)

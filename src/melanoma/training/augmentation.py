"""Random changes to training images: the only place where an image is changed at random."""

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.config import AugmentationConfig

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
FRAME_RADII = (0.42, 0.75)  # of the side; from 0.71 on nothing of a centred frame is seen
FRAME_SHIFT = 0.04  # of the side
QUALITIES = (30, 91)  # of JPEG


def augment(
    batch: NDArray[np.uint8], config: AugmentationConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Changed copies, uint8 (n, size, size, 3), of uint8 (n, size + margin, size + margin, 3).

    Geometry is one affine map per image (rotation, shift, shear and zoom about the centre, as in Keras'
    ImageDataGenerator, and a place within the margin) with bilinear sampling and edge pixels repeated; colour is one
    linear map; then come blur, noise, compression and a black frame. Quarter turns and places in the margin are
    whole pixels, so that alone they blur nothing.
    """
    size = batch.shape[1] - config.margin
    inverse_maps = draw_affine_maps(len(batch), size, config, rng)
    inverse_maps[:, :, 2] += np.rint(config.margin * draw_places(len(batch), config, rng))
    colour_maps = draw_colour_maps(len(batch), config, rng)
    frames = draw_frames(len(batch), size, config, rng)
    degradations = draw_degradations(len(batch), config, rng)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    changed = np.empty((len(batch), size, size, 3), np.uint8)
    for image, inverse, colour, frame, degradation, out in zip(
        batch, inverse_maps, colour_maps, frames, degradations, changed, strict=True
    ):
        cv2.warpAffine(image, inverse, (size, size), dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        if colour is not None:
            cv2.transform(out, colour, dst=out)
        degrade(out, degradation, rng)
        if frame is not None:
            lay_frame(out, *frame)
    return changed


def draw_affine_maps(
    n: int, size: int, config: AugmentationConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(n, 2, 3) maps from output to input pixels, x before y."""
    angle, shear = (np.deg2rad(limit) * rng.uniform(-1, 1, n) for limit in (config.rotation, config.shear))
    if config.quarter_turns:
        angle += np.pi / 2 * rng.integers(0, 4, n)
    shift = config.shift * size * rng.uniform(-1, 1, (n, 2))
    zoom = 1 + config.zoom * rng.uniform(-1, 1, (n, 2))
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(n), np.ones(n)
    rotation = np.stack([cos, sin, -sin, cos], axis=1).reshape(n, 2, 2)
    shearing = np.stack([one, -np.sin(shear), zero, np.cos(shear)], axis=1).reshape(n, 2, 2)
    flip = np.where(rng.random((n, 2)) < 0.5, -1, 1) ** [config.horizontal_flip, config.vertical_flip]
    linear = rotation @ shearing * (zoom * flip)[:, None, :]
    if config.aspect:
        linear[:, 0] *= np.where(rng.random(n) < 0.5, 1 - config.aspect, 1)[:, None]
    centre = (size - 1) / 2
    offset = (rotation @ shift[:, :, None])[:, :, 0] + centre - linear.sum(axis=2) * centre
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def draw_colour_maps(
    n: int, config: AugmentationConfig, rng: np.random.Generator
) -> list[NDArray[np.float32] | None]:
    """(3, 4) maps of RGB and 1 to RGB; None where colour is left alone."""
    limits = (config.brightness, config.contrast, config.saturation)
    brightness, contrast, saturation = (1 + limit * rng.uniform(-1, 1, n) for limit in limits)
    hue = np.deg2rad(config.hue) * rng.uniform(-1, 1, n) if config.hue else np.zeros(n)
    if not any((*limits, config.hue)):
        return [None] * n
    grey = np.tile(LUMA, (3, 1))
    maps: list[NDArray[np.float32] | None] = []
    for b, c, s, h in zip(brightness, contrast, saturation, hue, strict=True):
        colour = (s * np.eye(3) + (1 - s) * grey) @ turn_hue(h) if h else s * np.eye(3) + (1 - s) * grey
        maps.append(np.column_stack([b * c * colour, np.full(3, b * (1 - c) * 127.5)]).astype(np.float32))
    return maps


def turn_hue(angle: float) -> NDArray[np.float64]:
    """Map of RGB (3, 3) that turns the two colour axes of YIQ and keeps luma; `angle` in radians."""
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    return np.asarray(np.linalg.inv(YIQ) @ turn @ YIQ)


def draw_places(n: int, config: AugmentationConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    """Where in the margin each image is cut out, (n, 2) in [0, 1]."""
    return rng.uniform(0, 1, (n, 2)) if config.margin else np.zeros((n, 2))


def draw_frames(
    n: int, size: int, config: AugmentationConfig, rng: np.random.Generator
) -> list[tuple[float, float, float] | None]:
    """Centre x, y and radius in pixels of each image's round frame; None where it gets none."""
    if not config.frame:
        return [None] * n
    framed = rng.random(n) < config.frame
    centres = size * (0.5 + FRAME_SHIFT * rng.uniform(-1, 1, (n, 2)))
    radii = size * rng.uniform(*FRAME_RADII, n)
    return [
        (float(x), float(y), float(r)) if drawn else None
        for drawn, (x, y), r in zip(framed, centres, radii, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Degradation:
    """What a poor photograph adds: deviation of blur in pixels and of noise in grey levels, JPEG quality; 0 is none."""

    blur: float
    noise: float
    quality: int


def draw_degradations(n: int, config: AugmentationConfig, rng: np.random.Generator) -> list[Degradation]:
    """One for each image."""
    if not (config.blur or config.noise or config.compression):
        return [Degradation(0.0, 0.0, 0)] * n
    blur, noise = config.blur * rng.random(n), 255 * config.noise * rng.random(n)
    quality = np.where(rng.random(n) < config.compression, rng.integers(*QUALITIES, n), 0)
    return [Degradation(float(b), float(s), int(q)) for b, s, q in zip(blur, noise, quality, strict=True)]


def degrade(image: NDArray[np.uint8], degradation: Degradation, rng: np.random.Generator) -> None:
    """Blur, then noise, then compression, of uint8 (size, size, 3) in place."""
    if degradation.blur > 0.1:  # less changes no pixel
        cv2.GaussianBlur(image, (0, 0), degradation.blur, dst=image)
    if degradation.noise:
        cv2.add(image, degradation.noise * _cut_noise(image.shape, rng), dst=image, dtype=cv2.CV_8U)
    if degradation.quality:
        options = (cv2.IMWRITE_JPEG_QUALITY, degradation.quality)
        content = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1]
        cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB, dst=image)


def _cut_noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Normal numbers with deviation 1 from a random place of a long table; drawing each anew takes 25 times as long."""
    size = math.prod(shape)
    table = _draw_normals(max(2**20, 4 * size))
    start = int(rng.integers(len(table) - size))
    return table[start : start + size].reshape(shape)


@cache
def _draw_normals(n: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(n, np.float32)


def lay_frame(image: NDArray[np.uint8], x: float, y: float, radius: float) -> None:
    """Blacken what lies outside a circle, with a rim of two pixels, in uint8 (size, size, 3) in place."""
    rows, columns = (np.arange(side, dtype=np.float32) for side in image.shape[:2])
    distance = cv2.sqrt(np.add.outer(np.square(rows - np.float32(y)), np.square(columns - np.float32(x))))
    seen = np.clip((radius - distance) * 127.5, 0, 255).astype(np.uint8)
    cv2.multiply(image, cv2.merge([seen] * 3), dst=image, scale=1 / 255)

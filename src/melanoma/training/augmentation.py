"""Random changes to training images: the only place where an image is changed at random."""

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.config import AugmentationConfig

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def augment(
    batch: NDArray[np.uint8], config: AugmentationConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A changed copy of uint8 (n, size, size, 3).

    Geometry is one affine map per image (rotation, shift, shear and zoom about the centre, as in Keras'
    ImageDataGenerator) with bilinear sampling and edge pixels repeated; colour is one linear map.
    """
    size = batch.shape[1]
    inverse_maps = draw_affine_maps(len(batch), size, config, rng)
    colour_maps = draw_colour_maps(len(batch), config, rng)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    changed = np.empty_like(batch)
    for image, inverse, colour, out in zip(batch, inverse_maps, colour_maps, changed, strict=True):
        cv2.warpAffine(image, inverse, (size, size), dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        if colour is not None:
            cv2.transform(out, colour, dst=out)
    return changed


def draw_affine_maps(
    n: int, size: int, config: AugmentationConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(n, 2, 3) maps from output to input pixels, x before y."""
    angle, shear = (np.deg2rad(limit) * rng.uniform(-1, 1, n) for limit in (config.rotation, config.shear))
    shift = config.shift * size * rng.uniform(-1, 1, (n, 2))
    zoom = 1 + config.zoom * rng.uniform(-1, 1, (n, 2))
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(n), np.ones(n)
    rotation = np.stack([cos, sin, -sin, cos], axis=1).reshape(n, 2, 2)
    shearing = np.stack([one, -np.sin(shear), zero, np.cos(shear)], axis=1).reshape(n, 2, 2)
    flip = np.where(rng.random((n, 2)) < 0.5, -1, 1) ** [config.horizontal_flip, config.vertical_flip]
    linear = rotation @ shearing * (zoom * flip)[:, None, :]
    centre = (size - 1) / 2
    offset = (rotation @ shift[:, :, None])[:, :, 0] + centre - linear.sum(axis=2) * centre
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def draw_colour_maps(
    n: int, config: AugmentationConfig, rng: np.random.Generator
) -> list[NDArray[np.float32] | None]:
    """(3, 4) maps of RGB and 1 to RGB; None where colour is left alone."""
    limits = (config.brightness, config.contrast, config.saturation)
    brightness, contrast, saturation = (1 + limit * rng.uniform(-1, 1, n) for limit in limits)
    if not any(limits):
        return [None] * n
    grey = np.tile(LUMA, (3, 1))
    return [
        np.column_stack([b * c * (s * np.eye(3) + (1 - s) * grey), np.full(3, b * (1 - c) * 127.5)]).astype(
            np.float32
        )
        for b, c, s in zip(brightness, contrast, saturation, strict=True)
    ]

"""A short vector for each image and each way of cropping it, such that copies of one photograph lie close.

Low frequencies of the discrete cosine transform of brightness and two colour differences, scaled so that fine
and coarse structure weigh alike, without the mean, of unit length. Turning or mirroring an image only swaps
and negates its coefficients, so all eight orientations come from one transform. The same holds for no data:
nothing is fitted, so what is said of a pair does not depend on the other images.
"""

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

Pixel = TypeVar("Pixel", bound=np.generic)

TURNS = 8  # quarter turns and mirror images
_SIDE = 24  # pixels at which the transform is taken
_KEPT = 8  # frequencies a side
_COLOUR_WEIGHT = 2.0
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of an image: `width` and `height` as shares of its sides, `x` and `y` its centre's offset."""

    width: float = 1.0
    height: float = 1.0
    x: float = 0.0
    y: float = 0.0

    def matrix(self, side: int) -> Floats:
        """Affine map (2, 3) from pixels of the crop, shown as `side` x `side`, to pixels of the whole."""
        left, upper = (1 - self.width) / 2 + self.x, (1 - self.height) / 2 + self.y
        return np.array(
            [
                [self.width, 0, left * side + (self.width - 1) / 2],
                [0, self.height, upper * side + (self.height - 1) / 2],
            ],
            dtype=np.float32,
        )


# What a centre crop of 4:3, 3:2 and their upright forms leaves of the squashed whole, and mild crops.
CROPS = (
    Crop(),
    Crop(width=3 / 4),
    Crop(width=2 / 3),
    Crop(height=3 / 4),
    Crop(height=2 / 3),
    Crop(0.88, 0.88),
    *(Crop(0.88, 0.88, x, y) for x in (-0.05, 0.05) for y in (-0.05, 0.05)),
)


def describe_crops(colour: Bytes) -> Floats:
    """Vectors of every crop of every image: RGB uint8 (n, s, s, 3) to (n, crops, d), each of unit length."""
    return np.stack([_to_vectors(transform(_crop(colour, crop))) for crop in CROPS], axis=1)


def transform(colour: Bytes | Floats) -> Floats:
    """Kept cosine coefficients of RGB images (n, s, s, 3): (n, 3, 8, 8)."""
    small = np.stack([_shrink(image) for image in colour]).astype(np.float32)
    planes = [small @ _LUMA, small[..., 0] - small[..., 1], small[..., 1] - small[..., 2]]
    spectrum = dctn(np.stack(planes, axis=1), axes=(2, 3), norm="ortho")
    return np.ascontiguousarray(spectrum[:, :, :_KEPT, :_KEPT], dtype=np.float32)


def describe_turned(spectrum: Floats, turn: int) -> Floats:
    """Vectors (n, d) of the images with coefficients (n, 3, 8, 8), turned as `turn_image` does."""
    if turn & 4:
        spectrum = np.swapaxes(spectrum, 2, 3)
    signs = (-1.0) ** np.arange(_KEPT, dtype=np.float32)
    across, down = (signs if turn & bit else np.ones_like(signs) for bit in (1, 2))
    return _to_vectors(spectrum * across * down[:, None])


def turn_image(image: NDArray[Pixel], turn: int) -> NDArray[Pixel]:
    """One of the eight orientations of an image (h, w, ...): bit 4 transposes, then 1 mirrors, 2 upends."""
    if turn & 4:
        image = np.swapaxes(image, 0, 1)
    if turn & 1:
        image = image[:, ::-1]
    if turn & 2:
        image = image[::-1]
    return np.ascontiguousarray(image)


def _shrink(image: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))


def _crop(colour: Bytes, crop: Crop) -> Bytes:
    if crop == Crop():
        return colour
    side = colour.shape[1]
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    matrix = crop.matrix(side)
    return np.stack(
        [
            cv2.warpAffine(image, matrix, (side, side), flags=how, borderMode=cv2.BORDER_REFLECT)
            for image in colour
        ]
    )


def _to_vectors(spectrum: Floats) -> Floats:
    """Weighted, flattened, of unit length; a plain image, which has no direction, stays near zero."""
    parts = [_weigh(spectrum[:, 0], _KEPT)]
    parts += [_COLOUR_WEIGHT * _weigh(spectrum[:, plane], _KEPT - 2) for plane in (1, 2)]
    vectors = np.concatenate(parts, axis=1)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(length, 1e-3), dtype=np.float32)


def _weigh(plane: Floats, highest: int) -> Floats:
    """Coefficients (n, d) whose row and column add up to at most `highest`, times their frequency."""
    rows, columns, weights = _layout(highest)
    return np.asarray(plane[:, rows, columns] * weights, dtype=np.float32)


@cache
def _layout(highest: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Rows, columns and frequencies of the coefficients that count, all but the mean."""
    rows, columns = np.nonzero(np.add.outer(np.arange(_KEPT), np.arange(_KEPT)) <= highest)
    rows, columns = rows[1:], columns[1:]
    return rows, columns, np.hypot(rows, columns).astype(np.float32)

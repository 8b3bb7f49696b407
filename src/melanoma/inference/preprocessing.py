"""Image to network input: the only definition, used in training, evaluation and prediction alike."""

from dataclasses import asdict, dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["squash", "crop"]
Scale = Literal["zero_one", "minus_one_one"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an RGB image becomes network input.

    `size`: side of the square network input, pixels. `fit`: `squash` resizes both sides to `size`,
    `crop` cuts the largest centred square first. `scale`: the range that 0..255 is mapped to.
    """

    size: int
    fit: Fit = "squash"
    scale: Scale = "zero_one"

    def to_dict(self) -> dict[str, int | str]:
        """The values as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, int | str]) -> Self:
        """The inverse of `to_dict`. Raises TypeError on a foreign key."""
        return cls(**values)  # type: ignore[arg-type]


def prepare(image: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.uint8]:
    """Geometry only: RGB uint8 (h, w, 3) to uint8 (size, size, 3), bilinear with antialiasing."""
    box = covered_box(image.shape[1], image.shape[0], spec)
    resized = Image.fromarray(image).resize((spec.size, spec.size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized, dtype=np.uint8)


def scale(batch: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """Values only: uint8 of any shape to float32 in [0, 1] or [-1, 1], whatever the pixels hold."""
    if spec.scale == "zero_one":
        return batch * np.float32(1 / 255)
    return batch * np.float32(1 / 127.5) - np.float32(1)


def covered_box(width: int, height: int, spec: Preprocessing) -> tuple[float, float, float, float]:
    """The part of an image that the network sees, as (left, upper, right, lower), pixels."""
    if spec.fit == "squash":
        return 0, 0, width, height
    side = min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side

"""Image to network input: the only definition, used in training, evaluation and prediction alike."""

from dataclasses import asdict, dataclass
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.inference.enhancement import Box, balance_colours, find_frame, remove_hair

Fit = Literal["squash", "crop"]
Scale = Literal["zero_one", "minus_one_one"]
Frame = Literal["keep", "crop"]
Hair = Literal["keep", "remove"]
Colour = Literal["keep", "shades_of_grey"]
_KINDS = {"fit": Fit, "scale": Scale, "frame": Frame, "hair": Hair, "colour": Colour}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an RGB image becomes network input.

    `size`: side of the square network input, pixels. `fit`: `squash` resizes both sides to `size`,
    `crop` cuts the largest centred square first. `scale`: the range that 0..255 is mapped to. `frame`: `crop` cuts
    the largest box inside a round black frame before anything else. `hair` and `colour`: see `enhancement`. Raises
    ValueError on a value that this version does not know.
    """

    size: int
    fit: Fit = "squash"
    scale: Scale = "zero_one"
    frame: Frame = "keep"
    hair: Hair = "keep"
    colour: Colour = "keep"

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if value not in get_args(kind):
                raise ValueError(f"{name} {value!r} is none of {', '.join(get_args(kind))}")

    def to_dict(self) -> dict[str, int | str]:
        """The values as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, int | str]) -> Self:
        """The inverse of `to_dict`. Raises TypeError on a foreign key, ValueError on a foreign value."""
        return cls(**values)  # type: ignore[arg-type]


def prepare(image: NDArray[np.uint8] | Image.Image, spec: Preprocessing) -> NDArray[np.uint8]:
    """RGB uint8 (h, w, 3) to uint8 (size, size, 3), bilinear with antialiasing; hair and colours as `spec` says.

    Hair is removed at twice the size, where it is still a line. An `image` that goes through here more than once is
    best made a picture first, with `as_picture`.
    """
    box: Box | None = find_box(image, spec)
    if spec.hair == "remove":
        image, box = remove_hair(_resize(image, 2 * spec.size, box)), None
    small = _resize(image, spec.size, box)
    return balance_colours(small) if spec.colour == "shades_of_grey" else small


def scale(batch: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """Values only: uint8 of any shape to float32 in [0, 1] or [-1, 1], whatever the pixels hold."""
    if spec.scale == "zero_one":
        return batch * np.float32(1 / 255)
    return batch * np.float32(1 / 127.5) - np.float32(1)


def find_box(image: NDArray[np.uint8] | Image.Image, spec: Preprocessing) -> Box:
    """The part of an image (h, w, 3) that the network sees, as (left, upper, right, lower), pixels."""
    framed = find_frame(np.asarray(image)) if spec.frame == "crop" else None
    left, upper, right, lower = framed or (0, 0, *_size(image))
    if spec.fit == "squash":
        return left, upper, right, lower
    side = min(right - left, lower - upper)
    left, upper = (left + right - side) / 2, (upper + lower - side) / 2
    return left, upper, left + side, upper + side


def as_picture(image: NDArray[np.uint8] | Image.Image) -> Image.Image:
    """RGB uint8 (h, w, 3) as what Pillow works on; one that is that already as it is."""
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


def _size(image: NDArray[np.uint8] | Image.Image) -> tuple[int, int]:
    return image.size if isinstance(image, Image.Image) else (image.shape[1], image.shape[0])


def _resize(image: NDArray[np.uint8] | Image.Image, side: int, box: Box | None) -> NDArray[np.uint8]:
    resized = as_picture(image).resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized, dtype=np.uint8)

"""A few images with their heat map and the lesion's outline, drawn by lot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.data.segmentation import segment
from melanoma.errors import ImageError
from melanoma.evaluation.thumbnails import SIDE, encode
from melanoma.inference.explain import overlay
from melanoma.inference.images import load
from melanoma.inference.network_file import Box
from melanoma.inference.preprocessing import Preprocessing

SHOWN: Final = 8
_GAP: Final = 4  # pixels of white between image and heat
_OUTLINE: Final = (0, 255, 255)  # cyan: neither skin nor heat has it

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Example:
    """One image of the strip; `number` is its row. `uri` holds the image and, beside it, heat and outline."""

    number: int
    uri: str


def choose_examples(
    y_true: NDArray[np.int64], fit: NDArray[np.bool_], group: NDArray[np.int64], seed: int
) -> list[int]:
    """Row numbers of at most SHOWN images that are `fit` (n,), by lot, of the classes in turn and one of a group."""
    order = [int(row) for row in np.random.default_rng((seed, 4)).permutation(len(y_true)) if fit[row]]
    first = {int(group[row]): row for row in reversed(order)}
    queues = [
        [row for row in order if y_true[row] == value and first[int(group[row])] == row]
        for value in (1, 0, -1)
    ]
    chosen: list[int] = []
    while any(queues) and len(chosen) < SHOWN:
        chosen += [queue.pop(0) for queue in queues if queue]
    return sorted(chosen[:SHOWN], key=lambda row: (-int(y_true[row]), order.index(row)))


def draw_examples(
    numbers: Sequence[int],
    paths: Sequence[str],
    heats: Sequence[NDArray[np.float32]],
    spec: Preprocessing,
    box: Box,
) -> list[Example]:
    """The strip; a file that is gone since is left out. `paths` and `heats` in the order of `numbers`."""
    examples = []
    for number, path, heat in zip(numbers, paths, heats, strict=True):
        try:
            image = load(path)
        except ImageError:
            continue
        examples.append(Example(number, encode(Image.fromarray(_draw(image, heat, spec, box)))))
    return examples


def _draw(image: Pixels, heat: NDArray[np.float32], spec: Preprocessing, box: Box) -> Pixels:
    """The image, and beside it the heat and the outline over it, each with a longer side of SIDE pixels."""
    lesion = segment(image).lesion
    small = [_resize(picture) for picture in (image, overlay(image, heat, spec, box))]
    height, width = small[0].shape[:2]
    mask = cv2.resize(lesion.astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(small[1], outlines, -1, _OUTLINE, 1)
    gap = np.full((height, _GAP, 3), 255, dtype=np.uint8)
    return np.hstack([small[0], gap, small[1]])


def _resize(picture: Pixels) -> Pixels:
    scale = SIDE / max(picture.shape[:2])
    size = (max(round(scale * picture.shape[1]), 1), max(round(scale * picture.shape[0]), 1))
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), dtype=np.uint8)

"""What happens to the probability when the hottest part of an image is hidden, or a part anywhere else."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from melanoma.inference.explain import spread
from melanoma.inference.network_file import Box
from melanoma.inference.predictor import Predictor
from melanoma.inference.preprocessing import find_box

HIDDEN: Final = 0.1  # of what the network sees
PLACES: Final = 5  # elsewhere, for each image

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def measure_hiding(
    predictor: Predictor, image: Pixels, heat: NDArray[np.float32], rng: np.random.Generator
) -> tuple[float, list[float]]:
    """`y_prob` with the hottest tenth of the image hidden, and with that same shape hidden at PLACES random places.

    Hidden means painted in the image's median colour. Single pixels at random would be a dust that networks mind
    far more than one patch; the same shape moved leaves the place as the only difference. Fewer pixels are hidden
    where fewer have any heat. `image` RGB uint8 (h, w, 3).
    """
    seen = find_box(image, predictor.bundle.preprocessing)
    colour = np.median(image.reshape(-1, 3), axis=0).astype(np.uint8)
    hot = find_hottest(heat, image.shape[:2], seen, predictor.heat_box)
    elsewhere = [_judge(predictor, image, _shift(hot, seen, rng), colour) for _ in range(PLACES)]
    return _judge(predictor, image, hot, colour), elsewhere


def find_hottest(heat: NDArray[np.float32], shape: tuple[int, int], seen: Box, box: Box) -> Mask:
    """The hottest tenth of what the network sees of an image of `shape`, bool (h, w); none without heat."""
    picture = spread(heat, shape, seen, box)
    values = picture[_view(seen)].ravel()
    kept = values.size - max(1, round(HIDDEN * values.size))
    return np.asarray((picture >= np.partition(values, kept)[kept]) & (picture > 0))


def _view(seen: Box) -> tuple[slice, slice]:
    left, upper, right, lower = (round(edge) for edge in seen)
    return slice(upper, lower), slice(left, right)


def _shift(mask: Mask, seen: Box, rng: np.random.Generator) -> Mask:
    """The same shape elsewhere in what the network sees; what leaves it at one edge comes in at the other."""
    view = _view(seen)
    inside = mask[view]
    moved = np.zeros_like(mask)
    moved[view] = np.roll(inside, rng.integers(inside.shape), axis=(0, 1))
    return moved


def _judge(predictor: Predictor, image: Pixels, hidden: Mask, colour: Pixels) -> float:
    changed = image.copy()
    changed[hidden] = colour
    return float(predictor.bundle.calibration.transform(predictor.run(changed).logit)[0])

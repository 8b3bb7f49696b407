"""Two images in one, so that rare ones are not learnt by heart: MixUp and CutMix."""

import numpy as np
from numpy.typing import NDArray

from melanoma.config import AugmentationConfig

Floats = NDArray[np.float32]
Mixed = tuple[Floats, Floats, Floats]
MIXUP_SHAPE = 0.4  # of the beta distribution: mostly nearly one of the two


def mix(
    pixels: Floats, y_true: Floats, diagnosis: Floats, config: AugmentationConfig, rng: np.random.Generator
) -> Mixed:
    """The batch, or with the probabilities of `config` each of its images mixed with another one.

    `pixels` (n, h, w, 3) scaled, `y_true` (n, 1) in [0, 1], `diagnosis` (n, k) shares, all 0 where it is unknown; the
    labels are mixed in the same proportion. MixUp: Zhang et al. 2018, equation 2. CutMix: Yun et al. 2019, equation 1.
    """
    chance = rng.random()
    if chance >= config.mixup + config.cutmix:
        return pixels, y_true, diagnosis
    others = rng.permutation(len(pixels))
    if chance < config.mixup:
        share = np.float32(rng.beta(MIXUP_SHAPE, MIXUP_SHAPE))
        pixels = share * pixels + (1 - share) * pixels[others]
    else:
        pixels, share = _cut_in(pixels, others, rng)
    return pixels, _blend(y_true, others, share), _blend_known(diagnosis, others, share)


def _cut_in(pixels: Floats, others: NDArray[np.int64], rng: np.random.Generator) -> tuple[Floats, np.float32]:
    """A square of the other images in the same place, and the share that is left of each image."""
    size = pixels.shape[1]
    side = int(size * np.sqrt(rng.random()))
    top, left = rng.integers(0, size - side + 1, 2)
    cut = pixels.copy()
    cut[:, top : top + side, left : left + side] = pixels[others, top : top + side, left : left + side]
    return cut, np.float32(1 - (side / size) ** 2)


def _blend(values: Floats, others: NDArray[np.int64], share: np.float32) -> Floats:
    return share * values + (1 - share) * values[others]


def _blend_known(diagnosis: Floats, others: NDArray[np.int64], share: np.float32) -> Floats:
    """Unknown where either of the two is."""
    known = diagnosis.sum(axis=1, keepdims=True) > 0
    return np.where(known & known[others], _blend(diagnosis, others, share), np.float32(0))

"""Which images an epoch shows, and in what order."""

import numpy as np
from numpy.typing import NDArray

from melanoma.config import TrainingConfig

Ints = NDArray[np.int64]


def count_draws(images: int, config: TrainingConfig) -> int:
    """How many images one epoch shows, of so many."""
    return config.draws or images if config.draw == "balanced" else images


def draw_order(
    y_true: NDArray[np.float32],
    source: Ints,
    diagnosis: Ints,
    config: TrainingConfig,
    rng: np.random.Generator,
) -> Ints:
    """Row numbers (m,) of the images of one epoch. `y_true` 0/1, `source` and `diagnosis` are numbers, all (n,).

    Balanced, a source is drawn in proportion to the square root of its size, each class within it alike, and the
    diagnoses of a class by the square root of their number, so that common ones do not crowd out the rest. No image
    comes up again before all of its kind did.
    """
    if config.draw == "every":
        return rng.permutation(len(y_true))
    columns = np.stack([source, y_true.astype(np.int64), diagnosis])
    kinds, kind, size = np.unique(columns, axis=1, return_inverse=True, return_counts=True)
    quotas = rng.multinomial(count_draws(len(y_true), config), _share(kinds, size))
    kind = kind.ravel()
    drawn = [_draw(np.flatnonzero(kind == number), int(quota), rng) for number, quota in enumerate(quotas)]
    return rng.permutation(np.concatenate(drawn))


def _share(kinds: Ints, size: Ints) -> NDArray[np.float64]:
    """How often each of the `kinds` (source, class, diagnosis) (3, k) of so many images is drawn, (k,), sum 1."""
    share = np.sqrt(size)
    for number in np.unique(kinds[0]):
        source = kinds[0] == number
        for y_true in (0, 1):
            own = source & (kinds[1] == y_true)
            share[own] /= np.sum(share[own])
        share[source] *= np.sqrt(np.sum(size[source])) / np.sum(share[source])
    return np.asarray(share / np.sum(share))


def _draw(members: Ints, quota: int, rng: np.random.Generator) -> Ints:
    """So many of the members, in rounds through all of them."""
    rounds = -(-quota // len(members))
    return np.concatenate([members[:0], *(rng.permutation(members) for _ in range(rounds))])[:quota]

"""Which images an epoch shows, and in what order."""

import numpy as np
from numpy.typing import NDArray

from melanoma.config import TrainingConfig

Ints = NDArray[np.int64]


def count_draws(images: int, config: TrainingConfig) -> int:
    """How many images one epoch shows, of so many."""
    return config.draws or images if config.draw == "balanced" else images


def draw_order(
    y_true: NDArray[np.float32], source: Ints, config: TrainingConfig, rng: np.random.Generator
) -> Ints:
    """Row numbers (m,) of the images of one epoch. `y_true` 0/1 (n,), `source` numbered from 0 (n,).

    Balanced, a source is drawn in proportion to the square root of its size, and each class within it alike; no
    image comes up again before all of its class and source did.
    """
    if config.draw == "every":
        return rng.permutation(len(y_true))
    kinds, kind = np.unique(np.stack([source, y_true.astype(np.int64)]), axis=1, return_inverse=True)
    share = np.sqrt(np.bincount(source))[kinds[0]] / np.bincount(kinds[0])[kinds[0]]
    quotas = rng.multinomial(count_draws(len(y_true), config), share / share.sum())
    drawn = [_draw(np.flatnonzero(kind == number), int(quota), rng) for number, quota in enumerate(quotas)]
    return rng.permutation(np.concatenate(drawn))


def _draw(members: Ints, quota: int, rng: np.random.Generator) -> Ints:
    """So many of the members, in rounds through all of them."""
    rounds = -(-quota // len(members))
    return np.concatenate([members[:0], *(rng.permutation(members) for _ in range(rounds))])[:quota]

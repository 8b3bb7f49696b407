"""Some images of each class, whole groups at a time."""

import numpy as np
from numpy.typing import NDArray


def draw_images(
    y_true: NDArray[np.int64], group: NDArray[np.int64], per_class: int, seed: int
) -> NDArray[np.int64]:
    """Row numbers, ascending, of at most `per_class` images of every value of `y_true` (n,); 0 takes all.

    Groups come in a random order, and each with all of its images of the class until there are enough.
    """
    if per_class == 0:
        return np.arange(len(y_true))
    rng = np.random.default_rng(seed)
    rank = rng.permutation(int(group.max()) + 1)[group]
    drawn = []
    for value in np.unique(y_true):
        rows = np.flatnonzero(y_true == value)
        drawn.append(rows[np.argsort(rank[rows], kind="stable")][:per_class])
    return np.sort(np.concatenate(drawn))

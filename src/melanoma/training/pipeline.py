"""Batches for training and validation, each a function of (seed, epoch, index) alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melanoma.config import Recipe
from melanoma.data.diagnoses import DIAGNOSES
from melanoma.inference.preprocessing import Preprocessing, scale
from melanoma.training.augmentation import augment
from melanoma.training.cache import ImageCache
from melanoma.training.draws import draw_order
from melanoma.training.mixing import mix

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
TrainingBatch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class ImageSet:
    """Rows of a cache with their labels: `rows` int64 (n,), `y_true` 0/1 float32 (n,).

    `source`: a number for each collection, `diagnosis`: see `data.diagnoses.number_diagnoses`, both int64 (n,).
    """

    cache: ImageCache
    rows: NDArray[np.int64]
    y_true: NDArray[np.float32]
    spec: Preprocessing
    source: NDArray[np.int64]
    diagnosis: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, index: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Images uint8 (n, size, size, 3) and labels float32 (n, 1)."""
        return self.cache.read(self.rows[index]), self.y_true[index, None]


def training_batches(images: ImageSet, recipe: Recipe, *, seed: int, epoch: int) -> Iterator[TrainingBatch]:
    """One epoch: images in an order and with changes drawn from (seed, epoch, batch).

    Each batch has labels (n, 1) and shares of the `DIAGNOSES` (n, k), all 0 where the diagnosis is unknown.
    """
    rng = np.random.default_rng([seed, epoch])
    order = draw_order(images.y_true, images.source, images.diagnosis, recipe.training, rng)
    batch_size = recipe.training.batch_size
    for number, start in enumerate(range(0, len(order), batch_size)):
        index = order[start : start + batch_size]
        pixels, y_true = images.batch(index)
        changed = augment(pixels, recipe.augmentation, np.random.default_rng([seed, epoch, number]))
        batch = scale(changed, images.spec), y_true, _spread(images.diagnosis[index])
        yield mix(*batch, recipe.augmentation, np.random.default_rng([seed, epoch, number, 1]))


def _spread(diagnosis: NDArray[np.int64]) -> NDArray[np.float32]:
    """One column a diagnosis, (n, k), from numbers (n,)."""
    spread: NDArray[np.float32] = np.equal.outer(diagnosis, np.arange(len(DIAGNOSES))).astype(np.float32)
    return spread


def plain_batches(images: ImageSet, batch_size: int) -> Iterator[Batch]:
    """Every image once, in order, unchanged."""
    for start in range(0, len(images), batch_size):
        pixels, y_true = images.batch(np.arange(start, min(start + batch_size, len(images))))
        yield scale(pixels, images.spec), y_true

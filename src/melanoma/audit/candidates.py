"""Which images may show the same thing: nearest neighbours among descriptors, found approximately.

Every image is in a graph index (HNSW: Malkov & Yashunin 2018, in faiss) once for each way of cropping it, and
is looked up in each of its eight orientations, so that a pair is found from whichever side was cropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from melanoma.audit.descriptors import CROPS, TURNS, describe_crops, describe_turned, transform

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

NEIGHBOURS = 8  # partners looked at for each image
_HITS = 20  # of one search: several crops of one partner, and the image itself, may come before another
_LINKS = 16  # of a node in the index
_EFFORT = 64  # nodes that a search keeps in view
_BATCH = 2048


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Pairs to compare, each once: image `first`, turned by `turn`, on the part `crop` of image `second`.

    All (m,); `likeness` is the cosine of their descriptors.
    """

    first: Ints
    second: Ints
    turn: Ints
    crop: Ints
    likeness: Floats

    def __len__(self) -> int:
        return len(self.first)


def find_candidates(
    colour: NDArray[np.uint8], *, progress: Callable[[int, int], None] | None = None
) -> Candidates:
    """The nearest neighbours of each RGB image, uint8 (n, s, s, 3). Nothing random: same images, same pairs."""
    import faiss

    spectrum, index = _build(colour, faiss, progress)
    parts = []
    for start in range(0, len(colour), _BATCH):
        parts.append(_search(index, spectrum[start : start + _BATCH], start, len(colour)))
        if progress is not None:
            progress(len(colour) + min(start + _BATCH, len(colour)), 2 * len(colour))
    return _merge(np.concatenate(parts, axis=1))


def align(colour: NDArray[np.uint8], pairs: Ints) -> Candidates:
    """The best orientation and crop of given pairs (m, 2), looked for from both sides."""
    if len(pairs) == 0:
        return _merge(np.empty((5, 0)))
    used, place = np.unique(pairs, return_inverse=True)
    spectrum, crops = transform(colour[used]), describe_crops(colour[used])
    turned = np.stack([describe_turned(spectrum, turn) for turn in range(TURNS)], axis=1)
    places = place.reshape(pairs.shape)
    rows = []
    for first, second in (places.T, places.T[::-1]):
        likeness = np.einsum("mtd,mcd->mtc", turned[first], crops[second]).reshape(len(pairs), -1)
        best = likeness.argmax(axis=1)
        found = [used[first], used[second], best // len(CROPS), best % len(CROPS), likeness.max(axis=1)]
        rows.append(np.stack([column.astype(np.float64) for column in found]))
    return _merge(np.concatenate(rows, axis=1))


def _build(
    colour: NDArray[np.uint8], faiss: Any, progress: Callable[[int, int], None] | None
) -> tuple[Floats, Any]:
    """Coefficients of all images, and the index of their crops: entry i is crop i % CROPS of i // CROPS."""
    index = None
    spectra = []
    for start in range(0, len(colour), _BATCH):
        batch = colour[start : start + _BATCH]
        spectra.append(transform(batch))
        vectors = describe_crops(batch).reshape(len(batch) * len(CROPS), -1)
        if index is None:
            index = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = _EFFORT
            index.hnsw.efSearch = _EFFORT
        index.add(vectors)
        if progress is not None:
            progress(min(start + _BATCH, len(colour)), 2 * len(colour))
    return np.concatenate(spectra), index


def _search(index: Any, spectrum: Floats, start: int, total: int) -> NDArray[np.float64]:
    """Rows first, second, turn, crop, likeness (5, m) of the images from `start` on."""
    rows = []
    for turn in range(TURNS):
        likeness, entry = index.search(describe_turned(spectrum, turn), min(_HITS, total * len(CROPS)))
        first = np.repeat(np.arange(start, start + len(spectrum)), entry.shape[1])
        found = np.stack([first, *np.divmod(entry.ravel(), len(CROPS)), likeness.ravel()]).astype(np.float64)
        found = np.insert(found, 2, turn, axis=0)
        rows.append(found[:, (entry.ravel() >= 0) & (found[0] != found[1])])
    return _nearest(np.concatenate(rows, axis=1), NEIGHBOURS)


def _nearest(rows: NDArray[np.float64], neighbours: int) -> NDArray[np.float64]:
    """Each partner of an image once, at its best, and of those the nearest few."""
    first, second, likeness = rows[0], rows[1], rows[4]
    rows = rows[:, np.lexsort((-likeness, second, first))]
    rows = rows[:, _starts(rows[:2])]
    rows = rows[:, np.lexsort((rows[1], -rows[4], rows[0]))]
    begins = _starts(rows[:1])
    rank = np.arange(rows.shape[1]) - np.maximum.accumulate(np.where(begins, np.arange(rows.shape[1]), 0))
    return rows[:, rank < neighbours]


def _merge(rows: NDArray[np.float64]) -> Candidates:
    """Each pair once, whichever image was looked up, at its best."""
    low, high = np.minimum(rows[0], rows[1]), np.maximum(rows[0], rows[1])
    order = np.lexsort((rows[0], -rows[4], high, low))
    rows, pairs = rows[:, order], np.stack([low, high])[:, order]
    rows = rows[:, _starts(pairs)]
    first, second, turn, crop = rows[:4].astype(np.int64)
    return Candidates(first, second, turn, crop, rows[4].astype(np.float32))


def _starts(columns: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a column (k, m) differs from the one before."""
    if columns.shape[1] == 0:
        return np.zeros(0, dtype=np.bool_)
    return np.concatenate([[True], (columns[:, 1:] != columns[:, :-1]).any(axis=0)])

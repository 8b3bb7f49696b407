"""Compares many candidate pairs, coarse to fine, on all cores."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from melanoma.audit.candidates import Candidates
from melanoma.audit.descriptors import CROPS
from melanoma.audit.registration import Levels, Match, compare_coarsely, compare_finely
from melanoma.data.workers import open_pool
from melanoma.errors import OutputError

_BATCH = 512
_PARTS = ("grey", "coarse", "middle")


@dataclass(frozen=True, slots=True)
class Found:
    """Two images by their position in `Levels`, `first` turned by `turn` lying on `second`."""

    first: int
    second: int
    turn: int
    match: Match


def keep(folder: Path, grey: NDArray[np.uint8], rows: NDArray[np.int64], levels: Levels) -> None:
    """Put the images to compare where every process can read them: rows `rows` of `grey`, prepared as `levels`.

    Raises OutputError.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *grey.shape[1:])}
    try:
        with (folder / "grey.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for row in rows:  # not mapped: a full disk is then an error and not the end of the process
                file.write(grey[row].tobytes())
        np.save(folder / "coarse.npy", levels.coarse)
        np.save(folder / "middle.npy", levels.middle)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; make room") from error


def compare(
    folder: Path, near: Candidates, places: NDArray[np.int64], progress: Callable[[int, int], None]
) -> list[Found]:
    """What candidates among the kept images come to; those that cannot be alike are left out.

    Candidates are numbers of `places`, which are positions among the kept images.
    """
    columns = [places[near.first], places[near.second], near.turn, near.crop]
    tasks = np.stack(columns, axis=1) if len(near) else np.empty((0, 4), np.int64)
    batches = [tasks[start : start + _BATCH] for start in range(0, len(tasks), _BATCH)]
    found: list[Found] = []
    with open_pool(len(batches)) as pool:
        parts = pool.map(_compare_some, [folder] * len(batches), batches)
        for number, part in enumerate(parts, start=1):
            found += part
            progress(min(number * _BATCH, len(tasks)), len(tasks))
    _open.cache_clear()
    return found


def _compare_some(folder: Path, tasks: NDArray[np.int64]) -> list[Found]:
    grey, levels = _open(folder)
    found = []
    for first, second, turn, crop in tasks.tolist():
        matrix = compare_coarsely(levels, first, second, turn, CROPS[crop])
        if matrix is None:
            continue
        match = compare_finely(np.asarray(grey[first]), np.asarray(grey[second]), turn, matrix)
        if match is not None:
            found.append(Found(first, second, turn, match))
    return found


@lru_cache(maxsize=1)
def _open(folder: Path) -> tuple[NDArray[np.uint8], Levels]:
    grey, coarse, middle = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _PARTS)
    return grey, Levels(coarse, middle)

"""Many image files on all cores: by threads, or in processes of their own where there are enough images.

A fifth of the work on an image is Python, of which only one thread of a process runs at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from melanoma.ahead import map_ahead
from melanoma.inference.prediction import Prediction
from melanoma.inference.predictor import Draw, Predictor
from melanoma.inference.sources import ImageFile
from melanoma.processes import count_workers, open_pool

FEWEST: Final = 300  # images below which starting processes takes longer than it saves
_TOGETHER: Final = 8  # images that a process is sent at once
_AHEAD: Final = 3  # times that many for each process, so that none waits

Save = Callable[[NDArray[np.uint8], Path], None]
Job = tuple[ImageFile, Draw | None]

_recreate: list[Callable[[], Predictor]] = []  # in a process of `_score_apart`: what makes its predictor


def score_files(
    predictor: Predictor,
    files: Sequence[ImageFile],
    *,
    overlays: Sequence[Path] | None = None,
    save: Save | None = None,
) -> Iterator[Prediction]:
    """The rows of `Predictor.predict_file`, in order, as they get done.

    With `overlays`, a place for each file, `save` gets the overlay of every image that can be read, RGB uint8
    (h, w, 3), and its place; other processes must be able to import it. Raises what `save` raises, BundleError when
    the bundle is replaced before all processes have read it, WorkerError when one of them is killed.
    """
    draws: Sequence[Draw | None] = [None] * len(files)
    if overlays is not None and save is not None:
        draws = [partial(_save_at, save, target) for target in overlays]
    jobs = list(zip(files, draws, strict=True))
    if len(jobs) >= FEWEST and count_workers(len(jobs)) > 1:
        yield from _score_apart(predictor, jobs)
    else:
        yield from predictor.score_files(files, draws=draws)


def _save_at(save: Save, target: Path, picture: NDArray[np.uint8]) -> None:
    save(picture, target)


def _score_apart(predictor: Predictor, jobs: Sequence[Job]) -> Iterator[Prediction]:
    parts = (jobs[start : start + _TOGETHER] for start in range(0, len(jobs), _TOGETHER))
    with open_pool(len(jobs), few=FEWEST, prepare=partial(_remember, predictor.recreate)) as pool:
        for rows in map_ahead(pool, _score, parts, ahead=_AHEAD * count_workers(len(jobs))):
            yield from rows


def _remember(recreate: Callable[[], Predictor]) -> None:
    """Make no predictor yet: what it raises is then a job's error, and not the end of the process."""
    _recreate.append(recreate)


def _score(jobs: Sequence[Job]) -> list[Prediction]:
    predictor = _own_predictor()
    return [predictor.predict_file(file, draw=draw) for file, draw in jobs]


@cache
def _own_predictor() -> Predictor:
    return _recreate[0]()

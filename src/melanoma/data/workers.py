"""Jobs of OpenCV and NumPy on all cores."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial

import cv2

from melanoma import processes

_FEW = 4  # jobs below which starting processes takes longer than the work


@contextmanager
def open_pool(jobs: int) -> Iterator[Executor]:
    """Where so many jobs run, see `processes.open_pool`. Raises WorkerError when a process is killed.

    OpenCV works without threads of its own meanwhile, so that the jobs have the cores to themselves.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with processes.open_pool(jobs, few=_FEW, prepare=partial(cv2.setNumThreads, 1)) as pool:
            yield pool
    finally:
        cv2.setNumThreads(before)

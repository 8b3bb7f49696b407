"""Threads for work that lets go of the interpreter: reading images, running a network."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_jobs(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """The results in order, one job a core at once; Ctrl-C waits only for the jobs in hand.

    `progress` is called with (jobs done, jobs in all).
    """
    results = []
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for result in pool.map(work, jobs):
            results.append(result)
            if progress is not None:
                progress(len(results), len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def map_lazily(work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
    """The results in order, one job a core at once; of the jobs no more than these are made ahead."""
    waiting: deque[Future[Result]] = deque()
    workers = os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

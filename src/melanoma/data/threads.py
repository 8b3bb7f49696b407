"""Threads for work that lets go of the interpreter: reading images, running a network."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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

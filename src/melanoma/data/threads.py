"""Threads for work that lets go of the interpreter: reading images, running a network."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from melanoma.ahead import map_ahead
from melanoma.processes import count_cores

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
    pool = ThreadPoolExecutor(count_cores())
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
    pool = ThreadPoolExecutor(count_cores())
    try:
        yield from map_ahead(pool, work, jobs, ahead=count_cores())
    finally:
        pool.shutdown(cancel_futures=True)

"""A few threads that judge images, behind a queue that has an end."""

import asyncio
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from melanoma.errors import RefusalError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Job(Generic[Item, Result]):
    """Work on one `item`. `together` does it for several at once: jobs with the same one may share a micro-batch."""

    together: Callable[[Sequence[Item]], Sequence[Result]]
    item: Item


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job[Any, Any]
    future: Future[Any]


class Pool:
    """`workers` threads and `places` for jobs, those in hand included.

    Once a micro-batch waits for every thread, jobs are taken `batch` at a time, in the order in which they came and
    whoever's they are; until then one at a time, side by side, so that nothing waits for a batch to fill.
    """

    def __init__(self, workers: int, places: int, batch: int = 1) -> None:
        self._executor = ThreadPoolExecutor(workers, "judge")
        self._workers = workers
        self._places = places
        self._batch = batch
        self._queue: deque[_Waiting] = deque()
        self._lock = threading.Lock()
        self._taken = 0
        self._usual = 0.05  # seconds a job; soon replaced by what is measured

    @property
    def waiting(self) -> int:
        """How many jobs are accepted and not done."""
        return self._taken

    def check(self, jobs: int = 1) -> None:
        """Raise RefusalError when so many more have no place."""
        if self._taken + jobs > self._places:
            seconds = math.ceil(self._taken * self._usual / self._workers)
            raise RefusalError(
                f"{self._taken} images are waiting, and no more than {self._places} may; try again later",
                503,
                min(max(seconds, 1), 60),
            )

    async def run(
        self, jobs: Sequence[Job[Any, Result]], seconds: float, gone: Awaitable[object]
    ) -> list[Result]:
        """The results in order. Once nobody waits for them any more, jobs that have not begun are dropped.

        Raises RefusalError when not all have a place, take longer than `seconds`, or when `gone` comes before them.
        """
        left = asyncio.ensure_future(gone)
        futures: list[Future[Result]] = []
        try:
            futures = self._submit(jobs)
            results = asyncio.gather(*map(asyncio.wrap_future, futures))
            awaited: set[asyncio.Future[Any]] = {results, left}
            await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if results.done():
                return results.result()
            results.cancel()
            if left.done():  # nobody will read it; it is for the log
                raise RefusalError("the client has gone", 400)
            raise RefusalError(f"not done within {seconds:g} seconds; try fewer images", 504)
        finally:
            left.cancel()
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Finish what was accepted, and end the threads."""
        self._executor.shutdown(wait=True)

    def _submit(self, jobs: Sequence[Job[Any, Result]]) -> list[Future[Result]]:
        waiting = [_Waiting(job, Future()) for job in jobs]
        with self._lock:
            self.check(len(jobs))
            self._taken += len(jobs)
            self._queue.extend(waiting)
        for one in waiting:
            one.future.add_done_callback(self._give_back)
            self._executor.submit(self._work)
        return [one.future for one in waiting]

    def _work(self) -> None:
        """Do what is next, if another thread has not taken it with its own."""
        batch = [one for one in self._take() if one.future.set_running_or_notify_cancel()]
        if batch:
            began = time.perf_counter()
            _do(batch)
            self._usual += 0.1 * ((time.perf_counter() - began) / len(batch) - self._usual)

    def _take(self) -> list[_Waiting]:
        """The next job, or a micro-batch."""
        with self._lock:
            while self._queue and self._queue[0].future.cancelled():
                self._queue.popleft()
            if not self._queue:
                return []
            together = self._queue[0].job.together
            like = itertools.takewhile(lambda one: one.job.together == together, self._queue)
            whole = len(self._queue) >= self._batch * self._workers
            n = len(list(itertools.islice(like, self._batch))) if whole else 1
            return [self._queue.popleft() for _ in range(n)]

    def _give_back(self, _: Future[Result]) -> None:
        with self._lock:
            self._taken -= 1


def _do(batch: Sequence[_Waiting]) -> None:
    """Do jobs together; when that fails, each alone, so that none fails for another's sake."""
    try:
        results = batch[0].job.together([one.job.item for one in batch])
    except BaseException as error:
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        for one in batch:
            _do([one])
    else:
        for one, result in zip(batch, results, strict=True):
            one.future.set_result(result)

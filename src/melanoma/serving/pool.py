"""A few threads that judge images, behind a queue that has an end."""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from melanoma.errors import RefusalError

Result = TypeVar("Result")


class Pool:
    """`workers` threads and `places` for jobs, those in hand included.

    The network takes one image at a time a thread, so what came in together is worked off side by side.
    """

    def __init__(self, workers: int, places: int) -> None:
        self._executor = ThreadPoolExecutor(workers, "judge")
        self._workers = workers
        self._places = places
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
        self, jobs: Sequence[Callable[[], Result]], seconds: float, gone: Awaitable[object]
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

    def _submit(self, jobs: Sequence[Callable[[], Result]]) -> list[Future[Result]]:
        with self._lock:
            self.check(len(jobs))
            self._taken += len(jobs)
        futures = [self._executor.submit(self._work, job) for job in jobs]
        for future in futures:
            future.add_done_callback(self._give_back)
        return futures

    def _work(self, job: Callable[[], Result]) -> Result:
        began = time.perf_counter()
        try:
            return job()
        finally:
            self._usual += 0.1 * (time.perf_counter() - began - self._usual)

    def _give_back(self, _: Future[Result]) -> None:
        with self._lock:
            self._taken -= 1

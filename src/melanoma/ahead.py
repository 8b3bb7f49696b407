"""Work done ahead of whoever waits for it, and no further than that."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Job = TypeVar("Job")
Result = TypeVar("Result")


def map_ahead(
    pool: Executor, work: Callable[[Job], Result], jobs: Iterable[Job], *, ahead: int
) -> Iterator[Result]:
    """The results in order; no more than `ahead` jobs are begun beyond the one whose result is waited for."""
    waiting: deque[Future[Result]] = deque()
    for job in jobs:
        waiting.append(pool.submit(work, job))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def prefetch(items: Iterable[T], depth: int = 4) -> Iterator[Iterator[T]]:
    """The same items, made ahead by a thread while the caller works; at most `depth` wait.

    An exception in the thread is raised in the caller; leaving the context early ends the thread.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, waiting, stopped), daemon=True)
    thread.start()
    try:
        yield _consume(waiting)
    finally:
        stopped.set()
        thread.join()


@dataclass(frozen=True)
class _End:
    """Nothing more comes; `error` says why when it is not for lack of items."""

    error: BaseException | None = None


def _consume(waiting: "queue.Queue[T | _End]") -> Iterator[T]:
    while not isinstance(item := waiting.get(), _End):
        yield item
    if item.error:
        raise item.error


def _produce(items: Iterable[T], waiting: "queue.Queue[T | _End]", stopped: threading.Event) -> None:
    end = _End()
    try:
        for item in items:
            if not _put(waiting, item, stopped):
                return
    except BaseException as error:  # handed to the caller's thread
        end = _End(error)
    _put(waiting, end, stopped)


def _put(waiting: "queue.Queue[T | _End]", item: "T | _End", stopped: threading.Event) -> bool:
    """Wait for room, but not beyond `stopped`. True when the item was taken."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False

"""A few threads over many items, left at once when the work is to stop."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

_PARTING = 2.0  # seconds that threads under way are given to end

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_parallel(
    work: Callable[[Item], Made], items: Sequence[Item], stop: Callable[[], object], *, threads: int
) -> Generator[tuple[Item, Made]]:
    """Items with what `work` made of them, as they get done. Raises what `work` raises.

    An iterator that is closed early, by Ctrl-C too, calls `stop`, which should make the work under way end. The
    threads are daemons, unlike those of an executor: one that hangs on a silent server must not hold up the
    end of the process.
    """
    waiting: SimpleQueue[Item] = SimpleQueue()
    done: SimpleQueue[tuple[Item, Future[Made]]] = SimpleQueue()
    for item in items:
        waiting.put(item)
    crew = [threading.Thread(target=_serve, args=(work, waiting, done), daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()
    finished = False
    try:
        for _ in items:
            item, future = done.get()
            yield item, future.result()
        finished = True
    finally:
        if not finished:
            _drain(waiting)
            stop()
        _part(crew)


def _serve(
    work: Callable[[Item], Made],
    waiting: "SimpleQueue[Item]",
    done: "SimpleQueue[tuple[Item, Future[Made]]]",
) -> None:
    """Take items until there are none."""
    while True:
        try:
            item = waiting.get_nowait()
        except Empty:
            return
        future: Future[Made] = Future()
        try:
            future.set_result(work(item))
        except BaseException as error:
            future.set_exception(error)
        done.put((item, future))


def _drain(waiting: "SimpleQueue[Item]") -> None:
    while True:
        try:
            waiting.get_nowait()
        except Empty:
            return


def _part(crew: Sequence[threading.Thread]) -> None:
    until = time.monotonic() + _PARTING
    for thread in crew:
        thread.join(max(until - time.monotonic(), 0.0))

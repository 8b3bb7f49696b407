"""Jobs in processes of their own, stopped by Ctrl-C and never left behind: small arrays keep Python's lock busy."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from melanoma.errors import WorkerError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_MOST = 16  # processes

Prepare = Callable[[], object]


def count_cores() -> int:
    """The cores that this process may use, which a batch system may have limited; not a share of processor time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_workers(jobs: int) -> int:
    """How many processes so many jobs get: one a core, and no more than `_MOST`."""
    return max(min(count_cores(), jobs, _MOST), 1)


@contextmanager
def open_pool(jobs: int, *, few: int, prepare: Prepare | None = None) -> Iterator[Executor]:
    """Where so many jobs run: on threads of this process when there are fewer than `few`, or one core.

    `prepare` is called once in each process. When the block is left by an exception, jobs that have not begun are
    dropped, and those in processes end at once. Raises WorkerError when a process is killed.
    """
    pool, stop = _start(jobs, few, prepare)
    try:
        yield pool
    except BrokenExecutor as error:
        raise WorkerError(
            "a process of this command was killed, most likely for want of memory; run the command again"
        ) from error
    finally:
        if sys.exception() is not None:
            stop()
        pool.shutdown(cancel_futures=True)
        stop()


def _start(jobs: int, few: int, prepare: Prepare | None) -> tuple[Executor, Callable[[], None]]:
    """An executor, and what ends the jobs that it runs at the moment."""
    workers = count_workers(jobs)
    if jobs < few or workers == 1:
        return ThreadPoolExecutor(workers), lambda: None
    import multiprocessing  # slow to import, for a command that judges one image
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")  # forking a process that has threads may hang
    ours, line = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(ours, prepare))
    with _without_interrupts():
        for _ in range(workers):
            pool.submit(_do_nothing)  # each starts a process
    return pool, line.close


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keep Ctrl-C from whatever process is started here, and from this one until the end of the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # an inherited mask outlives the start
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _do_nothing() -> None:
    pass


def ignore_image_warnings() -> None:
    """What libraries say of a damaged image stands in its result row; `python -W` shows it all the same."""
    if not sys.warnoptions:
        for module in ("PIL", "pydicom"):
            warnings.filterwarnings("ignore", module=module)


def _begin(line: "Connection", prepare: Prepare | None) -> None:
    """Leave Ctrl-C to the parent, and end when it closes the line, be it by dying."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ignore_image_warnings()
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    if prepare is not None:
        prepare()


def _end_with(line: "Connection") -> None:
    line.poll(None)  # nothing is ever sent: what ends the wait is the end of the line
    os._exit(1)

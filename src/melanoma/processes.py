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
    """The cores that this process may use, which a batch system or a container may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_workers(jobs: int) -> int:
    """How many processes so many jobs get: one a core, and no more than `_MOST`."""
    return max(min(count_cores(), jobs, _MOST), 1)


@contextmanager
def open_pool(jobs: int, *, few: int, prepare: Prepare | None = None) -> Iterator[Executor]:
    """Where so many jobs run: on threads of this process when there are fewer than `few`, or one core.

    `prepare` is called once in each process. When the block is left by an exception, the jobs end at once. Raises
    WorkerError when a process is killed.
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
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(ours, prepare)), line.close


def _begin(line: "Connection", prepare: Prepare | None) -> None:
    """Leave Ctrl-C to the parent, and end when it closes the line, be it by dying."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with an image stands in the results
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    if prepare is not None:
        prepare()


def _end_with(line: "Connection") -> None:
    line.poll(None)  # nothing is ever sent: what ends the wait is the end of the line
    os._exit(1)

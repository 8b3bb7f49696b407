"""Jobs on all cores, in processes of their own: small arrays keep the interpreter's lock busy."""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection

import cv2

from melanoma.errors import WorkerError

_FEW = 4  # jobs below which starting processes takes longer than the work
_MOST = 16  # processes


@contextmanager
def open_pool(jobs: int) -> Iterator[Executor]:
    """Where so many jobs run; when the block is left by an exception, they end at once.

    OpenCV works without threads of its own meanwhile, so that the jobs have the cores to themselves. Raises
    WorkerError when a process is killed.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    pool, stop = _start(jobs)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise WorkerError(
            "a process of this command was killed, most likely for want of memory; run the command again"
        ) from error
    finally:
        if sys.exception() is not None:
            stop()
        pool.shutdown(cancel_futures=True)
        stop()
        cv2.setNumThreads(before)


def _start(jobs: int) -> tuple[Executor, Callable[[], None]]:
    """An executor, and what ends the jobs that it runs at the moment."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs < _FEW or cores == 1:
        return ThreadPoolExecutor(cores), lambda: None
    context = multiprocessing.get_context("spawn")  # forking a process that has threads may hang
    ours, line = context.Pipe(duplex=False)
    workers = min(cores, jobs, _MOST)
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(ours,)), line.close


def _begin(line: Connection) -> None:
    """Leave Ctrl-C to the parent, and end when it closes the line, be it by dying."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with an image stands in the results
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()


def _end_with(line: Connection) -> None:
    line.poll(None)  # nothing is ever sent: what ends the wait is the end of the line
    os._exit(1)

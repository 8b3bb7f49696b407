"""Jobs on all cores, in processes of their own: small arrays keep the interpreter's lock busy."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event

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
        stop()
        raise WorkerError(
            "a process of this command was killed, most likely for want of memory; run the command again"
        ) from error
    except BaseException:
        stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(before)


def _start(jobs: int) -> tuple[Executor, Callable[[], None]]:
    """An executor, and what ends the jobs that it runs at the moment."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs < _FEW or cores == 1:
        return ThreadPoolExecutor(cores), lambda: None
    context = multiprocessing.get_context("spawn")  # forking a process that has threads may hang
    stopped = context.Event()
    workers = min(cores, jobs, _MOST)
    return ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(stopped,)), stopped.set


def _begin(stopped: Event) -> None:
    """Leave Ctrl-C to the parent, end when it says so, and never outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with an image stands in the results
    cv2.setNumThreads(1)
    for wait in (stopped.wait, _wait_for_parent):
        threading.Thread(target=_end_after, args=(wait,), daemon=True).start()


def _end_after(wait: Callable[[], object]) -> None:
    wait()
    os._exit(1)


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()

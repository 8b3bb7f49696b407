"""Jobs on all cores, in processes of their own: small arrays keep the interpreter's lock busy."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import cv2

_FEW = 4  # jobs below which starting processes takes longer than the work


@contextmanager
def open_pool(jobs: int) -> Iterator[Executor]:
    """Where so many jobs run; those not begun are dropped when the block is left by an exception.

    OpenCV works without threads of its own meanwhile, so that the jobs have the cores to themselves.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    pool = _start(jobs)
    try:
        yield pool
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    finally:
        pool.shutdown()
        cv2.setNumThreads(before)


def _start(jobs: int) -> Executor:
    cores = os.cpu_count() or 1
    if jobs < _FEW or cores == 1:
        return ThreadPoolExecutor(cores)
    context = multiprocessing.get_context("spawn")  # forking a process that has threads may hang
    return ProcessPoolExecutor(min(cores, jobs), mp_context=context, initializer=_begin)


def _begin() -> None:
    """Leave Ctrl-C to the parent, and never outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Joining a cluster, or saying in one line why not."""

import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
os.environ["RAY_TRAIN_V2_ENABLED"] = "1"  # the other one takes a core for itself
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters comes as an exception

import ray
import ray.data

from melanoma.cluster.nodes import last_line
from melanoma.errors import ClusterError
from melanoma.inference.runtime import stderr_aside

HERE = "auto"
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 7.0


@contextlib.contextmanager
def connect(address: str) -> Iterator[None]:
    """A cluster while the context lasts: one of this machine's cores for `auto`, else that whose head is at HOST:PORT.

    Raises ClusterError when it does not answer, or is of another version.
    """
    _be_quiet()
    check_address(address)
    sys.stderr.flush()
    try:
        with stderr_aside():  # whatever the level of its log, Ray's native part says which that is
            if address == HERE:
                ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises whatever it likes
        with contextlib.suppress(Exception):
            ray.shutdown()  # half joined
        words = " ".join(str(error).split())
        why = f"{words}; use the same" if words.startswith("Version mismatch") else last_line(error)
        raise ClusterError(f"cannot join the cluster at {address}: {why}") from error
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()


def check_address(address: str) -> None:
    """Raise ClusterError unless a cluster answers there: Ray itself would try for minutes, or for ever."""
    if address == HERE:
        return
    if not re.fullmatch(r"[^\s/]+:\d+", address):
        raise ClusterError(f"{address!r} is no address of a cluster; give HOST:PORT of its head, or auto")
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _explain_silence(address, getattr(error, "strerror", None) or str(error)) from error
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        asked = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _explain_silence(address, f"not within {ANSWER_SECONDS:g} seconds") from error
    if asked.returncode:
        raise _explain_silence(address, last_line(asked.stderr or asked.stdout))


def _explain_silence(address: str, why: str) -> ClusterError:
    return ClusterError(f"no cluster answers at {address} ({why}); start one, or give another --cluster")


def _be_quiet() -> None:
    """Ray writes of its own doings to standard error."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # why a trial failed stands in its logs
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    warnings.filterwarnings("ignore", module="ray")

"""A cluster of Ray with several nodes on one machine, and how one of them dies."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psutil


@contextlib.contextmanager
def nodes(*cores: int, **options: object) -> Iterator[Any]:
    """A cluster with so many cores on each node; the first is its head."""
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": cores[0], "include_dashboard": False, **options}
    )
    try:
        for count in cores[1:]:
            made.add_node(num_cpus=count)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def list_processes(node: Any) -> dict[psutil.Process, str]:
    """Everything that runs on a node besides Ray's own servers, with its command line."""
    (raylet,) = node.all_processes["raylet"]
    found = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(raylet.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # gone since
                found[process] = " ".join(process.cmdline())
    return found


def kill_node(made: Any, node: Any) -> None:
    """As if its power went: whatever runs there is gone, too."""
    running = list_processes(node)
    made.remove_node(node, allow_graceful=False)
    for process in running:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()

"""The nodes of a cluster: what each can do, and what went wrong on one."""

import importlib.util
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from melanoma.errors import ClusterError, MelanomaError
from melanoma.version import __version__

PROBE_SECONDS = 120.0
TO_JUDGE = ("PIL",)
TO_TRAIN = ("tensorflow", "keras", "sklearn", "cv2")


def check_workers(training: bool = False) -> int:
    """How many cores there are, on nodes that can all judge, and train if that is meant. Raises ClusterError."""
    nodes = list_nodes()
    verb, needed, extras = (
        ("train", TO_TRAIN, "train,cluster") if training else ("judge", TO_JUDGE, "cluster")
    )
    asked = {_ask(node, needed): node["NodeManagerAddress"] for node in nodes}
    for answer, name in asked.items():
        try:
            version, runtime = ray.get(answer, timeout=PROBE_SECONDS)
        except Exception as error:
            raise ClusterError(
                f"the node {name} cannot {verb}: {last_line(error)}; install melanoma[{extras}] {__version__} there"
            ) from error
        if version != __version__:
            raise ClusterError(f"the node {name} has melanoma {version}, this is {__version__}; use the same")
        if runtime:
            raise ClusterError(f"the node {name} cannot {verb}: {runtime}; install melanoma[{extras}] there")
    return sum(int(node["Resources"]["CPU"]) for node in nodes)


def list_nodes() -> list[dict[str, Any]]:
    """Those with a core to work on. Raises ClusterError when there is none."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not nodes:
        raise ClusterError("the cluster has no node with a core to work on")
    return nodes


def _ask(node: dict[str, Any], needed: tuple[str, ...]) -> ray.ObjectRef:
    place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=place)(_probe).remote(needed)


def _probe(needed: tuple[str, ...]) -> tuple[str, str]:
    """The version of this package on a node, and what keeps it from working."""
    try:
        import ai_edge_litert.interpreter  # noqa: F401
    except ImportError as error:
        return __version__, str(error)
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    return __version__, f"{', '.join(missing)} not installed" if missing else ""


def check_folder(folder: Path) -> None:
    """Raise ClusterError unless every node sees a folder of this machine."""
    for node in list_nodes():
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        sees = ray.remote(num_cpus=0, scheduling_strategy=place)(_sees).remote(str(folder.absolute()))
        if not ray.get(sees, timeout=PROBE_SECONDS):
            raise ClusterError(
                f"the node {node['NodeManagerAddress']} does not see {folder}; take one on a disk that all nodes share"
            )


def _sees(folder: str) -> bool:
    return Path(folder).is_dir()


def explain(error: Exception) -> Exception:
    """The error of ours that was raised in a worker, else one line of what Ray says."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MelanomaError) and not isinstance(cause, ray.exceptions.RayError):
            return cause
        inner = getattr(cause, "cause", None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__
    return ClusterError(f"the cluster failed: {last_line(error)}")


def last_line(text: object) -> str:
    """What an error of Ray's is about: the last line with words in the traceback that it carries."""
    lines = [line.strip() for line in str(text).splitlines() if any(map(str.isalpha, line))]
    return lines[-1] if lines else type(text).__name__

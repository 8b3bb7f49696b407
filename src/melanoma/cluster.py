"""Ray, and the only importer of it: many processes, here or on many machines."""

import contextlib
import io
import logging
import os
import pickle
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters comes as an exception

import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from melanoma.archive.blocks import Block
from melanoma.archive.scoring import BlockScorer, Task
from melanoma.errors import ClusterError, MelanomaError
from melanoma.version import __version__

if TYPE_CHECKING:  # a node that only judges has no pandas
    import pandas as pd

    from melanoma.search import Range, Trials
    from melanoma.study import Job

HERE = "auto"
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 7.0
PROBE_SECONDS = 120.0
TASKS_A_CORE = 32  # so that cores end together


@contextlib.contextmanager
def connect(address: str) -> Iterator[None]:
    """A cluster while the context lasts: one of this machine's cores for `auto`, else that whose head is at HOST:PORT.

    Raises ClusterError when it does not answer, or is of another version.
    """
    _be_quiet()
    check_address(address)
    try:
        with _silence():
            if address == HERE:
                ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises whatever it likes
        raise ClusterError(f"cannot join the cluster at {address}: {_last_line(error)}") from error
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()


def score(
    blocks: Sequence[tuple[int, Block]], task: Task, progress: Callable[[int, int], None] | None = None
) -> None:
    """Judge blocks, by number, with one predictor a core, and write their parts; `progress` gets images done, of all.

    A block whose worker dies is judged again. Raises ClusterError when workers cannot judge at all.
    """
    total, done = sum(block.n for _, block in blocks), 0
    cores = _check_workers()
    items = [{"number": number, "block": pickle.dumps(block)} for number, block in blocks]
    data = ray.data.from_items(items, override_num_blocks=min(len(items), max(200, TASKS_A_CORE * cores)))
    pool = ray.data.ActorPoolStrategy(min_size=1, initial_size=cores, max_size=cores)
    scored = data.map_batches(_Worker, fn_constructor_args=(task,), batch_size=1, compute=pool, num_cpus=1)
    try:
        for row in scored.iter_rows():
            done += row["images"]
            if progress:
                progress(done, total)
    except Exception as error:
        raise _explain(error) from error


def apply(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """`work` on each item, with the item's number, as they get done; what a dying worker had is done again."""
    _check_workers()
    rows = [{"number": number, "item": pickle.dumps(item)} for number, item in enumerate(items)]
    if not rows:
        return

    def work_on(row: dict[str, Any]) -> dict[str, Any]:
        return {"number": row["number"], "result": pickle.dumps(work(pickle.loads(row["item"])))}  # noqa: S301

    try:
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(work_on, num_cpus=1)
        for row in done.iter_rows():
            yield int(row["number"]), pickle.loads(row["result"])  # noqa: S301
    except Exception as error:
        raise _explain(error) from error


def run_jobs(jobs: "Sequence[Job]") -> "Iterator[tuple[Job, str]]":
    """Each job with what went wrong, or '', as they end: one at a time a node, whose cores are all its own.

    A job whose node dies is run again elsewhere and goes on after its last checkpoint. Raises ClusterError when a node
    does not see the folder of the jobs.
    """
    if not jobs:
        return
    _check_workers()
    cores = min(int(node["Resources"]["CPU"]) for node in _list_nodes())
    _check_folder(jobs[0].folder.parent)
    work = ray.remote(num_cpus=cores, max_retries=-1, scheduling_strategy="SPREAD")(_run_job)
    running = {work.remote(job): job for job in jobs}
    while running:
        (done, *_), _ = ray.wait(list(running), num_returns=1)
        job = running.pop(done)
        try:
            yield job, ray.get(done)
        except ray.exceptions.RayError as error:
            yield job, _last_line(error)


def run_trials(trials: "Trials", space: "Sequence[Range]", n: int) -> "pd.DataFrame":
    """`n` trials with values drawn at random, some side by side; see `search.execute` for what comes back.

    A trial that is worse than others after as many sources is stopped (ASHA). Interrupted, the same call goes on.
    """
    import pandas as pd
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator

    _check_workers()
    _check_folder(trials.folder)
    draw = {
        "choice": lambda values: tune.choice(list(values)),
        "uniform": lambda values: tune.uniform(*values),
        "log_uniform": lambda values: tune.loguniform(*values),
        "integer": lambda values: tune.randint(values[0], values[1] + 1),
    }
    cores = min(int(node["Resources"]["CPU"]) for node in _list_nodes())
    work = tune.with_resources(tune.with_parameters(_run_trial, trials=trials), {"cpu": cores})
    storage = trials.folder / "ray"
    if tune.Tuner.can_restore(str(storage / "search")):
        tuner = tune.Tuner.restore(
            str(storage / "search"), work, resume_unfinished=True, restart_errored=True
        )
    else:
        tuner = tune.Tuner(
            work,
            param_space={one.key: draw[one.kind](one.values) for one in space},
            tune_config=tune.TuneConfig(
                num_samples=n,
                trial_name_creator=_name_trial,
                search_alg=BasicVariantGenerator(random_state=trials.seed),
                scheduler=ASHAScheduler(
                    time_attr="sources", metric="auroc", mode="max", max_t=len(trials.sources), grace_period=1
                ),
            ),
            run_config=tune.RunConfig(
                name="search", storage_path=str(storage), verbose=0, callbacks=[_make_teller(n)]
            ),
        )
    with contextlib.redirect_stdout(io.StringIO()):  # Ray Tune praises itself there
        results = tuner.fit()
    return pd.DataFrame([_describe_trial(result) for result in results])


def _name_trial(trial: Any) -> str:
    return f"trial-{trial.trial_id}"


def _make_teller(n: int) -> Any:
    """Says on standard error what each trial comes to."""
    from ray import tune

    class Teller(tune.Callback):  # type: ignore[misc]
        def on_trial_result(self, trials: list[Any], trial: Any, result: Any, **_: Any) -> None:
            told = f"{trial}: mean AUROC {result['auroc']:.3f} without {result['sources']} sources"
            print(f"{told}; {len(trials)} of {n} begun", file=sys.stderr)  # noqa: T201 - Ray has its own thread here

    return Teller()


def _run_trial(config: dict[str, Any], trials: "Trials") -> None:
    from ray import tune

    name = tune.get_context().get_trial_name()
    for sources, auroc in trials.run(name, config):
        tune.report({"sources": sources, "auroc": auroc, "trial": name})


def _describe_trial(result: Any) -> dict[str, Any]:
    metrics = result.metrics or {}
    told = {
        "trial": metrics.get("trial", ""),
        "sources": metrics.get("sources", 0),
        "auroc": metrics.get("auroc"),
    }
    return {**told, **(result.config or {})}


def _run_job(job: "Job") -> str:
    return job.work()


def _check_folder(folder: Path) -> None:
    """Raise ClusterError unless every node sees a folder of this machine."""
    for node in _list_nodes():
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        sees = ray.remote(num_cpus=0, scheduling_strategy=place)(_sees).remote(str(folder))
        if not ray.get(sees, timeout=PROBE_SECONDS):
            raise ClusterError(
                f"the node {node['NodeManagerAddress']} does not see {folder}; take one on a disk that all nodes share"
            )


def _sees(folder: str) -> bool:
    return Path(folder).is_dir()


class _Worker:
    """An actor of Ray Data with one predictor."""

    def __init__(self, task: Task) -> None:
        self._scorer = BlockScorer(task)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        images = [
            self._scorer.score(int(number), pickle.loads(block))  # noqa: S301 - written by `score`
            for number, block in zip(batch["number"], batch["block"], strict=True)
        ]
        return {"images": images}


def _check_workers() -> int:
    """How many cores there are, on nodes that can all judge. Raises ClusterError."""
    nodes = _list_nodes()
    asked = {_ask(node): node["NodeManagerAddress"] for node in nodes}
    for answer, name in asked.items():
        try:
            version, runtime = ray.get(answer, timeout=PROBE_SECONDS)
        except Exception as error:
            raise ClusterError(
                f"the node {name} cannot judge: {_last_line(error)}; install melanoma[cluster] {__version__} there"
            ) from error
        if version != __version__:
            raise ClusterError(f"the node {name} has melanoma {version}, this is {__version__}; use the same")
        if runtime:
            raise ClusterError(f"the node {name} cannot judge: {runtime}; install melanoma[cluster] there")
    return sum(int(node["Resources"]["CPU"]) for node in nodes)


def _list_nodes() -> list[dict[str, Any]]:
    """Those with a core to work on. Raises ClusterError when there is none."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if not nodes:
        raise ClusterError("the cluster has no node with a core to work on")
    return nodes


def _ask(node: dict[str, Any]) -> ray.ObjectRef:
    place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=place)(_probe).remote()


def _probe() -> tuple[str, str]:
    """The version of this package on a node, and what keeps it from judging."""
    try:
        import ai_edge_litert.interpreter  # noqa: F401
    except ImportError as error:
        return __version__, str(error)
    return __version__, ""


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
        raise _explain_silence(address, _last_line(asked.stderr or asked.stdout))


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


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing reaches standard error: Ray's native part says which level of log it has, whatever the level."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _explain(error: Exception) -> Exception:
    """The error of ours that was raised in a worker, else one line of what Ray says."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MelanomaError) and not isinstance(cause, ray.exceptions.RayError):
            return cause
        inner = getattr(cause, "cause", None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__
    return ClusterError(f"the cluster failed: {_last_line(error)}")


def _last_line(text: object) -> str:
    """What an error of Ray's is about: the last line of the traceback that it carries."""
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[-1] if lines else type(text).__name__

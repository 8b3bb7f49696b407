"""One network trained by several workers of Ray Train, in step with each other."""

import contextlib
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from melanoma.cluster.nodes import check_folder, check_workers, explain, list_nodes
from melanoma.config import Recipe
from melanoma.errors import ClusterError, MelanomaError
from melanoma.training import fit as fitting
from melanoma.training.pipeline import ImageSet
from melanoma.training.step import Row

if TYPE_CHECKING:
    import keras

FAILURES = 3  # so many workers or nodes may die
TELL_SECONDS = 0.5
SILENCE_SECONDS = 90.0


def fit(
    create: Callable[[], "keras.Model"],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    *,
    workers: int,
    seed: int,
    folder: Path,
    progress: fitting.Progress | None = None,
) -> tuple["keras.Model", fitting.State]:
    """As `training.fit.fit`, by so many workers of the cluster that is joined, whose nodes all see `folder`.

    When a worker dies all begin again after the last checkpoint, as soon as there is room for as many. Raises
    ClusterError when there are too few cores, or too many workers died.
    """
    cores = share_cores(workers)
    folder.mkdir(parents=True, exist_ok=True)
    for place in {folder, train.cache.path.parent, val.cache.path.parent}:
        check_folder(place)
    beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    told = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": beside})  # no other node takes it along
    member = _Member(create, train, val, recipe, seed, folder.absolute(), cores, told)
    with _own_folder(folder) as storage:
        trainer = _create_trainer(member, workers, storage)
        _listen(trainer, told, progress or fitting.Progress())
    return fitting.fit(create, train, val, recipe, seed=seed, folder=folder)  # finished: the kept weights


@dataclass(frozen=True)
class _Member:
    """What each worker does."""

    create: Callable[[], "keras.Model"]
    train: ImageSet
    val: ImageSet
    recipe: Recipe
    seed: int
    folder: Path
    cores: int
    told: Queue

    def __call__(self) -> None:
        """Train; an error of ours or of a disk is told and not raised, since it would come again."""
        from ray.train import get_context

        from melanoma.training import team as teams

        rank = get_context().get_world_rank()
        team = teams.join(rank, self.cores)
        fitting.make_deterministic(self.seed)
        progress = _Teller(self.told) if team.leads else None
        try:
            fitting.fit(
                self.create, self.train, self.val, self.recipe,
                seed=self.seed, folder=self.folder, progress=progress, team=team,
            )  # fmt: skip
        except (MelanomaError, OSError) as error:
            self.told.put(("error", error))


class _Teller(fitting.Progress):
    """Sends on what the loop tells, batches no more often than can be read."""

    def __init__(self, told: Queue) -> None:
        self._told, self._last = told, 0.0

    def on_batch(self, epoch: int, step: int, steps: int, row: Row) -> None:
        """The last batch of an epoch is always told."""
        if step == steps or time.monotonic() - self._last > TELL_SECONDS:
            self._last = time.monotonic()
            self._told.put(("batch", epoch, step, steps, row))

    def on_epoch(self, epoch: int, row: Row) -> None:
        """Told once it is checkpointed."""
        self._told.put(("epoch", epoch, row))


def share_cores(workers: int) -> int:
    """How many cores each worker gets. Raises ClusterError when there are fewer than workers, or no TensorFlow."""
    check_workers(training=True)
    cores = [int(node["Resources"]["CPU"]) for node in list_nodes()]
    for share in range(max(cores), 0, -1):
        if sum(count // share for count in cores) >= workers:
            return share
    raise ClusterError(
        f"--workers {workers}: the cluster has {sum(cores)} cores; take no more workers than that"
    )


def _create_trainer(member: _Member, workers: int, storage: Path) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    logging.getLogger("ray.train").setLevel(logging.CRITICAL)
    return TensorflowTrainer(
        member.__call__,
        scaling_config=ScalingConfig(
            num_workers=workers,
            resources_per_worker={"CPU": member.cores},
            placement_strategy="SPREAD",
            use_gpu=all(
                node["Resources"].get("GPU", 0) >= node["Resources"]["CPU"] // member.cores
                for node in list_nodes()
            ),
        ),
        run_config=RunConfig(
            name="team", storage_path=str(storage), failure_config=FailureConfig(max_failures=FAILURES)
        ),
    )


def _listen(trainer: Any, told: Queue, progress: fitting.Progress) -> None:
    """Pass on what the leader tells until the workers are done. In a thread of its own, Ray leaves Ctrl-C to us."""
    failed: list[Exception] = []

    def work() -> None:
        try:
            trainer.fit()
        except Exception as error:  # Ray raises whatever it likes
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    heard = time.monotonic()
    while thread.is_alive() or not told.empty():
        try:
            kind, *what = told.get(timeout=TELL_SECONDS)
        except Empty:
            if time.monotonic() - heard > SILENCE_SECONDS:
                heard = time.monotonic()
                warning = f"no news of the workers for {SILENCE_SECONDS:.0f} s: Ray may be waiting for room for them"
                print(warning, file=sys.stderr)  # noqa: T201 - the loop's progress has no such line
            continue
        except ray.exceptions.RayError as error:
            raise explain(error) from error
        heard = time.monotonic()
        if kind == "error":
            raise what[0]
        (progress.on_batch if kind == "batch" else progress.on_epoch)(*what)
    if failed:
        raise explain(failed[0]) from failed[0]


@contextlib.contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    """Where Ray Train keeps its notes; it would go on from old ones, so they never stay."""
    storage = folder.absolute() / "ray"
    shutil.rmtree(storage, ignore_errors=True)
    try:
        yield storage
    finally:
        shutil.rmtree(storage, ignore_errors=True)

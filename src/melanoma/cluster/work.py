"""Work in pieces: images to judge, files to measure, runs to do."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import ray
import ray.data

from melanoma.archive.blocks import Block
from melanoma.archive.scoring import BlockScorer, Task
from melanoma.cluster.nodes import check_folder, check_workers, explain, last_line, list_nodes

if TYPE_CHECKING:  # a node that only judges has no pandas
    from melanoma.study import Job

TASKS_A_CORE = 32  # so that cores end together


def score(
    blocks: Sequence[tuple[int, Block]], task: Task, progress: Callable[[int, int], None] | None = None
) -> None:
    """Judge blocks, by number, with one predictor a core, and write their parts; `progress` gets images done, of all.

    A block whose worker dies is judged again. Raises ClusterError when workers cannot judge at all.
    """
    total, done = sum(block.n for _, block in blocks), 0
    cores = check_workers()
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
        raise explain(error) from error


def apply(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """`work` on each item, with the item's number, as they get done; what a dying worker had is done again."""
    check_workers()
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
        raise explain(error) from error


def run_jobs(jobs: "Sequence[Job]") -> "Iterator[tuple[Job, str]]":
    """Each job with what went wrong, or '', as they end: one at a time a node, whose cores are all its own.

    A job whose node dies is run again elsewhere and goes on after its last checkpoint. Raises ClusterError when a node
    does not see the folder of the jobs.
    """
    if not jobs:
        return
    check_workers(training=True)
    cores = min(int(node["Resources"]["CPU"]) for node in list_nodes())
    check_folder(jobs[0].folder.parent)
    work = ray.remote(num_cpus=cores, max_retries=-1, scheduling_strategy="SPREAD")(_run_job)
    running = {work.remote(job): job for job in jobs}
    while running:
        (done, *_), _ = ray.wait(list(running), num_returns=1)
        job = running.pop(done)
        try:
            yield job, ray.get(done)
        except ray.exceptions.RayError as error:
            yield job, last_line(error)


def _run_job(job: "Job") -> str:
    return job.work()


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

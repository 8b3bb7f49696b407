"""Several runs of one recipe that make one result: folds times seeds.

Each run is a `melanoma train` of its own, in a process of its own, wherever that is: here one after the other, on a
cluster side by side. The study's folder holds everything, so a study that was stopped goes on.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from melanoma.config import Recipe, dump_recipe
from melanoma.data import splits as splitting
from melanoma.data.splits import Splits
from melanoma.data.tables import read_table, write_table
from melanoma.errors import ConfigError, RunError
from melanoma.evaluation.evaluate import EvaluationReport
from melanoma.evaluation.metrics import Outcomes, estimate_figures
from melanoma.files import write_text
from melanoma.tracking import Tracker, run_id_of

PLAN, RESULT, PREDICTIONS = "study.json", "result.json", "predictions.csv"
FIGURES = ("auroc", "average_precision", "sensitivity", "specificity", "accuracy", "brier")
MELANOMA = (sys.executable, "-c", "from melanoma.cli.main import run; run()")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a study is of; kept as `study.json`. `folds` and `seeds`: how many of each."""

    sources: list[str]
    folds: int
    seeds: int
    seed: int
    labels: dict[str, int]
    strict: bool
    splits: list[str]  # digests


@dataclass(frozen=True, slots=True)
class Job:
    """One run: its name, its folder, and the words after `melanoma` that start it."""

    name: str
    folder: Path
    command: tuple[str, ...]
    tracking_uri: str = ""  # of whoever asked: the folder it is done in may be another

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return (self.folder / "evaluation" / "evaluation.json").is_file()

    def work(self) -> str:
        """Run to the end, going on after what is there; '' or the last line of what went wrong."""
        there = (self.folder / "run.json").is_file()
        words = ("train", "--resume", str(self.folder)) if there else self.command
        command = [*MELANOMA, *words]  # with the Python of whoever does the work
        environment = os.environ | ({"MLFLOW_TRACKING_URI": self.tracking_uri} if self.tracking_uri else {})
        with self.folder.with_suffix(".log").open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=log, env=environment, check=False)  # noqa: S603
        if done.returncode == 0:
            return ""
        lines = self.folder.with_suffix(".log").read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1].removeprefix("melanoma: ") if lines else f"ended with code {done.returncode}"


Work = Callable[[Sequence[Job]], Iterable[tuple[Job, str]]]


def begin(folder: Path, plan: Plan, folds: Sequence[Splits], recipe: Recipe) -> None:
    """Write down what the study is of, or find it the same. Raises RunError when it is another."""
    files = {f"fold{number}.csv": fold for number, fold in enumerate(folds, start=1)}
    begin_folder(folder / PLAN, asdict(plan), files, recipe, "study; give another --run-dir")


def begin_folder(
    plan: Path, settings: Mapping[str, Any], folds: Mapping[str, Splits], recipe: Recipe, advice: str
) -> None:
    """Write `folds`, by file name, the recipe and at last `plan` with the settings, or find the last two the same.

    Raises RunError, which ends with `advice`, when they are others or something else is in the folder.
    """
    folder = plan.parent
    files = {plan: json.dumps(dict(settings), indent=2) + "\n", folder / "recipe.yaml": dump_recipe(recipe)}
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file and no {advice}")
    if plan.is_file():
        if any(
            not file.is_file() or file.read_text(encoding="utf-8") != text for file, text in files.items()
        ):
            raise RunError(f"{folder} holds another {advice}")
        return
    early = {"recipe.yaml", *folds}  # what a start leaves that was killed before the plan was written
    if folder.exists() and any(p.name not in early and not p.name.startswith(".") for p in folder.iterdir()):
        raise RunError(f"{folder} is not empty and holds no {advice}")
    for name, fold in folds.items():
        splitting.save(fold, folder / name)
    for file, text in reversed(files.items()):
        write_text(file, text)


def list_jobs(folder: Path, plan: Plan, parent: str = "", tracking_uri: str = "") -> list[Job]:
    """All runs of a study; `parent` is the MLflow run that they belong to, at `tracking_uri`."""
    folder = folder.absolute()
    labels = [f"--label={name}={value}" for name, value in plan.labels.items()]
    common = [*plan.sources, "--recipe", str(folder / "recipe.yaml"), "--no-register", *labels]
    common += ["--strict"] * plan.strict + (["--parent-run", parent] if parent else [])
    jobs = []
    for fold in range(1, plan.folds + 1):
        for seed in range(plan.seed, plan.seed + plan.seeds):
            name = f"fold{fold}-seed{seed}"
            own = [
                "--splits",
                str(folder / f"fold{fold}.csv"),
                "--seed",
                str(seed),
                "--run-dir",
                str(folder / name),
            ]
            jobs.append(Job(name, folder / name, ("train", *common, *own), tracking_uri))
    return jobs


def work_here(jobs: Sequence[Job]) -> Iterable[tuple[Job, str]]:
    """One after the other on this machine."""
    for job in jobs:
        yield job, job.work()


def execute(folder: Path, plan: Plan, work: Work, say: Callable[[str], None]) -> dict[str, Any]:
    """Do what is left of a study, and put together what came out. Raises RunError when runs failed."""
    tracker = Tracker(folder, run_name=folder.name, say=say)
    tracker.params(
        {name: value for name, value in asdict(plan).items() if name in {"folds", "seeds", "seed"}}
    )
    tracker.send()
    jobs = list_jobs(folder, plan, run_id_of(folder), tracker.tracking_uri)
    left = [job for job in jobs if not job.is_done]
    failed = []
    try:
        for number, (job, problem) in enumerate(work(left), start=len(jobs) - len(left) + 1):
            say(f"{number} of {len(jobs)} runs: {job.name} {'failed: ' + problem if problem else 'is done'}")
            failed += [job] if problem else []
    except BaseException as error:
        tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    if failed:
        tracker.finish("FAILED")
        raise RunError(
            f"{len(failed)} of {len(jobs)} runs failed ({', '.join(job.name for job in failed)}); their .log says "
            "why, and the same command goes on with them"
        )
    result = summarise(folder, jobs)
    tracker.metrics({f"{name}_mean": figure["mean"] for name, figure in result["figures"].items()}, 0, "mean")
    tracker.metrics({f"{name}_sd": figure["sd"] for name, figure in result["figures"].items()}, 0, "sd")
    for name in (RESULT, PREDICTIONS):
        tracker.artifact(folder / name)
    tracker.finish("FINISHED")
    return result


def summarise(folder: Path, jobs: Sequence[Job]) -> dict[str, Any]:
    """Mean and spread over the runs, and the figures of all out-of-fold predictions together; both files written.

    An image's out-of-fold probability is the mean over the seeds. Intervals are by groups, as everywhere.
    """
    reports = {job.name: read_test(job.folder) for job in jobs}
    figures = {}
    for name in FIGURES:
        values = [report.figures[name].value for report in reports.values()]
        known = np.array([value for value in values if value is not None])
        if len(known):
            spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
            low, high = float(known.min()), float(known.max())
            figures[name] = {"mean": float(known.mean()), "sd": spread, "low": low, "high": high}
    rows = _join_predictions(jobs)
    write_table(rows, folder / PREDICTIONS)
    outcomes = Outcomes(
        y_true=rows["y_true"].to_numpy(dtype=np.int64),
        y_prob=rows["y_prob"].to_numpy(dtype=float),
        referred=rows["referred"].to_numpy(dtype=bool),
        assessed=rows["assessed"].to_numpy(dtype=bool),
        group=rows["group"].factorize()[0].astype(np.int64),
    )
    together = estimate_figures(outcomes, resamples=1000, seed=0)
    result = {
        "runs": {
            name: {key: report.figures[key].value for key in FIGURES} for name, report in reports.items()
        },
        "figures": figures,
        "out_of_fold": {name: together[name].to_dict() for name in FIGURES if name in together},
    }
    write_text(folder / RESULT, json.dumps(result, indent=2) + "\n")
    return result


def read_test(folder: Path) -> EvaluationReport:
    """What a finished run found on its test images."""
    values = json.loads((folder / "evaluation" / "evaluation.json").read_bytes())
    reports = [EvaluationReport.from_dict(entry) for entry in values["evaluations"]]
    found = next((report for report in reports if report.name == "test"), None)
    if found is None:
        raise RunError(f"{folder} has no test images")
    return found


def _join_predictions(jobs: Sequence[Job]) -> pd.DataFrame:
    """One row an image, tested in one fold by every seed."""
    parts = []
    for job in jobs:
        rows = read_table(job.folder / "evaluation" / "predictions.csv")
        rows["y_true"] = rows["y_true"].astype(np.int64)
        rows["y_prob"] = pd.to_numeric(rows["y_prob"])
        parts.append(rows[rows["dataset"] == "test"].assign(run=job.name))
    if not parts:
        raise ConfigError("a study needs at least one run")
    every = pd.concat(parts)
    every["referred"] = every["decision"] != "no_sign"
    every["assessed"] = every["decision"] != "cannot_assess"
    joined = every.groupby(["source", "image_id"], sort=True).agg(
        path=("path", "first"),
        group=("group", "first"),
        y_true=("y_true", "first"),
        y_prob=("y_prob", "mean"),
        referred=("referred", "mean"),
        assessed=("assessed", "mean"),
        runs=("run", " ".join),
    )
    joined["referred"] = joined["referred"] >= 0.5  # as most of the seeds decide; half of them are enough
    joined["assessed"] = joined["assessed"] >= 0.5
    return joined.reset_index()

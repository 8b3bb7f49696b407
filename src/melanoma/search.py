"""A search over recipes: what a trial is, what it comes to, and what is kept of all. Who runs the trials is not known.

A trial is one recipe, judged by leaving each source out in turn: a run of `melanoma train` a source. After each one
the mean AUROC so far is told, so that a bad recipe need not see all sources.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml

from melanoma.config import Recipe, dump_recipe, load_recipe
from melanoma.data.folds import leave_source_out
from melanoma.data.manifest import Manifest
from melanoma.data.splits import Splits, build
from melanoma.data.tables import write_table
from melanoma.errors import ConfigError, RunError
from melanoma.evaluation import plots
from melanoma.evaluation.search_plot import plot_search
from melanoma.files import replacing, write_text
from melanoma.study import Job, begin_folder, read_test
from melanoma.tracking import Tracker, run_id_of

PLAN, TRIALS, BEST, PICTURE = "search.json", "trials.csv", "best.yaml", "search.png"
SCALE_OF = {"choice": "names", "uniform": "linear", "log_uniform": "log", "integer": "linear"}
Kind = Literal["choice", "uniform", "log_uniform", "integer"]


@dataclass(frozen=True, slots=True)
class Range:
    """Values that one key of a recipe may have: some to choose from, or two ends."""

    key: str
    kind: Kind
    values: tuple[Any, ...]


def read_space(path: Path, recipe: str, overrides: Sequence[str]) -> list[Range]:
    """Ranges by key, from a YAML file such as `optimizer.learning_rate: {log_uniform: [0.00001, 0.001]}`.

    Every value or end is tried in the recipe, and with every one of each other key, since some keys limit one another.
    Raises ConfigError for what makes no recipe.
    """
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(read, dict) or not read:
        raise ConfigError(f"{path} must hold keys of a recipe with what each may be; see docs/how-to/tune.md")
    space = [_read_range(path, str(key), value) for key, value in read.items()]
    for draw in _list_extremes(space):
        load_recipe(recipe, [*overrides, *(_override(key, value) for key, value in draw.items())])
    return space


def _list_extremes(space: Sequence[Range]) -> Iterator[dict[str, Any]]:
    """Draws in which every two keys have each pair of their values or ends, and the others their first."""
    first = {one.key: one.values[0] for one in space}
    for one, other in combinations(space, 2):
        for pair in product(one.values, other.values):
            yield first | dict(zip((one.key, other.key), pair, strict=True))
    if len(space) == 1:
        yield from ({space[0].key: value} for value in space[0].values)


def _read_range(path: Path, key: str, value: Any) -> Range:
    wanted = "{choice: [...]}, {uniform: [low, high]}, {log_uniform: [low, high]} or {integer: [low, high]}"
    if not isinstance(value, dict) or len(value) != 1:
        raise ConfigError(f"{path}: {key} must be one of {wanted}")
    ((kind, values),) = value.items()
    if isinstance(values, list) and kind != "choice":
        values = [_read_number(one) for one in values]
    if kind == "choice" and isinstance(values, list) and values:
        return Range(key, "choice", tuple(values))
    ends = (
        isinstance(values, list) and len(values) == 2 and all(isinstance(one, int | float) for one in values)
    )
    if kind not in {"uniform", "log_uniform", "integer"} or not ends or not values[0] < values[1]:
        raise ConfigError(f"{path}: {key} must be one of {wanted}, the lower end first")
    if kind == "log_uniform" and values[0] <= 0:
        raise ConfigError(f"{path}: {key} needs ends above 0")
    return Range(key, kind, tuple(values))


def _read_number(value: Any) -> Any:
    """YAML takes 1e-5 for a word."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _override(key: str, value: Any) -> str:
    return f"{key}={json.dumps(value)}"


def make_folds(
    manifest: Manifest, recipe: Recipe, seed: int, groups: pd.DataFrame | None
) -> list[tuple[str, Splits]]:
    """A fold a source; given test images, and what shares a group with them, choose nothing. Raises SplitError."""
    if len(manifest.sources) < 2:
        raise ConfigError("a search leaves sources out one by one; give at least two")
    folds = leave_source_out(
        manifest, val=recipe.splits.val, calibration=recipe.splits.calibration, seed=seed, groups=groups
    )
    made = []
    for fold in folds:
        table = fold.splits.table
        given = table["group_id"].isin(table["group_id"][manifest.table["given_split"] == "test"])
        split = table["split"].mask(given, "excluded")
        if manifest.table["y_true"][split == "test"].nunique() < 2:
            raise ConfigError(
                f"{fold.source} has no images of both classes to be judged on; leave it out of the search"
            )
        made.append((fold.source, build(manifest, table["group_id"], split)))
    return made


def begin(
    folder: Path, settings: Mapping[str, Any], folds: Sequence[tuple[str, Splits]], recipe: Recipe
) -> None:
    """Write down what the search is of, or find it the same. Raises RunError when it is another."""
    files = {f"without-{source}.csv": fold for source, fold in folds}
    begin_folder(
        folder / PLAN, dict(sorted(settings.items())), files, recipe, "search; give another --output"
    )


@dataclass(frozen=True, slots=True)
class Trials:
    """All that a trial needs to know; safe to send to another process. `folder`: that of the search, absolute."""

    folder: Path
    sources: tuple[str, ...]  # left out one by one
    data: tuple[str, ...]
    seed: int
    labels: Mapping[str, int]
    parent: str = ""  # the MLflow run of the search, at `tracking_uri`
    tracking_uri: str = ""

    def run(self, name: str, values: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
        """One trial: after each source left out, how many that were and the mean AUROC so far.

        What an earlier try has left is gone on with. Raises RunError when a run fails.
        """
        folder = self.folder / "trials" / name
        folder.mkdir(parents=True, exist_ok=True)
        overrides = [_override(key, value) for key, value in values.items()]
        recipe = load_recipe(str(self.folder / "recipe.yaml"), overrides)
        write_text(folder / "recipe.yaml", dump_recipe(recipe))
        tracker = self.open_tracker(name)
        tracker.tags({"mlflow.parentRunId": self.parent} if self.parent else {})
        tracker.params(values)
        tracker.send()
        found: list[float] = []
        for source in self.sources:
            job = self._job(folder, source, run_id_of(folder))
            problem = "" if job.is_done else job.work()
            if problem:
                tracker.finish("FAILED")
                raise RunError(f"{name}, without {source}: {problem}")
            auroc = read_test(job.folder).figures["auroc"].value
            found.append(math.nan if auroc is None else auroc)
            tracker.metrics({"auroc": float(np.mean(found))}, len(found), f"sources/{len(found)}")
            if len(found) == len(self.sources):  # whoever is told the last figure may ask for nothing more
                tracker.finish("FINISHED")
            yield len(found), float(np.mean(found))

    def open_tracker(self, name: str) -> Tracker:
        """What a trial tells, quietly: the search says what matters."""
        folder = self.folder / "trials" / name
        return Tracker(folder, run_name=name, say=lambda _: None, tracking_uri=self.tracking_uri or None)

    def _job(self, folder: Path, source: str, parent: str) -> Job:
        run = folder / f"without-{source}"
        words = [
            "train",
            *self.data,
            "--recipe",
            folder / "recipe.yaml",
            "--seed",
            self.seed,
            "--no-register",
        ]
        words += ["--splits", self.folder / f"without-{source}.csv", "--run-dir", run]
        words += [f"--label={label}={value}" for label, value in self.labels.items()]
        words += ["--parent-run", parent] if parent else []
        return Job(f"{folder.name}/{source}", run, tuple(map(str, words)), self.tracking_uri)


Run = Callable[[Trials, Sequence[Range], int], pd.DataFrame]


def execute(
    trials: Trials, space: Sequence[Range], n: int, run: Run, say: Callable[[str], None]
) -> pd.DataFrame:
    """Run `n` trials, and keep a table, a picture and the best recipe. The trials, best first.

    Columns: `trial`, a column a key, `sources` (how many were left out), `auroc` (their mean). Only those that saw all
    sources can be best. Raises RunError when none did.
    """
    tracker = Tracker(trials.folder, run_name=trials.folder.name, say=say)
    tracker.params(
        {"trials": n, "seed": trials.seed, **{one.key: f"{one.kind} {list(one.values)}" for one in space}}
    )
    tracker.send()
    trials = replace(trials, parent=run_id_of(trials.folder), tracking_uri=tracker.tracking_uri)
    try:
        table = run(trials, space, n)
    except BaseException as error:
        tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    for name in table["trial"][table["sources"].between(1, len(trials.sources) - 1)]:
        trials.open_tracker(name).finish("KILLED")  # stopped before its end
    table = table.sort_values(["sources", "auroc"], ascending=False, kind="stable").reset_index(drop=True)
    write_table(table, trials.folder / TRIALS)
    whole = table[(table["sources"] == len(trials.sources)) & table["auroc"].notna()]
    if whole.empty:
        tracker.finish("FAILED")
        raise RunError(
            f"no trial got to its end; {trials.folder / 'trials'} has the logs, and the same command goes on"
        )
    best = trials.folder / "trials" / str(whole.iloc[0]["trial"]) / "recipe.yaml"
    write_text(trials.folder / BEST, best.read_text(encoding="utf-8"))
    picture = plots.to_png(plot_search(table, {one.key: SCALE_OF[one.kind] for one in space}))
    with replacing(trials.folder / PICTURE) as temporary:
        temporary.write_bytes(picture)
    tracker.metrics({"auroc": float(whole.iloc[0]["auroc"])}, 0, "best")
    for name in (TRIALS, BEST, PICTURE):
        tracker.artifact(trials.folder / name)
    tracker.finish("FINISHED")
    return table

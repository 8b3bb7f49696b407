"""`melanoma train --folds --seeds`: several runs that make one result."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from melanoma.cli.progress import say, show_progress

if TYPE_CHECKING:
    from melanoma.config import Recipe
    from melanoma.data.splits import Splits
    from melanoma.run_images import Request


@dataclass(frozen=True, slots=True)
class Wish:
    """Which runs: `folds` of them, 0 for one a source that is left out, times `seeds`; on a `cluster` or here."""

    folds: int
    seeds: int
    cluster: str | None


def run(request: "Request", wish: Wish, recipe: "Recipe", folder: Path) -> None:
    """Do the runs that are left, and print what they came to. Raises UserError."""
    from melanoma import study
    from melanoma.evaluation.metrics import Estimate

    sources, folds = _make_folds(request, wish, recipe)
    plan = study.Plan(
        sources=sources,
        folds=len(folds),
        seeds=wish.seeds,
        seed=request.seed,
        labels=request.labels,
        strict=request.strict,
        splits=[fold.digest for fold in folds],
    )
    study.begin(folder, plan, folds, recipe)
    say(f"study: {folder}, {len(folds)} folds of {wish.seeds} seeds")
    try:
        result = _execute(folder, plan, wish.cluster)
    except KeyboardInterrupt:
        say(f"the same command with --run-dir {folder} goes on where this one stopped")
        raise
    for name, figure in result["figures"].items():
        mean, spread, low, high = (figure[key] for key in ("mean", "sd", "low", "high"))
        typer.echo(f"{name}: mean {mean:.3f}, sd {spread:.3f} ({low:.3f} to {high:.3f})")
    for name, figure in result["out_of_fold"].items():
        typer.echo(f"out of fold, {name}: {Estimate.from_dict(figure)}")
    typer.echo(f"result: {folder / study.RESULT}; predictions out of fold: {folder / study.PREDICTIONS}")


def _execute(
    folder: Path, plan: "study.Plan", address: str | None
) -> "dict[str, dict[str, dict[str, float]]]":
    from melanoma import study

    if address is None:
        return study.execute(folder, plan, study.work_here, say)
    from melanoma import cluster

    with cluster.connect(address):
        return study.execute(folder, plan, cluster.run_jobs, say)


def _make_folds(request: "Request", wish: Wish, recipe: "Recipe") -> "tuple[list[str], list[Splits]]":
    """The sources, as NAME=PATH from any folder, and the splits of every fold."""
    from melanoma.data import crossvalidation, folds
    from melanoma.data import manifest as manifests
    from melanoma.data import splits as splitting

    with show_progress("reading the images") as update:
        manifest = manifests.load(request.sources, labels=request.labels, progress=update)
    say(manifests.describe(manifest))
    sources = [f"{source.name}={Path(source.path).absolute()}" for source in manifest.sources]
    groups = splitting.load_groups(Path(request.groups)) if request.groups else None
    val, calibration, seed = recipe.splits.val, recipe.splits.calibration, request.seed
    if wish.folds:
        return sources, crossvalidation.cross_validate(
            manifest, wish.folds, val=val, calibration=calibration, seed=seed, groups=groups
        )
    made = folds.leave_source_out(
        manifest, val=val, calibration=calibration, seed=seed, groups=groups, tell=say
    )
    return sources, [fold.splits for fold in made]


if TYPE_CHECKING:
    from melanoma import study

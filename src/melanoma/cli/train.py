"""`melanoma train`: one whole run."""

import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma.cli import options
from melanoma.cli import study as studies
from melanoma.cli.progress import say
from melanoma.cli.streams import import_tensorflow
from melanoma.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from melanoma.run_images import Request
    from melanoma.runs import Result


def train(
    context: typer.Context,
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATA...", help="Folder or CSV of labelled images, as PATH or NAME=PATH."),
    ] = None,
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a YAML file.")] = "original_cnn",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the recipe, such as training.epochs=3."),
    ] = None,
    groups: options.Groups = None,
    splits: Annotated[Path | None, typer.Option(help="Splits made by `melanoma split`.")] = None,
    label: options.Labels = None,
    seed: options.Seed = 1,
    limit: Annotated[int, typer.Option(min=0, help="Use so many of the images only; 0 is all.")] = 0,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder for the run; default: a new one in runs/.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse when any image cannot be read.")] = False,
    register: Annotated[bool, typer.Option(help="Register the model with MLflow.")] = True,
    folds: Annotated[
        int,
        typer.Option(min=0, help="Cross-validate: so many runs, each tested on another part of the images."),
    ] = 0,
    leave_source_out: Annotated[
        bool, typer.Option("--leave-source-out", help="One run a source, tested on that source alone.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each fold, from --seed on.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Share every batch: devices of this machine, or with --cluster processes."),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Runs of a study, or --workers, on Ray: auto, or HOST:PORT.")
    ] = None,
    parent_run: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Train, calibrate, evaluate and track a network; a run that was stopped goes on with --resume.

    With --folds or --leave-source-out a study of several runs; the same command goes on with it.
    """
    if resume is not None:
        _refuse_with_resume(context, data)
        result = run(None, "", [], resume, {"workers": workers, "cluster": cluster})
    elif data:
        if splits and groups:
            raise ConfigError("give --splits, which holds the groups already, or --groups")
        if splits and limit:
            raise ConfigError("--splits names the images to take; leave --limit out")
        from melanoma.run_images import Request

        request = Request(
            sources=data, seed=seed, labels=options.parse_labels(label), strict=strict, limit=limit,
            groups=str(groups) if groups else None, splits=str(splits) if splits else None, register=register,
            parent=parent_run, workers=workers or 1, cluster=cluster,
        )  # fmt: skip
        if folds or leave_source_out:
            if workers:
                raise ConfigError("--workers is for a single run; a study does whole runs side by side")
            _study(
                request, studies.Wish(folds, seeds, cluster), leave_source_out, recipe, set_ or [], run_dir
            )
            return
        _refuse_study_options(seeds)
        result = run(request, recipe, set_ or [], run_dir or new_folder(Path(recipe).stem, seed))
    else:
        raise ConfigError("give DATA to train on, or --resume RUN")
    report_result(result)


def _refuse_with_resume(context: typer.Context, data: list[str] | None) -> None:
    """Raise ConfigError for what a run that goes on does not take."""
    if data:
        raise ConfigError("--resume takes the images that the run began with; leave DATA out")
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [
        f"--{'no-' if context.params[name] is False else ''}{name.strip('_').replace('_', '-')}"
        for name, source in sources.items()
        if name not in {"resume", "workers", "cluster"} and source and source.name == "COMMANDLINE"
    ]
    if given:
        raise ConfigError(f"--resume takes everything else from the run; leave {', '.join(given)} out")


def _study(
    request: "Request",
    wish: studies.Wish,
    leave_source_out: bool,
    recipe: str,
    overrides: list[str],
    folder: Path | None,
) -> None:
    from melanoma.config import load_recipe

    if wish.folds and leave_source_out:
        raise ConfigError("give --folds or --leave-source-out")
    if request.splits or request.limit:
        raise ConfigError(
            "a study splits the images itself and takes all of them; leave out --splits and --limit"
        )
    name = "folds" if wish.folds else "sources"
    studies.run(
        request,
        wish,
        load_recipe(recipe, overrides),
        folder or new_folder(f"{Path(recipe).stem}-{name}", request.seed),
    )


def _refuse_study_options(seeds: int) -> None:
    if seeds > 1:
        raise ConfigError("--seeds is for a study; add --folds N or --leave-source-out")


def run(
    request: "Request | None",
    recipe: str,
    overrides: list[str],
    folder: Path,
    now: "Mapping[str, Any] | None" = None,
) -> "Result":
    """Start a run, or resume the one in `folder` when `request` is None, with progress shown.

    `now`: what of the resumed request is otherwise this time; None stands for what it was.
    """
    from melanoma import runs
    from melanoma.config import load_recipe

    if request is None:
        begun, resolved = runs.load(folder)
    else:
        begun, resolved = request, load_recipe(recipe, overrides)
        options.check_sources(request.sources)
        runs.check_free(folder)
    say("loading TensorFlow ...")
    import_tensorflow()
    from melanoma.cli.run_listener import RunListener
    from melanoma.cli.workers import choose_fit

    listener = RunListener()
    try:
        if request is None:
            changes = {name: value for name, value in (now or {}).items() if value is not None}
            if changes.get("workers") == 1:  # alone from here on, wherever it was
                changes = {"cluster": None, **changes}
            with listener.heeding_ctrl_c(), choose_fit(replace(begun, **changes), resolved, folder) as fit:
                return runs.resume(folder, listener, fit)
        say(f"run folder: {folder}")
        with listener.heeding_ctrl_c(), choose_fit(request, resolved, folder) as fit:
            return runs.start(request, resolved, folder, listener, fit)
    except KeyboardInterrupt:
        if (folder / "run.json").exists():
            say(f"stopped; go on with: {runnable('melanoma', 'train', '--resume', str(folder))}")
        raise
    finally:
        listener.close()


def report_result(result: "Result") -> None:
    """The figures that matter most, and where everything lies."""
    from melanoma.tracking import run_address

    for report in result.reports:
        shown = {"accuracy": "accuracy at 0.5", "auroc": "auroc"}
        shown |= {name: name for name in ("sensitivity", "specificity")}
        text = ", ".join(f"{words} {report.figures[name]}" for name, words in shown.items())
        typer.echo(f"{report.name} ({report.n:,} images): {text}")
    if result.notice:
        typer.echo(result.notice)
    typer.echo(f"report:  {result.page}")
    typer.echo(f"bundle:  {result.bundle}")
    address = run_address(result.folder)
    if address.startswith("mlflow "):
        address = runnable(*shlex.split(address))
    unsent = f"not sent yet; send it with: {runnable('melanoma', 'track', 'sync', str(result.folder))}"
    typer.echo(f"MLflow:  run {result.folder.name} in experiment melanoma: {address or unsent}")


def runnable(program: str, *arguments: str) -> str:
    """A command line to paste: a program that is not on the PATH is named by its place beside Python."""
    beside = Path(sys.executable).parent / program
    found = shutil.which(program) or not beside.exists()
    return shlex.join([program if found else os.path.relpath(beside), *arguments])


def new_folder(name: str, seed: int, parent: Path = Path("runs")) -> Path:
    """A run folder's name that says recipe, seed and time."""
    from datetime import datetime

    return parent / f"{name}-seed{seed}-{datetime.now():%Y%m%d-%H%M%S}"

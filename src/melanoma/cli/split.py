"""`melanoma split`: train, validation, calibration and test images."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma.cli import options
from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    import pandas as pd

    from melanoma.data.folds import Fold
    from melanoma.data.manifest import Manifest
    from melanoma.data.splits import Splits


def split(
    data: options.Data,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="CSV to write; with several folds, the stem of their names."),
    ] = Path("splits.csv"),
    groups: options.Groups = None,
    label: options.Labels = None,
    seed: options.Seed = 1,
    val: Annotated[float, typer.Option(help="Share for validation.")] = 0.1,
    calibration: Annotated[float, typer.Option(help="Share for calibration.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share for test where none is given.")] = 0.15,
    leave_source_out: Annotated[
        bool,
        typer.Option("--leave-source-out", help="One CSV a source, in which that source is the test."),
    ] = False,
    train_on: Annotated[
        str | None,
        typer.Option(help="Train on this source alone; the others, without its copies, are the test."),
    ] = None,
) -> None:
    """Divide labelled images, keeping patients, lesions, equal files and given groups together."""
    from melanoma.data import folds as folding
    from melanoma.data import manifest as manifests
    from melanoma.data import splits as splitting

    refuse_inputs([output], data, groups)
    if leave_source_out and train_on is not None:
        raise ConfigError("give --leave-source-out or --train-on")
    table = splitting.load_groups(groups) if groups else None
    with show_progress("reading the images") as update:
        manifest = manifests.load(data, labels=options.parse_labels(label), progress=update)
    say(manifests.describe(manifest))
    if (leave_source_out or train_on is not None) and groups is None:
        say("no --groups: of the images that sources share, only equal files are known")
    shares = {"val": val, "calibration": calibration, "test": test}
    if leave_source_out:
        folds = folding.leave_source_out(
            manifest, val=val, calibration=calibration, seed=seed, groups=table, tell=say
        )
        paths = folding.name_files(folds, output)
        refuse_inputs(paths, data, groups)
        folding.save(folds, paths)
        report_folds(folds, manifest, paths)
    else:
        if train_on is not None:
            splits = folding.train_on(manifest, train_on, **shares, seed=seed, groups=table)
        else:
            splits = splitting.assign(manifest, **shares, seed=seed, groups=table)
        splitting.save(splits, output)
        report_splits(splits, manifest.table["y_true"], output)


def refuse_inputs(outputs: Iterable[Path], data: Sequence[str], groups: Path | None) -> None:
    """Raise ConfigError when an output is a folder, an input, or a file of an input folder but older splits."""
    named = options.resolve_inputs(data)
    for output in outputs:
        place = output.resolve()
        within = any(folder in place.parents for folder in named) and place.is_file()
        if place in named or (groups and place == groups.resolve()) or (within and not holds_splits(place)):
            raise ConfigError(f"{output} is one of the inputs; give another --output")
        if place.is_dir():
            raise ConfigError(f"{output} is a folder; give --output the name of a CSV")
        if place.is_file() and not holds_splits(place):
            raise ConfigError(f"{output} is there already and holds no splits; give another --output")


def holds_splits(path: Path) -> bool:
    """Whether a file is a CSV that this command wrote."""
    from melanoma.data.splits import COLUMNS
    from melanoma.data.tables import read_table

    try:
        return set(COLUMNS) <= set(read_table(path, rows=0).columns)
    except ManifestError:
        return False


def report_splits(splits: "Splits", y_true: "pd.Series[int]", path: Path) -> None:
    """Images a split and melanomas among them, and where the splits lie."""
    from melanoma.data.splits import SPLITS

    for name in SPLITS:
        rows = splits.table["split"] == name
        if rows.any():
            typer.echo(f"{name}: {rows.sum():,}, {y_true[rows].sum():,} of them melanoma")
    typer.echo(f"splits: {path}, digest {splits.digest}")


def report_folds(folds: Sequence["Fold"], manifest: "Manifest", paths: Sequence[Path]) -> None:
    """A line a fold: images a split, which side gave up what, and where the splits lie."""
    from melanoma.data.folds import describe

    for fold, path in zip(folds, paths, strict=True):
        typer.echo(f"{describe(fold, manifest)}; {path}, digest {fold.splits.digest}")

"""`melanoma split`: train, validation, calibration and test images."""

from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import options
from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError


def split(
    data: options.Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV to write.")] = Path("splits.csv"),
    groups: options.Groups = None,
    label: options.Labels = None,
    seed: options.Seed = 1,
    val: Annotated[float, typer.Option(help="Share for validation.")] = 0.1,
    calibration: Annotated[float, typer.Option(help="Share for calibration.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share for test where none is given.")] = 0.15,
) -> None:
    """Divide labelled images, keeping patients, lesions and equal files together."""
    from melanoma.data import manifest as manifests
    from melanoma.data import splits as splitting

    if output.resolve() in {Path(source.partition("=")[2] or source).resolve() for source in data}:
        raise ConfigError(f"{output} is one of the inputs; give another --output")
    with show_progress("reading the images") as update:
        manifest = manifests.load(data, labels=options.parse_labels(label), progress=update)
    say(manifests.describe(manifest))
    table = splitting.load_groups(groups) if groups else None
    splits = splitting.assign(manifest, val=val, calibration=calibration, test=test, seed=seed, groups=table)
    splitting.save(splits, output)
    for name, count in splits.table["split"].value_counts().items():
        typer.echo(f"{name}: {count:,}")
    typer.echo(f"splits: {output}, digest {splits.digest}")

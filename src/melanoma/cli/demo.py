"""`melanoma demo`: the whole job in a few minutes."""

import os
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import options, rows
from melanoma.cli import train as training
from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError
from melanoma.inference.predictor import load_predictor
from melanoma.inference.sources import ImageFile

SYNTHETIC_IMAGES = 1800
REAL_IMAGES = 3000
EPOCHS = 5


def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Where the demonstration goes.")] = Path(
        "runs"
    ),
    seed: options.Seed = 1,
    images: Annotated[int, typer.Option(min=0, help="How many images to use; 0 is the usual number.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="How many epochs to train.")] = EPOCHS,
) -> None:
    """Train, track, evaluate and use a network: on real images where MELANOMA_DATA names some, else drawn ones."""
    real = _find_real_images()
    limit = images or (REAL_IMAGES if real else SYNTHETIC_IMAGES)
    if real:
        say(
            f"Real images: up to {limit:,} of {real}, {epochs} epochs (a demonstration, not the full training)."
        )
    else:
        say(
            f"Drawn images ({limit:,}), as MELANOMA_DATA names no real ones: no figure here is medical evidence."
        )
    from melanoma.run_images import Request

    source = real or _draw(folder / "drawn-images", limit, seed)
    request = Request(sources=[str(source)], seed=seed, limit=limit, register=real is not None)
    run = training.new_folder("demo", seed, folder)
    result = training.run(request, "original_cnn", [f"training.epochs={epochs}", "name=demo"], run)
    training.report_result(result)
    _use(result.bundle, run)


def _find_real_images() -> Path | None:
    root = os.environ.get("MELANOMA_DATA")
    if not root:
        return None
    if not Path(root).is_dir():
        raise ConfigError(f"MELANOMA_DATA names no folder: {root}; unset it to train on drawn images")
    collection = Path(root) / "melanoma10k"
    return collection if collection.is_dir() else Path(root)


def _draw(folder: Path, n: int, seed: int) -> Path:
    from melanoma.data.synthetic import write_collection

    with show_progress("drawing images") as update:
        return write_collection(
            folder.with_name(f"{folder.name}-{n}-{seed}"), n=n, seed=seed, progress=update
        )


def _use(bundle: Path, run: Path) -> None:
    """Judge three test images with the new bundle and say what to try next."""
    import pandas as pd

    splits = pd.read_csv(run / "splits.csv", dtype=str)
    paths = splits.loc[splits["split"] == "test", "path"].iloc[::97].head(3)
    files = [ImageFile("", path, Path(path).stem) for path in paths]
    typer.echo("\nThree test images judged by the new bundle:")
    rows.write(load_predictor(bundle).score_files(files), "table", None)
    typer.echo("\nTry next:")
    for command in (
        ["predict", paths.iloc[0], "--bundle", str(bundle), "--explain", "overlays"],
        ["serve", "--bundle", str(bundle)],
        ["evaluate", "FOLDER", "--bundle", str(bundle)],
        ["train", "FOLDER", "--recipe", "original_cnn_tuned"],
    ):
        typer.echo(f"  {training.runnable('melanoma', *command)}")

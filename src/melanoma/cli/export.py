"""`melanoma export`: another bundle from a finished run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli.progress import say
from melanoma.cli.streams import import_tensorflow
from melanoma.errors import RunError


class Quantize(StrEnum):
    """How the weights are stored."""

    NONE = "none"
    FLOAT16 = "float16"
    INT8_WEIGHTS = "int8_weights"


def export(
    run: Annotated[Path, typer.Option(help="Folder of a finished run.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the bundle.")],
    quantize: Annotated[Quantize, typer.Option(help="How to store the weights.")] = Quantize.NONE,
) -> None:
    """Export a run's network again, quantised otherwise; calibrated again on the run's calibration images."""
    if output.exists():
        raise RunError(f"{output} exists already; give another --output")
    say("loading TensorFlow ...")
    import_tensorflow()
    from melanoma import runs

    bundle = runs.export(run, output, quantize.value)
    typer.echo(
        f"bundle: {bundle.folder}, {bundle.network.stat().st_size / 1e6:.1f} MB, digest {bundle.digest}"
    )

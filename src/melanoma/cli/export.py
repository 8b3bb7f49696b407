"""`melanoma export`: a network for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli.progress import say
from melanoma.cli.streams import import_tensorflow
from melanoma.errors import ConfigError, OutputError


class Format(StrEnum):
    """What is written."""

    BUNDLE = "bundle"
    ONNX = "onnx"
    SAVED_MODEL = "saved_model"


class Quantize(StrEnum):
    """How the weights are stored."""

    NONE = "none"
    FLOAT16 = "float16"
    INT8_WEIGHTS = "int8_weights"


def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write; for onnx a file, such as network.onnx.")
    ],
    run: Annotated[Path | None, typer.Option(help="Folder of a finished run.")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder of a bundle, for onnx; without it and --run the one that ships."),
    ] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="A bundle for melanoma (LiteRT), ONNX, or TensorFlow's SavedModel."),
    ] = Format.BUNDLE,
    quantize: Annotated[Quantize, typer.Option(help="How to store the weights.")] = Quantize.NONE,
) -> None:
    """Export a network: a run's again as a bundle, quantised otherwise, or for other programs.

    A bundle is calibrated again on the run's calibration images. ONNX files and SavedModels take prepared pixels, give
    the calibrated probability, and hold labels, preprocessing, calibration and operating point.
    """
    _check(run, bundle, form, quantize)
    if output.exists():
        raise OutputError(f"{output} exists already; give another --output")
    say("loading TensorFlow ...")
    import_tensorflow()
    if form is Format.ONNX:
        _write_onnx(run / "bundle" if run else bundle, output, quantize)
    elif run is not None:
        _write_of_run(run, output, form, quantize)


def _check(run: Path | None, bundle: Path | None, form: Format, quantize: Quantize) -> None:
    """Raise ConfigError when what is asked for does not go together."""
    if run and bundle:
        raise ConfigError("give --run or --bundle, not both")
    if form is not Format.ONNX and run is None:
        raise ConfigError(f"--format {form.value} is made from a run's own network; give --run FOLDER")
    if form is Format.SAVED_MODEL and quantize is not Quantize.NONE:
        raise ConfigError(
            "a SavedModel's weights are float32; leave out --quantize, or give --format bundle or onnx"
        )


def _write_onnx(folder: Path | None, output: Path, quantize: Quantize) -> None:
    from melanoma.inference import bundle as bundles
    from melanoma.training.onnx_file import write_onnx

    bundle = bundles.load(folder or bundles.default_folder())
    say("converting ...")
    write_onnx(bundle, output, quantize.value)
    typer.echo(f"ONNX: {output}, {output.stat().st_size / 1e6:.1f} MB, of bundle {bundle.digest}")


def _write_of_run(run: Path, output: Path, form: Format, quantize: Quantize) -> None:
    from melanoma import runs

    if form is Format.SAVED_MODEL:
        runs.export_saved_model(run, output)
        typer.echo(f"SavedModel: {output}")
        return
    bundle = runs.export(run, output, quantize.value)
    typer.echo(
        f"bundle: {bundle.folder}, {bundle.network.stat().st_size / 1e6:.1f} MB, digest {bundle.digest}"
    )

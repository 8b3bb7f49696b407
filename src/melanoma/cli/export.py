"""`melanoma export`: a network for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from melanoma.cli.progress import say
from melanoma.cli.streams import import_tensorflow
from melanoma.errors import ConfigError, OutputError


class Format(StrEnum):
    """What is written."""

    LITERT = "litert"
    ONNX = "onnx"
    SAVED_MODEL = "saved_model"
    PAGE = "page"


OF_BUNDLES = (Format.ONNX, Format.PAGE)


class Quantize(StrEnum):
    """How the weights are stored; with `int8` also how the network computes."""

    NONE = "none"
    FLOAT16 = "float16"
    INT8_WEIGHTS = "int8_weights"
    INT8 = "int8"


Stored = Literal["none", "float16", "int8_weights"]


def export(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder to write; for onnx and page a file, such as network.onnx."
        ),
    ],
    run: Annotated[Path | None, typer.Option(help="Folder of a finished run.")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Folder of a bundle, for onnx and page; without it and --run the one that ships."),
    ] = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="A bundle with a LiteRT network, ONNX, TensorFlow's SavedModel, or a page that judges.",
        ),
    ] = Format.LITERT,
    quantize: Annotated[
        Quantize, typer.Option(help="How to store the weights; int8: compute so, too.")
    ] = Quantize.NONE,
    onnxruntime_web: Annotated[
        Path | None, typer.Option(help="Folder of the npm package onnxruntime-web, for page.")
    ] = None,
) -> None:
    """Export a network: a run's again as a bundle, quantised otherwise, or for other programs.

    A bundle is calibrated again on the run's calibration images. ONNX files and SavedModels take prepared pixels, give
    the calibrated probability, and hold labels, preprocessing, calibration and operating point. A page is one HTML
    file that judges images in the browser; they do not leave it.
    """
    _check(run, bundle, form, quantize)
    if (form is Format.PAGE) != (onnxruntime_web is not None):
        raise ConfigError("--format page and --onnxruntime-web FOLDER go together")
    if output.exists():
        raise OutputError(f"{output} exists already; give another --output")
    if form in OF_BUNDLES:
        _load_tensorflow()
        stored = cast(Stored, quantize.value)
        _write_of_bundle(run / "bundle" if run else bundle, output, stored, onnxruntime_web)
    elif run is not None:
        _load_tensorflow()
        _write_of_run(run, output, form, quantize)


def _check(run: Path | None, bundle: Path | None, form: Format, quantize: Quantize) -> None:
    """Raise ConfigError when what is asked for does not go together."""
    if run and bundle:
        raise ConfigError("give --run or --bundle, not both")
    if form not in OF_BUNDLES and run is None:
        raise ConfigError(f"--format {form.value} is made from a run's own network; give --run FOLDER")
    if form is Format.SAVED_MODEL and quantize is not Quantize.NONE:
        raise ConfigError(
            "a SavedModel's weights are float32; leave out --quantize, or give --format litert or onnx"
        )
    if form in OF_BUNDLES and quantize is Quantize.INT8:
        raise ConfigError(
            "first make such a bundle: melanoma export --run RUN --quantize int8 -o FOLDER; then give its --bundle"
        )


def _load_tensorflow() -> None:
    say("loading TensorFlow ...")
    import_tensorflow()


def _write_of_bundle(
    folder: Path | None, output: Path, quantize: Stored, onnxruntime_web: Path | None
) -> None:
    from melanoma.inference import bundle as bundles
    from melanoma.training import browser_page, onnx_file

    bundle = bundles.load(folder or bundles.default_folder())
    say("converting ...")
    if onnxruntime_web is None:
        onnx_file.write_onnx(bundle, output, quantize)
    else:
        browser_page.write_page(bundle, onnxruntime_web, output, quantize)
    typer.echo(f"{output}, {output.stat().st_size / 1e6:.1f} MB, of bundle {bundle.digest}")


def _write_of_run(run: Path, output: Path, form: Format, quantize: Quantize) -> None:
    from melanoma import runs
    from melanoma.cli.run_listener import RunListener

    if form is Format.SAVED_MODEL:
        runs.export_saved_model(run, output)
        typer.echo(f"SavedModel: {output}")
        return
    listener = RunListener()
    try:
        bundle = runs.export(run, output, quantize.value, listener)
    finally:
        listener.close()
    typer.echo(
        f"bundle: {bundle.folder}, {bundle.network.stat().st_size / 1e6:.1f} MB, digest {bundle.digest}"
    )

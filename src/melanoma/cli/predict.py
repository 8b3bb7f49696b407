"""`melanoma predict`: judge images."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from melanoma.cli import options, rows
from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError, ImageError
from melanoma.inference.prediction import Prediction
from melanoma.inference.predictor import Predictor
from melanoma.inference.sources import ImageFile, find_images


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    source: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Image files or folders.")],
    bundle: options.BundleOption = None,
    format: Annotated[Format, typer.Option(help="How to write the results.")] = Format.TABLE,  # noqa: A002
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File in place of standard output.")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(help="Folder for overlays of where the network looked.")
    ] = None,
    prevalence: Annotated[
        float | None, typer.Option(help="Share of melanomas where you work; re-bases the probabilities.")
    ] = None,
    no_domain_check: Annotated[
        bool, typer.Option("--no-domain-check", help="Judge images that do not look dermoscopic, too.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with code 2 if any image cannot be read.")
    ] = False,
) -> None:
    """Judge dermoscopic images: probability of melanoma, and whether to refer."""
    files = list(find_images(source))
    _refuse_inputs(files, output, explain)
    predictor = options.open_predictor(bundle, prevalence=prevalence, domain_check=not no_domain_check)
    counts: Counter[str] = Counter()
    with show_progress("judging images") as update:
        judged = _watch(predictor.score_files(files), counts, len(files), update)
        rows.write(_explained(judged, files, predictor, explain), format.value, output)
    _summarise(counts, len(files), strict)


def _refuse_inputs(files: list[ImageFile], output: Path | None, explain: Path | None) -> None:
    """Raise ConfigError when the results or an overlay would take the place of an image."""
    inputs = {Path(file.path).resolve() for file in files}
    if output is not None and output.resolve() in inputs:
        raise ConfigError(f"{output} is one of the images; give another --output")
    if explain is not None:
        for name in rows.name_overlays(files):
            if (explain / f"{name}.png").resolve() in inputs:
                raise ConfigError(
                    f"{explain / name}.png is one of the images; give another folder to --explain"
                )


def _watch(
    predictions: Iterator[Prediction], counts: Counter[str], total: int, update: Callable[[int, int], None]
) -> Iterator[Prediction]:
    for done, prediction in enumerate(predictions, start=1):
        counts["error" if prediction.error else str(prediction.decision)] += 1
        update(done, total)
        yield prediction


def _explained(
    predictions: Iterator[Prediction], files: list[ImageFile], predictor: Predictor, folder: Path | None
) -> Iterator[Prediction]:
    """The same predictions; an overlay of each image that could be read lands in `folder`."""
    names = rows.name_overlays(files)
    for file, name, prediction in zip(files, names, predictions, strict=True):
        if folder is not None and not prediction.error:
            rows.write_overlay(replace(file, image_id=name), predictor, folder)
        yield prediction


def _summarise(counts: Counter[str], total: int, strict: bool) -> None:
    broken, refused = counts["error"], counts["cannot_assess"]
    if total > 1:
        judged = f"{counts['refer']} refer, {counts['no_sign']} no sign"
        unlike = f", {refused} not dermoscopic" if refused else ""
        say(f"{total} images: {judged}{unlike}, {broken} could not be read")
    if broken and (strict or broken == total):
        raise ImageError(
            f"{broken} of {total} images could not be read; the results name each with its reason"
        )
    if broken + refused == total:
        raise ImageError(
            f"{refused} of {total} images do not look dermoscopic; the results name each, "
            "and --no-domain-check judges them too"
        )

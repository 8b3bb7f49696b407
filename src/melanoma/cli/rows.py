"""Result rows as a table, JSON, JSON lines or CSV."""

import csv
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import IO

from melanoma.errors import OutputError
from melanoma.inference import images
from melanoma.inference.explain import overlay
from melanoma.inference.prediction import Prediction
from melanoma.inference.predictor import Predictor
from melanoma.inference.sources import ImageFile

Rows = Iterator[Prediction]


def write(predictions: Rows, form: str, output: Path | None) -> None:
    """Write all rows to a file, which appears when it is whole, or to standard output as they come."""
    writer: Callable[[Rows, IO[str]], None] = WRITERS[form]
    if output is None:
        writer(predictions, sys.stdout)
        return
    with _replacing(output) as file:
        writer(predictions, file)


def write_overlay(file: ImageFile, predictor: Predictor, folder: Path) -> None:
    """Save where the network looked as `folder/IMAGE_ID.png`."""
    from PIL import Image

    image = images.load(file.path)
    picture = overlay(image, predictor.run(image).heatmap[0], predictor.bundle.preprocessing)
    target = folder / f"{file.image_id}.png"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error


def _write_table(predictions: Rows, file: IO[str]) -> None:
    file.write(f"{'probability':>11}  {'decision':<13}  image\n")
    for row in predictions:
        probability = "" if row.y_prob is None else f"{row.y_prob:.3f}"
        note = f"  ({row.error or row.reason})" if row.error or row.reason else ""
        name = (
            row.path.encode("unicode_escape", "surrogateescape").decode() if _is_odd(row.path) else row.path
        )
        file.write(f"{probability:>11}  {row.decision:<13}  {name}{note}\n")


def _write_json(predictions: Rows, file: IO[str]) -> None:
    file.write("[")
    for number, row in enumerate(predictions):
        file.write((",\n " if number else "\n ") + json.dumps(row.to_dict()))
    file.write("\n]\n")


def _write_jsonl(predictions: Rows, file: IO[str]) -> None:
    for row in predictions:
        file.write(json.dumps(row.to_dict()) + "\n")
        file.flush()


def _write_csv(predictions: Rows, file: IO[str]) -> None:
    names = [field.name for field in fields(Prediction)]
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in predictions:
        writer.writerow(row.to_dict())
        file.flush()


def _is_odd(path: str) -> bool:
    """True for names that would break a line of the table or cannot be printed."""
    return not path.isprintable()


@contextmanager
def _replacing(output: Path) -> Iterator[IO[str]]:
    """A file under a temporary name that takes the place of `output` when all went well."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=output.parent, prefix=f".{output.name}.", delete=False, encoding="utf-8",
            errors="surrogateescape", newline="",
        ) as file:  # fmt: skip
            temporary = Path(file.name)
            try:
                yield file
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        temporary.chmod(0o644)
        temporary.replace(output)
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from error


WRITERS: dict[str, Callable[[Rows, IO[str]], None]] = {
    "table": _write_table,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}

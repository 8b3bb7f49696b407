"""Result rows as a table, JSON, JSON lines, CSV or Parquet."""

import csv
import errno
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import IO
from zlib import Z_HUFFMAN_ONLY

import numpy as np
from numpy.typing import NDArray

from melanoma.cli import streams
from melanoma.errors import ConfigError, OutputError
from melanoma.files import replacing
from melanoma.inference.decision import Decision
from melanoma.inference.prediction import Prediction
from melanoma.inference.sources import ImageFile

Rows = Iterator[Prediction]

ROW_GROUP = 10_000


def choose_format(asked: str | None, output: Path | None) -> str:
    """The format asked for, or that of the output's suffix, or a table. Raises ConfigError when they differ."""
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    if suffix not in FORMATS or suffix == "table":
        return asked or "table"
    if asked not in {None, suffix}:
        raise ConfigError(f"{output} would hold {asked}; give --format {suffix}, or another name to --output")
    return suffix


def check(form: str, output: Path | None) -> None:
    """Raise ConfigError when rows cannot be written so, before any work is done; ModuleNotFoundError, OutputError."""
    if form == "parquet":
        if output is None or str(output) == "-":
            raise ConfigError("--format parquet needs a file: give one with --output")
        import pyarrow.parquet  # noqa: F401 - better now than after all images
    if output is not None and output.is_dir():
        raise OutputError(f"cannot write {output}: {os.strerror(errno.EISDIR)}")


def write(predictions: Rows, form: str, output: Path | None) -> None:
    """Write all rows to a file, which appears when it is whole, or to standard output as they come.

    Raises OutputError; a reader of standard output who leaves early (`| head`) ends the command quietly.
    """
    check(form, output)
    if form == "parquet" and output is not None:
        with replacing(output.resolve()) as temporary:
            _write_parquet(predictions, temporary)
        return
    writer: Callable[[Rows, IO[str]], None] = WRITERS[form]
    if output is not None and str(output) != "-":
        with _replacing(output) as file:
            writer(predictions, file)
        return
    if sys.stdout is None:
        raise OutputError("standard output is closed; give a file with --output")
    if form == "table":
        streams.accept_any_text()
    else:  # for machines: the same bytes as in a file
        streams.accept_any_text("utf-8", "surrogateescape")
    try:
        writer(predictions, sys.stdout)
        streams.flush_stdout()
    except BrokenPipeError:
        streams.discard_stdout()
        sys.exit(0)
    except OSError as error:
        streams.discard_stdout()
        raise OutputError(f"cannot write to standard output: {error.strerror or error}") from error


def name_overlays(files: Iterable[ImageFile]) -> Iterator[str]:
    """Each image's `image_id`, with -2, -3 and so on where an earlier image has it already.

    Names that differ in case only count as the same, as some file systems take them.
    """
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    for file in files:
        name, key = file.image_id, file.image_id.casefold()
        numbers[key] = max(numbers[key], 1)
        while name.casefold() in taken:
            numbers[key] += 1
            name = f"{file.image_id}-{numbers[key]}"
        taken.add(name.casefold())
        yield name


def write_overlay(picture: NDArray[np.uint8], target: Path) -> None:
    """Save where the network looked, RGB uint8 (h, w, 3), as PNG.

    Pixels as they are, in a file a little larger than it could be: the smallest would take longer than the network.
    """
    from PIL import Image

    with replacing(target) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", compress_level=1, compress_type=Z_HUFFMAN_ONLY)


def _write_table(predictions: Rows, file: IO[str]) -> None:
    file.write(f"{'probability':>11}  {'decision':<13}  image\n")
    for row in predictions:
        assessed = row.y_prob is not None and row.decision is not Decision.CANNOT_ASSESS
        probability = f"{row.y_prob:.3f}" if assessed else ""  # of a cat it would only mislead
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
    plain = csv.DictWriter(file, names, lineterminator="\n")
    quoting = csv.DictWriter(file, names, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writeheader()
    for row in predictions:
        # A carriage return ends a line for every reader, and `csv` quotes it only when it ends its own.
        (quoting if "\r" in row.path else plain).writerow(row.to_dict())
        file.flush()


def _write_parquet(predictions: Rows, path: Path) -> None:
    """In groups of rows, so that a million take no more memory than these."""
    from pyarrow import parquet

    from melanoma.archive.table import SCHEMA, to_table

    with parquet.ParquetWriter(path, SCHEMA) as writer:
        while group := list(islice(predictions, ROW_GROUP)):
            writer.write_table(to_table(group))


def _is_odd(path: str) -> bool:
    """True for names that would break a line of the table or cannot be printed."""
    return not path.isprintable()


@contextmanager
def _replacing(output: Path) -> Iterator[IO[str]]:
    """A file under a temporary name that takes the place of `output` when all went well."""
    if output.exists() and not output.is_file():  # a device or a pipe is written into, never replaced
        try:
            with _open(output) as file:
                yield file
        except OSError as error:
            raise OutputError(f"cannot write {output}: {error.strerror or error}") from error
        return
    # A link stays, what it points at is replaced.
    with replacing(output.resolve()) as temporary, _open(temporary) as file:
        yield file


def _open(path: Path) -> IO[str]:
    return path.open("w", encoding="utf-8", errors="surrogateescape", newline="")


WRITERS: dict[str, Callable[[Rows, IO[str]], None]] = {
    "table": _write_table,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}
FORMATS = (*WRITERS, "parquet")

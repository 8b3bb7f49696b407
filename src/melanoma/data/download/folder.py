"""The folder that a download fills: whose it is, files that are whole, tables that a second call may add to."""

import csv
import io
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from melanoma.errors import OutputError
from melanoma.files import replacing, write_text

REQUEST = "download.json"
_ABANDONED = 60.0  # seconds after which a temporary file is nobody's any more


@dataclass(frozen=True, slots=True)
class Result:
    """What a download brought.

    `title` says in words what it is, `fetched` and `present` count the images of this call and those that lay
    there before, `failed` pairs an image with the reason, `licences` counts the images under each licence.
    """

    folder: Path
    title: str
    fetched: int
    present: int
    failed: list[tuple[str, str]] = field(default_factory=list)
    licences: dict[str, int] = field(default_factory=dict)


def check(folder: Path, request: Mapping[str, object]) -> None:
    """Raise OutputError unless the folder is new, empty, or holds what came of the same request."""
    try:
        entries = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"cannot use {folder}: {error.strerror}; choose another folder") from error
    if not entries:
        return
    if REQUEST not in entries:
        raise OutputError(f"{folder} holds other files; choose a new folder")
    held = _read_request(folder / REQUEST)
    if held != dict(request):
        raise OutputError(f"{folder} holds another download ({_describe(held)}); choose another folder")


def claim(folder: Path, request: Mapping[str, object]) -> None:
    """Note the request, so that no other one is mixed in, and clear away what a killed call left.

    Raises OutputError.
    """
    write_text(folder / REQUEST, json.dumps(dict(request), indent=2) + "\n")
    for path in folder.glob("**/.[0-9]*.*"):
        try:
            if path.name.split(".")[1].isdecimal() and time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()
        except OSError:  # another call was faster
            continue


def save(path: Path, body: bytes) -> None:
    """Write a file that is on the disk before it gets its name. Raises OutputError."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def discard(path: Path) -> None:
    """Remove a file, if it is there. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot replace {path}: {error.strerror}; remove it") from error


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV that an earlier call wrote, none when it is missing or damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: text or "" for name, text in row.items() if name} for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error):
        return []


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a CSV, '' where a row lacks a column. Raises OutputError."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def tidy(value: object) -> str:
    """A value from elsewhere as text for one cell: printable, on one line, '' for nothing."""
    if value is None:
        return ""
    text = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _read_request(path: Path) -> dict[str, object]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        held = None
    if not isinstance(held, dict):
        raise OutputError(f"{path} is damaged; choose another folder")
    return held


def _describe(request: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {tidy(value)}" for name, value in request.items() if value is not None)

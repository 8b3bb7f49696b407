"""What a run wants tracked, on disk before anything is sent anywhere, and how far it has been sent."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from melanoma.errors import OutputError, RunError

FILE_NAME = "tracking.jsonl"
STATE_NAME = "tracking-state.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal.

    `seq` counts from 0; `time` is when it was noted, milliseconds since 1970; `payload` is plain JSON.
    An entry with a `key` stands in the journal once.
    """

    seq: int
    kind: str
    key: str | None
    time: int
    payload: dict[str, Any]


class Journal:
    """Append-only list of entries, one JSON object a line, that survives `kill -9` and a full disk.

    Opening never writes, so a second process may read while the run goes on; only the run appends.
    """

    def __init__(self, path: Path, entries: list[Entry], size: int) -> None:
        self._path = path
        self._entries = entries
        self._keys = {entry.key for entry in entries if entry.key is not None}
        self._size = size

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the journal of a run folder, empty when there is none; a torn last line is left out.

        Raises RunError when it cannot be read or is damaged anywhere else.
        """
        path = folder / FILE_NAME
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}") from error
        entries, size = _parse(content, path)
        return cls(path, entries, size)

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        return list(self._entries)

    def append(self, kind: str, payload: dict[str, Any], key: str | None = None) -> None:
        """Note one entry and see it on the disk; nothing happens when `key` is there already.

        `payload`: plain JSON, NaN and infinities allowed. Raises OutputError when it cannot be written.
        """
        if key in self._keys:
            return
        entry = Entry(len(self._entries), kind, key, time.time_ns() // 1_000_000, payload)
        line = json.dumps(asdict(entry)).encode() + b"\n"
        try:
            self._write(line)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error
        self._size += len(line)
        self._entries.append(entry)
        if key is not None:
            self._keys.add(key)

    def _write(self, line: bytes) -> None:
        self._path.touch()
        with self._path.open("r+b") as file:
            # What lies behind the last whole line was torn by a kill or a full disk.
            file.truncate(self._size)
            file.seek(self._size)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _parse(content: bytes, path: Path) -> tuple[list[Entry], int]:
    """The whole entries of a journal and the bytes that they fill. Raises RunError on damage inside."""
    *lines, _torn = content.split(b"\n")
    entries: list[Entry] = []
    size = 0
    for line in lines:
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError) as error:
            if line is lines[-1]:
                break  # a crash of the whole machine can leave a last line of zeros
            raise RunError(
                f"{path} is damaged in line {len(entries) + 1}; move it away to go on, tracked anew"
            ) from error
        size += len(line) + 1
    return entries, size


@dataclass(slots=True)
class Progress:
    """How far a journal has reached one MLflow server, in `tracking-state.json` beside it.

    `sent`: how many entries are dealt with; `refused`: entry number and reason of those among them that
    MLflow will never take.
    """

    run_key: str
    tracking_uri: str
    experiment_id: str
    run_id: str
    sent: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What `save` wrote; None when there is nothing that can be read, as sending again does no harm."""
        try:
            return cls(**json.loads((folder / STATE_NAME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, folder: Path) -> None:
        """Replace the file in one step. Raises OSError when it cannot be written."""
        temporary = folder / f".{STATE_NAME}.{os.getpid()}"
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        temporary.replace(folder / STATE_NAME)

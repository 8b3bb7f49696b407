"""Result rows gathered on disk as they come, so that a command that was stopped goes on where it was.

They stand in `OUTPUT.part`, one JSON line each after a first one with the settings, and become the output when all are
there. A line that a kill cut in two is judged again.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from melanoma.errors import ConfigError, OutputError
from melanoma.inference.decision import Decision
from melanoma.inference.prediction import Prediction
from melanoma.inference.sources import ImageFile

Settings = Mapping[str, Any]
Key = tuple[str, str]


def part_of(output: Path) -> Path:
    """Where the rows of an output gather."""
    return output.with_name(f"{output.name}.part")


class Gathering:
    """An open part file. `counts`: how many rows there are, by path and image name; `rows` reads them all.

    Whoever sets `done` needs it no more.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.counts: Counter[Key] = Counter((row.path, row.image_id) for row in self.rows())
        self.done = False
        self._file = file

    def add(self, row: Prediction) -> None:
        """Write one row through to the operating system."""
        self._file.write(json.dumps(row.to_dict()).encode() + b"\n")
        self._file.flush()

    def rows(self) -> Iterator[Prediction]:
        """Every row, in the order it came."""
        with self.path.open("rb") as file:
            next(file, None)
            for line in file:
                values = json.loads(line)
                yield Prediction(**{**values, "decision": Decision(values["decision"])})

    def pick(self, files: list[ImageFile]) -> Iterator[Prediction]:
        """The rows of these files: not of one that was there when the command began and is asked for no more."""
        wanted = Counter((file.path, file.image_id) for file in files)
        for row in self.rows():
            key = (row.path, row.image_id)
            if wanted[key]:
                wanted[key] -= 1
                yield row

    def leave_out_done(self, files: list[ImageFile]) -> list[int]:
        """The places in `files` that have no row yet."""
        found = self.counts.copy()
        missing = []
        for place, file in enumerate(files):
            key = (file.path, file.image_id)
            if found[key]:
                found[key] -= 1
            else:
                missing.append(place)
        return missing


@contextlib.contextmanager
def gather(output: Path, settings: Settings) -> Iterator[Gathering]:
    """The rows of `output` so far, to be added to; nobody else adds to them meanwhile.

    Raises ConfigError when they were made with other settings or are being made, OutputError.
    """
    path = part_of(output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _open_locked(path) as file:
            _begin(file, path, settings)
            gathering = Gathering(path, file)
            yield gathering
            if gathering.done and os.name != "nt":  # while nobody else can have begun another
                path.unlink(missing_ok=True)
        if gathering.done and os.name == "nt":  # which deletes no open file
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {output}: {error.strerror or error}; choose another place"
        ) from error


def _open_locked(path: Path) -> IO[bytes]:
    """The file, held for this process; not one that another command has finished with and deleted meanwhile."""
    tries = 10  # where a file system numbers files anew at every look, the last one is taken
    for number in range(tries):
        file = path.open("ab")
        try:
            _lock(file, path)
            with contextlib.suppress(FileNotFoundError):
                if number == tries - 1 or os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    break
        except BaseException:
            file.close()
            raise
        file.close()
    return file


def _begin(file: IO[bytes], path: Path, settings: Settings) -> None:
    """Write the settings, or check them and cut off what is half written."""
    head = json.dumps(dict(settings), sort_keys=True).encode() + b"\n"
    with path.open("rb") as found:
        first = found.readline()
        whole = len(first)
        for line in found:
            whole += len(line) if line.endswith(b"\n") else 0
    if not first.endswith(b"\n"):
        file.truncate(0)
        file.write(head)
        file.flush()
    elif first != head:
        raise ConfigError(
            f"{path} holds results of another bundle or other options; delete it or choose another --output"
        )
    else:
        file.truncate(whole)


def _lock(file: IO[bytes], path: Path) -> None:
    """Hold the file for this process, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"another command is writing {path}; wait for it or choose another --output"
        ) from error
    except OSError:  # a file system without locks
        return


def is_plain(output: Path) -> bool:
    """True for a file or a place for one: neither a device nor a pipe, into which results are written as they come."""
    return not output.exists() or (output.is_file() and os.access(output, os.W_OK))

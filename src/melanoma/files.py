"""Files that appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from melanoma.errors import OutputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to, which takes its place when all went well.

    Folders are made if need be. Raises OutputError for any OSError on the way, and leaves nothing behind.
    """
    temporary = path.with_name(f".{os.urandom(6).hex()}.{path.name}")  # machines may share a disk
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; file names that are no UTF-8 go out as the bytes that they were. Raises OutputError."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))

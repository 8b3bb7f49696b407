"""Which images a command line means: files and folders, in a fixed order."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from melanoma.errors import ImageError
from melanoma.inference.images import SUFFIXES, may_block


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image to judge: where it came from, its file, and what it is called there."""

    source: str
    path: str
    image_id: str


def find_images(sources: Sequence[str]) -> Iterator[ImageFile]:
    """Every image that `sources` (files or folders) name, folders in alphabetical order.

    In a folder only files with a known image suffix count, and none that are hidden or in a hidden folder; a
    file named outright is always taken. Raises ImageError when a source is not there or cannot be read, or a
    folder has no image.
    """
    for source in sources:
        path = Path(source)
        try:
            mode = os.stat(source).st_mode  # noqa: PTH116 - Path("") would be the current folder
        except FileNotFoundError as error:
            raise ImageError(f"{source!r} does not exist; give image files or folders") from error
        except OSError as error:
            raise ImageError(f"cannot read {source!r}: {error.strerror or error}") from error
        if stat.S_ISDIR(mode):
            yield from _walk(path)
        else:
            yield ImageFile(path.parent.name, str(path), path.stem)


def _walk(folder: Path) -> Iterator[ImageFile]:
    found = False
    for path in _files(folder):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not may_block(path):
            found = True
            yield ImageFile(folder.name, str(path), path.relative_to(folder).with_suffix("").as_posix())
    if not found:
        raise ImageError(f"no image in {str(folder)!r}; known are {', '.join(sorted(SUFFIXES))}")


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise ImageError(f"cannot read the folder {error.filename!r}: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names))

"""Which images an archive has, cut into blocks that are judged one by one.

The same sources always give the same blocks, so that work that was stopped finds what it has done.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from melanoma.archive import storage
from melanoma.errors import ConfigError, ImageError
from melanoma.inference.images import SUFFIXES
from melanoma.inference.sources import ImageFile, find_images

LISTS = (".txt", ".list")
TABLE = ".parquet"
COLUMNS = ("image", "bytes", "path", "url", "image_path", "file_name")
NAMES = ("image_id", "isic_id")
SMALLEST = 64  # images a block: seconds of work, so that what a killed worker loses is little
MOST_BLOCKS = 20_000  # beyond that blocks grow: a folder of so many parts is enough


@dataclass(frozen=True, slots=True)
class Files:
    """Images by path or address."""

    files: tuple[ImageFile, ...]

    @property
    def n(self) -> int:
        """How many images."""
        return len(self.files)


@dataclass(frozen=True, slots=True)
class Rows:
    """Images in `n` rows of a Parquet file, from row `start` of a row group on.

    `column` holds bytes, paths or addresses, or Hugging Face's pair of both; `names`, where there is one, what they are
    called. `first` is the number of the first of them in the whole file.
    """

    table: str
    row_group: int
    start: int
    n: int
    first: int
    column: str
    names: str | None


Block = Files | Rows


@dataclass(frozen=True, slots=True)
class Archive:
    """All blocks, `n` images in all; `digest` names them: what they are called and, for tables, how they are cut."""

    blocks: list[Block]
    n: int
    digest: str


def find(sources: Sequence[str], column: str | None = None) -> Archive:
    """Every image of folders, image files, lists (.txt) and tables (.parquet), local or at addresses.

    `column`: that of the tables which holds the images, found by its name unless given. Raises ImageError, ConfigError
    and StorageError when a source is not there, cannot be read, or holds no image.
    """
    files: list[ImageFile] = []
    tables: list[tuple[str, Any]] = []
    for source in sources:
        if source.lower().endswith(TABLE):
            tables.append((source, _look_into(source)))
        elif source.lower().endswith(LISTS):
            files.extend(_read_list(source))
        elif storage.is_address(source):
            files.extend(_walk(source))
        else:
            files.extend(find_images([source]))
    n = len(files) + sum(table.metadata.num_rows for _, table in tables)
    if n == 0:
        raise ImageError(f"no image in {', '.join(sources)}")
    size = max(SMALLEST, -(-n // MOST_BLOCKS))
    blocks: list[Block] = list(_cut_files(files, size))
    for name, table in tables:
        blocks.extend(_cut_table(name, table, size, column))
    return Archive(blocks, n, _digest(blocks))


def _cut_files(files: Sequence[ImageFile], size: int) -> Iterator[Files]:
    remaining = iter(files)
    while some := tuple(islice(remaining, size)):
        yield Files(some)


def _look_into(table: str) -> Any:
    from pyarrow import parquet

    system, path = storage.find_system(table)
    with storage.explaining(table):
        return parquet.ParquetFile(path, filesystem=None if storage.is_local(system) else system)


def _cut_table(name: str, table: Any, size: int, column: str | None) -> Iterator[Rows]:
    known = table.schema_arrow.names
    wanted = [column] if column else COLUMNS
    found = next((one for one in wanted if one in known), None)
    if found is None:
        raise ConfigError(
            f"{name} has no column {' or '.join(wanted)}; give one of {', '.join(known)} with --column"
        )
    names = next((one for one in NAMES if one in known), None)
    first = 0
    for group in range(table.metadata.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        for start in range(0, rows, size):
            n = min(size, rows - start)
            yield Rows(name, group, start, n, first + start, found, names)
        first += rows


def _read_list(source: str) -> Iterator[ImageFile]:
    """One path or address a line; paths are relative to the list."""
    system, path = storage.find_system(source)
    with storage.explaining(source):
        text = system.cat_file(path).decode("utf-8", "surrogateescape")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ImageError(f"{source} names no image; write one path or address a line")
    name, folder = PurePosixPath(storage.name_of(source)).stem, os.path.dirname(source)  # noqa: PTH120
    for line in lines:
        yield name_file(name, resolve(line, folder))


def name_file(source: str, path: str) -> ImageFile:
    """A path or address as an image of that source."""
    return ImageFile(source, path, PurePosixPath(storage.name_of(path)).stem)


def resolve(path: str, folder: str) -> str:
    """A path as it stands in a list or table that lies in `folder`."""
    if storage.is_address(path) or Path(path).is_absolute():
        return path
    return f"{folder.rstrip('/')}/{path}" if storage.is_address(folder) else str(Path(folder, path))


def _walk(address: str) -> Iterator[ImageFile]:
    """All images below an address, or the one that it is of."""
    system, top = storage.find_system(address)
    with storage.explaining(address):
        if not system.exists(top):
            raise FileNotFoundError(address)
        found = [top] if system.isfile(top) else sorted(system.find(top))
    if found == [top]:
        yield name_file(PurePosixPath(top).parent.name, address)
        return
    source = PurePosixPath(top).name
    images = [path for path in found if _is_image(path, top)]
    if not images:
        raise ImageError(f"no image in {address!r}; known are {', '.join(sorted(SUFFIXES))}")
    for path in images:
        below = path.removeprefix(top).lstrip("/")
        yield ImageFile(source, system.unstrip_protocol(path), str(PurePosixPath(below).with_suffix("")))


def _is_image(path: str, top: str) -> bool:
    parts = PurePosixPath(path.removeprefix(top)).parts
    return PurePosixPath(path).suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in parts)


def _digest(blocks: Sequence[Block]) -> str:
    found = hashlib.sha256()
    for block in blocks:
        found.update(repr(block).encode("utf-8", "surrogateescape"))
    return found.hexdigest()

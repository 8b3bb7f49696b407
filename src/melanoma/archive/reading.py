"""The images of a block with their bytes, read a little ahead of who judges them."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from melanoma.ahead import prefetch
from melanoma.archive import storage
from melanoma.archive.blocks import Block, Rows, name_file, resolve
from melanoma.errors import ImageError, StorageError
from melanoma.inference import images
from melanoma.inference.sources import ImageFile

Read = tuple[ImageFile, bytes | ImageError]
TOGETHER = 16  # images asked for at once, and kept ready


def read(block: Block) -> Iterator[Read]:
    """Every image of a block with its bytes, or with what is wrong. Raises StorageError for a table that is lost."""
    found = _read_table(block) if isinstance(block, Rows) else _read_files(block.files)
    with prefetch(found, TOGETHER) as items:
        yield from items


def _read_files(files: Sequence[ImageFile]) -> Iterator[Read]:
    remaining = iter(files)
    while some := list(islice(remaining, TOGETHER)):
        yield from zip(some, _fetch([file.path for file in some]), strict=True)


def _fetch(paths: Sequence[str]) -> list[bytes | ImageError]:
    """Local files one by one, the others of each store side by side."""
    found: dict[str, bytes | ImageError] = {}
    stores: dict[str, list[str]] = {}
    for path in paths:
        if storage.is_address(path):
            stores.setdefault(path.partition("://")[0], []).append(path)
        else:
            found[path] = _read_local(path)
    for some in stores.values():
        system = storage.find_system(some[0])[0]
        names = [storage.find_system(path)[1] for path in some]
        for path, content in zip(some, storage.read_many(system, names), strict=True):
            found[path] = (
                content if isinstance(content, bytes) else ImageError(storage.explain(path, content))
            )
    return [found[path] for path in paths]


def _read_local(path: str) -> bytes | ImageError:
    try:
        return images.read_file(path)
    except ImageError as error:
        return error


def _read_table(block: Rows) -> Iterator[Read]:
    from pyarrow import parquet

    system, path = storage.find_system(block.table)
    columns = [block.column, *([block.names] if block.names else [])]
    with storage.explaining(block.table):
        table = parquet.ParquetFile(path, filesystem=None if storage.is_local(system) else system)
        rows = table.read_row_group(block.row_group, columns).slice(block.start, block.n)
        if rows.num_rows != block.n:
            raise StorageError(f"{block.table} has changed since it was listed")
    folder = os.path.dirname(block.table) or "."  # noqa: PTH120 - an address, it may be
    listed = [_place(block, number, values, folder) for number, values in enumerate(rows.to_pylist())]
    remaining = iter(listed)
    while some := list(islice(remaining, TOGETHER)):
        contents = iter(_fetch([file.path for file, content in some if content is None]))
        for file, content in some:
            yield file, next(contents) if content is None else content


def _place(
    block: Rows, number: int, values: dict[str, Any], folder: str
) -> tuple[ImageFile, bytes | ImageError | None]:
    """The image of a row, and its bytes unless they lie elsewhere."""
    value = values[block.column]
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(content, str):
        content, path = None, content
    source, row = PurePosixPath(storage.name_of(block.table)).stem, block.first + number
    if path and content is None:
        file = name_file(source, resolve(path, folder))
    else:
        file = ImageFile(
            source, path or f"{block.table}#{row}", PurePosixPath(path or f"{source}-{row}").stem
        )
    if block.names and values[block.names] is not None:
        file = ImageFile(file.source, file.path, str(values[block.names]))
    if content is None and not path:
        return file, ImageError(f"row {row} has neither bytes nor a path in the column {block.column}")
    if content is not None and not isinstance(content, bytes):
        return file, ImageError(
            f"the column {block.column} holds {type(content).__name__}; give bytes or paths"
        )
    return file, content

"""Decoded images on disk, so that an epoch reads pixels instead of decoding files.

One file a set of images and preprocessing, named by the digest of both, so that runs share it. Rows are read
with plain reads and not through a memory map: the page cache serves both equally fast, but pages of a map
count as the process's own memory, which would then grow with the number of images.
"""

import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from melanoma.errors import ImageError, OutputError
from melanoma.inference import images
from melanoma.inference.preprocessing import Preprocessing, prepare

FORMAT = 1
DEFAULT_LIMIT = 50 * 2**30
CHUNK = 256

Progress = Callable[[int, int], None]


def cache_folder() -> Path:
    """`MELANOMA_CACHE`, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "melanoma"
    return Path(os.environ.get("MELANOMA_CACHE", default)) / "decoded"


class ImageCache:
    """Prepared images, uint8 (size, size, 3) a row, in the order they were asked for.

    `broken` maps the row of each image that could not be decoded to the reason; its pixels are zero.
    """

    def __init__(self, path: Path, size: int, broken: dict[int, str]) -> None:
        self.broken = broken
        self._size = size
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 (n, size, size, 3). Safe to call from several threads."""
        batch = np.empty((len(rows), self._size, self._size, 3), dtype=np.uint8)
        for image, row in zip(batch, rows, strict=True):
            with self._lock:
                self._file.seek(int(row) * image.nbytes)
                self._file.readinto(image.data)
        return batch

    def close(self) -> None:
        """Close the file; an evicted cache gives its space back then."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_cache(
    paths: Sequence[str],
    digests: Sequence[str],
    spec: Preprocessing,
    *,
    folder: Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> ImageCache:
    """The cache for these images; built first if it is not there, once even when two runs ask at once.

    `digests`: sha256 of each file's bytes. `limit`: bytes the whole folder may take; least recently used
    caches are deleted to make room. Raises OutputError when there is not enough room.
    """
    folder = folder or cache_folder()
    limit = limit or int(os.environ.get("MELANOMA_CACHE_LIMIT", DEFAULT_LIMIT))
    target = folder / f"{_key(digests, spec)}.uint8"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if not target.with_suffix(".json").exists():
                _make_room(folder, len(paths) * spec.size**2 * 3, limit)
                _build(target, paths, spec, progress)
            os.utime(target)
            broken = json.loads(target.with_suffix(".json").read_text())["broken"]
            return ImageCache(target, spec.size, {int(row): why for row, why in broken.items()})
    except OSError as error:
        raise OutputError(f"cannot write the image cache in {folder}: {_advice(error)}") from error


def _key(digests: Sequence[str], spec: Preprocessing) -> str:
    text = json.dumps([FORMAT, spec.to_dict(), list(digests)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _build(target: Path, paths: Sequence[str], spec: Preprocessing, progress: Progress | None) -> None:
    """Decode every image into a temporary file; the `.json` written last says that the cache is whole."""
    temporary = target.with_suffix(".part")
    broken: dict[int, str] = {}
    try:
        with temporary.open("wb") as file:
            for row, image in enumerate(_decode_all(paths, spec)):
                if isinstance(image, str):
                    broken[row] = image
                    image = np.zeros((spec.size, spec.size, 3), dtype=np.uint8)  # noqa: PLW2901
                file.write(image.tobytes())
                if progress:
                    progress(row + 1, len(paths))
        temporary.replace(target)
        index = target.with_suffix(".json.part")
        index.write_text(json.dumps({"broken": broken}))
        index.replace(target.with_suffix(".json"))
    finally:
        temporary.unlink(missing_ok=True)


def _decode_all(paths: Sequence[str], spec: Preprocessing) -> Iterator[NDArray[np.uint8] | str]:
    """Prepared images in order, or the reason why there is none; at most `CHUNK` of them in memory."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), CHUNK):
            yield from pool.map(lambda path: _decode(path, spec), paths[start : start + CHUNK])


def _decode(path: str, spec: Preprocessing) -> NDArray[np.uint8] | str:
    try:
        return prepare(images.load(path), spec)
    except ImageError as error:
        return str(error)


def _make_room(folder: Path, needed: int, limit: int) -> None:
    """Delete least recently used caches until `needed` bytes fit under `limit`."""
    if needed > limit:
        raise OutputError(
            f"the image cache needs {needed / 2**30:.1f} GiB but may take {limit / 2**30:.1f}; "
            "set MELANOMA_CACHE_LIMIT to more bytes or train on fewer images"
        )
    caches = sorted(folder.glob("*.uint8"), key=lambda path: path.stat().st_mtime)
    used = sum(path.stat().st_size for path in caches)
    for path in caches:
        if used + needed <= limit:
            return
        used -= path.stat().st_size
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _advice(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space or set MELANOMA_CACHE to a folder on another disk"
    return error.strerror or str(error)

"""Decoded images on disk, so that an epoch reads pixels instead of decoding files.

One file a set of images and preprocessing, named by the digest of both, so that runs share it. Rows are read
with plain reads and not through a memory map: the page cache serves both equally fast, but pages of a map
count as the process's own memory, which would then grow with the number of images.
"""

import contextlib
import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import PIL
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from melanoma.errors import ConfigError, ImageError, OutputError
from melanoma.files import write_text
from melanoma.inference import images
from melanoma.inference.preprocessing import Preprocessing, prepare
from melanoma.processes import count_cores

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

    `path`: its file. `broken` maps the row of each image that could not be decoded to the reason; its pixels are zero.
    """

    def __init__(self, path: Path, size: int, broken: dict[int, str]) -> None:
        self.broken = broken
        self.path, self._size = path.absolute(), size
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Self], tuple[Path, int, dict[int, str]]]:
        """In another process the same file is opened again."""
        return type(self), (self.path, self._size, self.broken)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 (n, size, size, 3). Safe to call from several threads. Raises OSError on a short read."""
        batch = np.empty((len(rows), self._size, self._size, 3), dtype=np.uint8)
        for image, row in zip(batch, rows, strict=True):
            with self._lock:
                self._file.seek(int(row) * image.nbytes)
                if self._file.readinto(image.data) != image.nbytes:
                    raise OSError(errno.EIO, "the image cache is cut short; delete it and start again")
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
    cache = _Cache(folder / _key(digests, spec), len(paths), spec)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(cache.lock):  # those who want the same images take turns
            with _shared(folder):
                found = cache.open()
                if found is None:
                    cache.part.unlink(missing_ok=True)  # of a build that was killed; we hold its lock
                    _make_room(folder, cache.bytes, limit or _limit())
                    cache.reserve()
            return found or _build(cache, paths, progress)
    except OSError as error:
        raise OutputError(f"cannot write the image cache in {folder}: {_advice(error)}") from error


@dataclass(frozen=True)
class _Cache:
    """The files of one cache: `.uint8` with the pixels, and `.json`, without which it is not whole."""

    stem: Path
    rows: int
    spec: Preprocessing

    @property
    def bytes(self) -> int:
        return self.rows * self.spec.size**2 * 3

    @property
    def pixels(self) -> Path:
        return self.stem.with_suffix(".uint8")

    @property
    def index(self) -> Path:
        return self.stem.with_suffix(".json")

    @property
    def part(self) -> Path:
        return self.stem.with_suffix(".part")

    @property
    def lock(self) -> Path:
        return self.stem.with_suffix(".lock")

    def open(self) -> ImageCache | None:
        """The cache if it is whole, marked as used now."""
        if not (self.index.exists() and self.pixels.exists() and self.pixels.stat().st_size == self.bytes):
            return None
        os.utime(self.pixels)
        broken = json.loads(self.index.read_text())["broken"]
        return ImageCache(self.pixels, self.spec.size, {int(row): why for row, why in broken.items()})

    def reserve(self) -> None:
        """Take the place before it is filled, so that others count it."""
        with self.part.open("wb") as file:
            file.truncate(self.bytes)


def _build(cache: _Cache, paths: Sequence[str], progress: Progress | None) -> ImageCache:
    """Decode every image into the reserved file and open it; the caller holds the cache's lock."""
    broken: dict[int, str] = {}
    blank = np.zeros((cache.spec.size, cache.spec.size, 3), dtype=np.uint8)
    try:
        with cache.part.open("r+b") as file:
            for row, image in enumerate(_decode_all(paths, cache.spec)):
                if isinstance(image, str):
                    broken[row] = image
                file.write((blank if isinstance(image, str) else image).tobytes())
                if progress:
                    progress(row + 1, len(paths))
            file.flush()
            os.fsync(file.fileno())
        with _shared(cache.stem.parent):
            cache.part.replace(cache.pixels)
            write_text(cache.index, json.dumps({"broken": broken}))
            return ImageCache(cache.pixels, cache.spec.size, broken)
    finally:
        cache.part.unlink(missing_ok=True)


def _shared(folder: Path) -> FileLock:
    """Held for moments only: while caches are looked at, deleted, or put in their place."""
    return FileLock(folder / "folder.lock")


def _limit() -> int:
    text = os.environ.get("MELANOMA_CACHE_LIMIT", str(DEFAULT_LIMIT))
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"MELANOMA_CACHE_LIMIT must be a number of bytes, not {text!r}") from error


def _key(digests: Sequence[str], spec: Preprocessing) -> str:
    """What decides the pixels: the files' bytes, the preprocessing, and the decoder's version."""
    text = json.dumps([FORMAT, PIL.__version__, spec.to_dict(), list(digests)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _decode_all(paths: Sequence[str], spec: Preprocessing) -> Iterator[NDArray[np.uint8] | str]:
    """Prepared images in order, or the reason why there is none; at most `CHUNK` of them in memory."""
    with ThreadPoolExecutor(count_cores()) as pool:
        for start in range(0, len(paths), CHUNK):
            yield from pool.map(lambda path: _decode(path, spec), paths[start : start + CHUNK])


def _decode(path: str, spec: Preprocessing) -> NDArray[np.uint8] | str:
    """Raises OutputError when it is the machine that failed, as that must not be kept as the image's fault."""
    try:
        return prepare(images.load(path), spec)
    except ImageError as error:
        if isinstance(error.__cause__, MemoryError):
            raise OutputError(f"not enough memory to decode {path}; end other programs") from error
        return str(error)


def _make_room(folder: Path, needed: int, limit: int) -> None:
    """Delete abandoned parts, and then least recently used caches until `needed` bytes fit under `limit`."""
    if needed > limit:
        raise OutputError(
            f"the image cache needs {needed / 2**30:.1f} GiB but may take {limit / 2**30:.1f}; "
            "set MELANOMA_CACHE_LIMIT to more bytes or train on fewer images"
        )
    growing = sum(path.stat().st_size for path in folder.glob("*.part") if not _abandoned(path))
    caches = sorted(folder.glob("*.uint8"), key=lambda path: path.stat().st_mtime)
    used = growing + sum(path.stat().st_size for path in caches)
    for path in caches:
        if used + needed <= limit:
            return
        with contextlib.suppress(PermissionError):  # Windows keeps an open file
            size = path.stat().st_size
            path.unlink()
            path.with_suffix(".json").unlink(missing_ok=True)
            used -= size


def _abandoned(part: Path) -> bool:
    """True, and the file is gone, when the process that was filling it was killed."""
    try:
        with FileLock(part.with_suffix(".lock"), timeout=0):
            part.unlink(missing_ok=True)
    except Timeout:
        return False
    return True


def _advice(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space or set MELANOMA_CACHE to a folder on another disk"
    return error.strerror or str(error)

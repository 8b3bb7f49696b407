"""Reads every image once and keeps what the audit needs of it: a small picture, its colours, cues without the lesion.

The work is kept in chunks in a folder, so that an audit which was stopped goes on where it was.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from melanoma.audit.cues import NUMBERS, describe
from melanoma.audit.registration import FINE, find_field
from melanoma.data.workers import open_pool
from melanoma.errors import ImageError, OutputError
from melanoma.files import replacing
from melanoma.inference.images import FORMATS, decode, read_file
from melanoma.inference.preprocessing import Preprocessing, prepare
from melanoma.version import __version__

COLOUR_SIDE = 32  # pixels
_CHUNK = 64
_SMALL = Preprocessing(FINE)
_FORMAT = 1  # raise it when a chunk holds something else

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What is kept of n images, row by row; `error` is '' for those that could be read.

    `grey` uint8 (n, 128, 128), brightness, squashed; `colour` uint8 (n, 32, 32, 3), a black frame filled in;
    `content` and `pixels`: digests of the file's bytes and of the decoded pixels; `mode`: Pillow's name of the
    pixel format; `width`, `height` in pixels; `cues`: see `audit.cues`.
    """

    grey: NDArray[np.uint8]
    colour: NDArray[np.uint8]
    content: NDArray[np.str_]
    pixels: NDArray[np.object_]
    mode: NDArray[np.object_]
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    error: NDArray[np.object_]
    cues: Mapping[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.error)

    def take(self, rows: NDArray[np.int64]) -> "Pictures":
        """Some of the images, by row number."""
        parts = {name: getattr(self, name)[rows] for name in _PLAIN_FIELDS}
        return Pictures(**parts, cues={name: vectors[rows] for name, vectors in self.cues.items()})


_PLAIN_FIELDS = ("grey", "colour", "content", "pixels", "mode", "width", "height", "error")


Elsewhere = Callable[[Sequence[Sequence[str]]], Iterable[tuple[int, bytes]]]


def read(
    paths: Sequence[str],
    content: Sequence[str],
    folder: Path,
    progress: Progress | None = None,
    elsewhere: Elsewhere | None = None,
) -> Pictures:
    """Read image files whose bytes have the digests `content`, keeping the work in `folder` until it is removed.

    `progress` is called with the number done and of all. `elsewhere` calls `read_chunk` with each of the lists of
    paths that it gets, wherever it likes, and gives what came out with the list's number, in any order. Raises
    OutputError.
    """
    starts = range(0, len(paths), _CHUNK)
    jobs = [(paths[start : start + _CHUNK], content[start : start + _CHUNK], folder) for start in starts]
    joined = {name: _make_room(value, len(paths)) for name, value in _empty().items()}
    if elsewhere is not None:
        _read_elsewhere(jobs, elsewhere, progress)
    with open_pool(len(jobs) if elsewhere is None else 1) as pool:
        stores = pool.map(_read_chunk, *zip(*jobs, strict=True))
        for start, store, (some, *_) in zip(starts, stores, jobs, strict=True):
            part = _load(store, len(some))
            if part is None:
                raise OutputError(f"{store} was changed while the audit ran; run it again")
            for name, values in joined.items():
                values[start : start + len(some)] = part[name]
            if progress is not None and elsewhere is None:
                progress(start + len(some), len(paths))
    cues = {name: joined.pop(f"cue {name}") for name in NUMBERS}
    return Pictures(**joined, content=np.asarray(content, dtype=np.str_), cues=cues)


def read_chunk(paths: Sequence[str]) -> bytes:
    """What is kept of some images, as the bytes of an .npz file."""
    stream = io.BytesIO()
    np.savez(stream, **_stack([_read_image(path) for path in paths]))
    return stream.getvalue()


def _read_elsewhere(
    jobs: Sequence[tuple[Sequence[str], Sequence[str], Path]], elsewhere: Elsewhere, progress: Progress | None
) -> None:
    """Bring the chunks that are not there yet."""
    left = [job for job in jobs if _load(_place(job[1], job[2]), len(job[0])) is None]
    total = sum(len(paths) for paths, *_ in jobs)
    done = total - sum(len(paths) for paths, *_ in left)
    for number, chunk in elsewhere([[str(Path(path).absolute()) for path in paths] for paths, *_ in left]):
        paths, content, folder = left[number]
        with replacing(_place(content, folder)) as temporary:
            temporary.write_bytes(chunk)
        done += len(paths)
        if progress is not None:
            progress(done, total)


def _make_room(value: Any, count: int) -> NDArray[Any]:
    """An array for so many values like this one, texts as objects for they may be longer."""
    like = np.asarray(value)
    return np.empty((count, *like.shape), dtype=object if like.dtype.kind == "U" else like.dtype)


def _read_chunk(paths: Sequence[str], content: Sequence[str], folder: Path) -> Path:
    """The file that holds these images, made unless an earlier audit left it whole."""
    store = _place(content, folder)
    if _load(store, len(paths)) is None:
        chunk = read_chunk(paths)
        with replacing(store) as temporary:
            temporary.write_bytes(chunk)
    return store


def _place(content: Sequence[str], folder: Path) -> Path:
    key = "\n".join([__version__, str(_FORMAT), *content])
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def _load(store: Path, count: int) -> dict[str, Any] | None:
    """A chunk that an earlier audit left, None when there is none that is whole."""
    try:
        with store.open("rb") as file, np.load(file) as held:
            part = {name: held[name] for name in held.files}
    except Exception:  # whatever a damaged archive leads to
        return None
    return part if len(part.get("error", ())) == count else None


def _read_mode(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            return picture.mode
    except UnidentifiedImageError:
        return "RGB"  # a DICOM file, which `decode` has read


def _read_image(path: str) -> dict[str, Any]:
    """The fields of one image, or only `error`."""
    try:
        data = read_file(path)
        image = decode(data)
    except ImageError as problem:
        return {"error": str(problem)}
    small = prepare(image, _SMALL)
    shape = np.array(image.shape, dtype=np.int64)
    return {
        "error": "",
        "grey": cv2.cvtColor(small, cv2.COLOR_RGB2GRAY),
        "colour": _fill_frame(small),
        "pixels": hashlib.sha256(shape.tobytes() + image.tobytes()).hexdigest(),
        "mode": _read_mode(data),
        "width": image.shape[1],
        "height": image.shape[0],
        **{f"cue {name}": vector for name, vector in describe(image, data).items()},
    }


def _fill_frame(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours at COLOUR_SIDE, a black frame in the mean colour of the rest: it says nothing of the lesion."""
    half = cv2.resize(small, (2 * COLOUR_SIDE, 2 * COLOUR_SIDE), interpolation=cv2.INTER_AREA)
    field = find_field(cv2.cvtColor(half, cv2.COLOR_RGB2GRAY))
    if field.any() and not field.all():
        half[~field] = np.round(half[field].mean(axis=0)).astype(np.uint8)
    filled = cv2.resize(half, (COLOUR_SIDE, COLOUR_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(filled, dtype=np.uint8)


def _empty() -> dict[str, Any]:
    return {
        "error": "",
        "grey": np.zeros((FINE, FINE), dtype=np.uint8),
        "colour": np.zeros((COLOUR_SIDE, COLOUR_SIDE, 3), dtype=np.uint8),
        "pixels": "",
        "mode": "",
        "width": 0,
        "height": 0,
        **{f"cue {name}": np.full(len(numbers), np.nan, np.float32) for name, numbers in NUMBERS.items()},
    }


def _stack(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    empty = _empty()
    rows = [empty | image for image in images]
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in empty}

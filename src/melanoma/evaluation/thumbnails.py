"""Thumbnails of images for a page that needs no other file, and names short enough to stand under them."""

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.errors import ImageError
from melanoma.inference.images import load
from melanoma.processes import count_cores

SIDE = 150  # pixels of the longer side of a thumbnail
_QUALITY = 80
_GREY = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A whole JPEG in a data URI; a grey square when the image could not be read."""

    uri: str
    readable: bool


def shrink(paths: Iterable[str]) -> dict[str, Thumbnail]:
    """A thumbnail of each path, its proportions kept; each file is read once."""
    wanted = sorted(set(paths))
    with ThreadPoolExecutor(count_cores()) as pool:
        return dict(zip(wanted, pool.map(_shrink_one, wanted), strict=True))


def shorten(name: str, limit: int = 26) -> str:
    """A name with its middle left out when it is long, and letters that cannot be shown replaced."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    if len(shown) <= limit:
        return shown
    tail = (limit - 1) // 2
    return f"{shown[: limit - 1 - tail]}…{shown[-tail:]}"


def embed(image: NDArray[np.uint8]) -> Thumbnail:
    """A thumbnail of RGB uint8 (h, w, 3), its proportions kept."""
    picture = Image.fromarray(image)
    scale = SIDE / max(picture.size)
    width, height = (max(round(scale * side), 1) for side in picture.size)
    return Thumbnail(encode(picture.resize((width, height), Image.Resampling.LANCZOS)), readable=True)


def _shrink_one(path: str) -> Thumbnail:
    try:
        return embed(load(path))
    except ImageError:
        return Thumbnail(encode(Image.new("RGB", (SIDE, SIDE), _GREY)), readable=False)


def encode(picture: Image.Image) -> str:
    """The whole picture as a JPEG in a data URI."""
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"

"""Bytes or a path to an RGB image: the only decoder."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from melanoma.errors import ImageError

FORMATS = ("JPEG", "MPO", "PNG", "BMP", "TIFF", "WEBP", "GIF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
MAX_PIXELS = 89_478_485  # Pillow's own limit: 256 MB of RGB
MIN_SIDE = 32

RGB = NDArray[np.uint8]


def load(path: str | Path) -> RGB:
    """Read a file as RGB uint8 (h, w, 3). Raises ImageError when it cannot be read or is no image."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read the file: {error.strerror or error}") from error
    except ValueError as error:  # a NUL byte in the name
        raise ImageError(f"not a file name: {error}") from error
    return decode(data)


def decode(data: bytes) -> RGB:
    """Decode an image file's bytes to RGB uint8 (h, w, 3), upright as its EXIF orientation says.

    Of an animation the first frame is taken; transparency is laid over black, as outside a dermatoscope's
    field of view; 16-bit grey is divided by 257. Raises ImageError on anything that is no whole image in
    one of `FORMATS`, has a side under `MIN_SIDE` or more than `MAX_PIXELS` pixels.
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _check_size(*picture.size)
            return np.array(_to_rgb(ImageOps.exif_transpose(picture)), dtype=np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"no image in a known format ({', '.join(FORMATS)})") from error
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("too large for this machine's memory") from error
    except Exception as error:  # Pillow's plugins raise whatever a damaged file leads them to
        raise ImageError(f"damaged image: {' '.join(str(error).split())}") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} is more than {MAX_PIXELS:,} pixels")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{width} x {height} pixels; each side must have at least {MIN_SIDE}")


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith("I"):
        return _sixteen_bit_to_rgb(picture)
    if picture.mode == "F":
        raise ImageError("floating-point pixels have no defined range; save as 8-bit RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture).convert("RGB")
    return picture.convert("RGB")


def _sixteen_bit_to_rgb(picture: Image.Image) -> Image.Image:
    grey = np.clip(np.asarray(picture, dtype=np.int64) // 257, 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")

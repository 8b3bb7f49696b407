"""Bytes or a path to an RGB image: the only decoder."""

import io
import stat
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from melanoma.errors import ImageError
from melanoma.inference import dicom

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
MAX_PIXELS = 89_478_485  # Pillow's own limit: 256 MB of RGB
MAX_BYTES = 1 << 30  # more than MAX_PIXELS in 16-bit RGB take, uncompressed
MIN_SIDE = 32

RGB = NDArray[np.uint8]

EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load(path: str | Path) -> RGB:
    """Read a file as RGB uint8 (h, w, 3). Raises ImageError when it cannot be read or is no image."""
    return decode(read_file(path))


def read_file(path: str | Path) -> bytes:
    """The bytes of a file. Raises ImageError when it cannot be read or has more than any image may have."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # a device or a film named .jpg must not fill the memory
    except OSError as error:
        raise ImageError(f"cannot read the file: {error.strerror or error}") from error
    except ValueError as error:  # a NUL byte in the name
        raise ImageError(f"not a file name: {error}") from error
    if len(data) > MAX_BYTES:
        raise ImageError(f"more than {MAX_BYTES:,} bytes; give an image of at most {MAX_PIXELS:,} pixels")
    return data


def may_block(path: Path) -> bool:
    """True for a pipe, a socket or a device, on which reading can wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError:  # reading says what is wrong
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> RGB:
    """Decode an image file's bytes to RGB uint8 (h, w, 3), upright as its EXIF orientation says.

    Of an animation the first frame is taken; transparency is laid over black, as outside a dermatoscope's
    field of view; 16-bit grey is divided by 257; a damaged EXIF block counts as none. Raises ImageError on
    anything that is no whole image in one of `FORMATS` or DICOM, has a side under `MIN_SIDE` or more than `max_pixels`
    pixels, or pixels whose range no standard fixes (floating-point, 32-bit and signed integers).
    """
    if not data:
        raise ImageError("the file is empty")
    try:
        if dicom.is_dicom(data):
            return convert(dicom.open_picture(data, partial(check_size, max_pixels=max_pixels)), max_pixels)
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            return convert(picture, max_pixels)
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


def convert(picture: Image.Image, max_pixels: int = MAX_PIXELS) -> RGB:
    """An open Pillow image as RGB uint8 (h, w, 3); see `decode`. Raises ImageError, and what Pillow raises."""
    check_size(*picture.size, max_pixels)
    picture.load()  # before EXIF is read: TIFF's decoder applies the orientation itself
    return np.array(_to_rgb(_upright(picture)), dtype=np.uint8)


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raise ImageError unless an image of so many pixels is one that this package judges."""
    if width * height > max_pixels:
        raise ImageError(f"{width} x {height} is more than {max_pixels:,} pixels")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{width} x {height} pixels; each side must have at least {MIN_SIDE}")


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(EXIF_ORIENTATION)
    except Exception:  # Pillow raises whatever a damaged block leads to; the pixels are none the worse
        return picture
    return picture.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return _sixteen_bit_to_rgb(picture)
    if picture.mode in {"I", "F"}:
        raise ImageError("32-bit and floating-point pixels have no defined range; save as 8-bit RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _sixteen_bit_to_rgb(picture: Image.Image) -> Image.Image:
    grey = np.asarray(picture)
    if "transparency" in picture.info:
        grey = np.where(grey == picture.info["transparency"], 0, grey)
    return Image.fromarray((grey // 257).astype(np.uint8)).convert("RGB")

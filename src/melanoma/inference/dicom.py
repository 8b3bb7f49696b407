"""The picture in a DICOM file. Nothing about a patient is read, so nothing can be said on."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PIL import Image

from melanoma.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CLASSES = {
    "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic Image Storage
    "1.2.840.10008.5.1.4.1.1.77.1.7",  # Dermoscopic Photography Image Storage
}
IMPLICIT = "1.2.840.10008.1.2"
NATIVE = {IMPLICIT, "1.2.840.10008.1.2.1"}
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
FIELDS = {
    "SOPClassUID": 0x00080016,
    "SamplesPerPixel": 0x00280002,
    "PhotometricInterpretation": 0x00280004,
    "PlanarConfiguration": 0x00280006,
    "NumberOfFrames": 0x00280008,
    "Rows": 0x00280010,
    "Columns": 0x00280011,
    "BitsAllocated": 0x00280100,
    "PixelData": 0x7FE00010,
}
MODES = {"RGB": ("RGB", 3), "YBR_FULL": ("YCbCr", 3), "MONOCHROME2": ("L", 1)}


def is_dicom(data: bytes) -> bool:
    """True for the bytes of a DICOM file."""
    return data[128:132] == b"DICM"


def open_picture(data: bytes, check_size: Callable[[int, int], None]) -> Image.Image:
    """The picture of a single-frame, 8-bit photographic or dermoscopic DICOM file, decoded no further than need be.

    Transfer syntaxes: uncompressed little-endian, JPEG baseline, JPEG 2000. Raises ImageError for any other, without
    pydicom, and where `check_size` does for (width, height).
    """
    try:
        syntax, fields = _read(data)
        _check(fields)
        check_size(int(fields.Columns), int(fields.Rows))
        if syntax in NATIVE:
            return _open_native(fields)
        return _open_encapsulated(fields, syntax)
    except ImportError as error:
        raise ImageError("a DICOM file; to read it: pip install 'melanoma[dicom]'") from error
    except ImageError:
        raise
    except Exception as error:  # whatever a damaged file leads to; its words may hold what stands in the file
        raise ImageError("damaged DICOM file") from error


def _read(data: bytes) -> tuple[str, "Dataset"]:
    """The transfer syntax, and of the data set only FIELDS.

    A deflated data set never gets so far: it could grow a thousandfold.
    """
    from pydicom.filereader import read_dataset

    file = io.BytesIO(data)
    file.seek(132)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_is_past_meta)
    syntax = str(meta.get("TransferSyntaxUID", ""))
    if syntax not in {*NATIVE, JPEG, *JPEG_2000}:
        raise ImageError("a DICOM file in a transfer syntax that is not read; save it as JPEG baseline")
    return syntax, read_dataset(file, syntax == IMPLICIT, True, specific_tags=list(FIELDS.values()))


def _is_past_meta(tag: Any, _kind: str | None, _length: int) -> bool:
    return bool(tag.group != 2)


def _check(fields: "Dataset") -> None:
    if fields.get("SOPClassUID") not in CLASSES:
        raise ImageError("a DICOM file, but neither a photograph nor dermoscopic; give one of these")
    if int(fields.get("NumberOfFrames") or 1) != 1:
        raise ImageError("a DICOM file with several frames; give them one at a time")
    if fields.BitsAllocated != 8:
        raise ImageError(f"a DICOM file with {int(fields.BitsAllocated)}-bit pixels; give one with 8")


def _open_native(fields: "Dataset") -> Image.Image:
    """Uncompressed pixels."""
    mode, samples = MODES.get(fields.PhotometricInterpretation, ("", 0))
    if samples != fields.SamplesPerPixel:
        raise ImageError("a DICOM file in colours that are not read; save it as RGB")
    size = (int(fields.Columns), int(fields.Rows))
    pixels, plane = bytes(fields.PixelData), size[0] * size[1]
    if len(pixels) < plane * samples:
        raise ImageError("damaged DICOM file: pixels are missing")
    if samples == 1 or not fields.get("PlanarConfiguration"):
        return Image.frombytes(mode, size, pixels[: plane * samples])
    planes = [Image.frombytes("L", size, pixels[i * plane : (i + 1) * plane]) for i in range(samples)]
    return Image.merge(mode, planes)


def _open_encapsulated(fields: "Dataset", syntax: str) -> Image.Image:
    """A JPEG or JPEG 2000 file inside, whose head must agree with what the data set says."""
    from pydicom.encaps import get_frame

    frame = get_frame(fields.PixelData, 0, number_of_frames=1)
    picture = Image.open(io.BytesIO(frame), formats=("JPEG",) if syntax == JPEG else ("JPEG2000",))
    if picture.size != (fields.Columns, fields.Rows):
        raise ImageError("damaged DICOM file: its frame has another size than it says")
    meant = str(fields.PhotometricInterpretation)
    if syntax != JPEG and meant in {"YBR_FULL", "YBR_FULL_422"}:
        raise ImageError("a DICOM file in colours that are not read; save it as RGB")
    if syntax == JPEG and meant == "RGB" and "adobe_transform" not in picture.info:
        return _take_as_rgb(picture)
    return picture


def _take_as_rgb(picture: Image.Image) -> Image.Image:
    """A JPEG whose values are RGB without saying so: Pillow would take them for YCbCr and convert them."""
    picture.draft("YCbCr", picture.size)
    return Image.frombytes("RGB", picture.size, picture.tobytes())

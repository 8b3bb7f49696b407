"""What of an image is not the lesion, as vectors of numbers: border, frame, skin, file.

A model that tells melanoma from these has learnt the camera, the clinic or the collection.
"""

import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from melanoma.data.segmentation import Pixels, Segmentation, segment
from melanoma.inference.images import FORMATS

Vector = NDArray[np.float32]

SIDE: Final = 128
RING: Final = SIDE // 16
CELLS: Final = 8  # a side
CORNER: Final = SIDE // 8
MAX_RING_LESION: Final = 0.02  # share of the ring
SKIN_PIXELS: Final = 1024
BINS: Final = 4  # a colour channel
_SKIN_DISTANCE = np.ones((21, 21), np.uint8)  # no nearer to the lesion than 10 pixels

_SIDES = ("top", "bottom", "left", "right")
_CORNERS = ("top left", "top right", "bottom left", "bottom right")
_LUMINANCE_SUM = 3688  # of the quantisation table for quality 50: ITU-T T.81, table K.1

NUMBERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "border": tuple(
            f"{what}, {side} {cell + 1} of {CELLS}"
            for side in _SIDES
            for cell in range(CELLS)
            for what in ("red", "green", "blue", "contrast")
        ),
        "frame": (
            "share outside the field",
            *(f"dark share of the {corner} corner" for corner in _CORNERS),
            *(f"dark share of the {side} side" for side in _SIDES),
            "field's width",
            "field's height",
            "field's radius",
            "unevenness of the radius",
            "roundness",
            "centre, across",
            "centre, down",
        ),
        "skin": (
            *(
                f"share of red {r + 1}, green {g + 1}, blue {b + 1} of {BINS}"
                for r in range(BINS)
                for g in range(BINS)
                for b in range(BINS)
            ),
            *(f"{what} of {name}" for what in ("median", "spread") for name in ("L*", "a*", "b*")),
        ),
        "file": (
            "width",
            "height",
            "aspect ratio",
            "is JPEG",
            "is PNG",
            "has colour",
            "has transparency",
            "JPEG quality",
            "chroma subsampling",
            "progressive",
            "has EXIF",
            "has ICC profile",
            "has JFIF header",
            "has Adobe marker",
            "has comment",
            "DPI",
        ),
        "file size": ("bytes", "bytes per pixel"),
    }
)
"""Cue -> the names of its numbers, in the order of its vector."""

SHOWS_LESION: Final = frozenset({"file size"})
"""Cues that are about the file but depend on the lesion too: its texture takes bytes."""


def describe(image: Pixels, data: bytes) -> dict[str, Vector]:
    """One float32 vector a cue, as long as its names in `NUMBERS`.

    `image` RGB uint8 (h, w, 3); `data` the file it was decoded from. `border`: mean colour and contrast in
    [0, 1] of the cells of a ring of 1/16 of the side; all NaN when the lesion reaches into it, because a
    patched ring would show how large the lesion is. `frame`: lengths in half sides of the image. `skin`:
    shares of colours among the same number of skin pixels in each image, away from the lesion, with median
    and quartile range in CIELAB; all NaN when there is less skin. `file`: from the header alone.
    `file size`: see `SHOWS_LESION`.
    """
    how = cv2.INTER_AREA if min(image.shape[:2]) > SIDE else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=how), dtype=np.uint8)
    masks = segment(small)
    return {
        "border": _describe_border(small, masks),
        "frame": _describe_frame(masks),
        "skin": _describe_skin(small, masks),
        **_describe_file(data),
    }


def _describe_border(image: Pixels, masks: Segmentation) -> Vector:
    reach = cv2.dilate(masks.lesion.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    inner = reach[RING:-RING, RING:-RING].sum()
    ring_area = SIDE**2 - (SIDE - 2 * RING) ** 2
    if reach.sum() - inner > MAX_RING_LESION * ring_area:
        return _missing("border")
    parts = []
    for strip in _strips(image):
        depth, length = strip.shape[0], strip.shape[1] // CELLS
        cells = strip.reshape(depth, CELLS, length, 3).transpose(1, 0, 2, 3).reshape(CELLS, -1, 3)
        values = cells.astype(np.float32) / np.float32(255)
        parts.append(np.column_stack([values.mean(axis=1), values.std(axis=1).mean(axis=1)]))
    return np.concatenate(parts).ravel().astype(np.float32)


def _strips(image: Pixels) -> list[Pixels]:
    """Top, bottom, left and right of the ring, each lying, without the corners twice."""
    left, right = image[RING:-RING, :RING], image[RING:-RING, -RING:]
    return [image[:RING], image[-RING:], left.transpose(1, 0, 2), right.transpose(1, 0, 2)]


def _describe_frame(masks: Segmentation) -> Vector:
    outside = ~masks.field
    near, far = slice(0, CORNER), slice(SIDE - CORNER, SIDE)
    middle = slice(SIDE // 4, SIDE - SIDE // 4)
    corners = [(near, near), (near, far), (far, near), (far, far)]
    sides = [(slice(0, RING), middle), (slice(SIDE - RING, SIDE), middle)]
    sides += [(across, down) for down, across in sides]
    dark = [float(outside[place].mean()) for place in corners + sides]
    return np.array([outside.mean(), *dark, *_describe_outline(masks.field.astype(np.uint8))], np.float32)


def _describe_outline(field: Pixels) -> list[float]:
    """Width, height, radius, unevenness, roundness and centre of the field; zeros without a field.

    The radius is that of the points of the outline within the image; where there are none the whole image
    is seen, and it is that of its corners.
    """
    outlines, _ = cv2.findContours(field, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return [0.0] * 7
    outline = max(outlines, key=len)
    points = outline[:, 0, :].astype(np.float64)
    half = SIDE / 2
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    width, height = np.ptp(points, axis=0) + 1
    within = points[((points > 1) & (points < SIDE - 2)).all(axis=1)]
    radii = np.hypot(*(within - centre).T) / half
    round_ = 4 * np.pi * cv2.contourArea(outline) / max(cv2.arcLength(outline, True), 1) ** 2
    radius, uneven = (radii.mean(), radii.std()) if len(radii) > 3 else (np.sqrt(2), 0.0)
    across, down = (centre - (SIDE - 1) / 2) / half
    return [float(v) for v in (width / half, height / half, radius, uneven, round_, across, down)]


def _describe_skin(image: Pixels, masks: Segmentation) -> Vector:
    reach = cv2.dilate(masks.lesion.astype(np.uint8), _SKIN_DISTANCE) > 0
    colours = image[masks.skin & ~reach]
    if len(colours) < SKIN_PIXELS:
        return _missing("skin")
    # The same number from every image: a histogram of fewer pixels has more empty cells.
    colours = colours[np.linspace(0, len(colours) - 1, SKIN_PIXELS).astype(np.int64)]
    red, green, blue = (colours // (256 // BINS)).astype(np.int64).T
    counts = np.bincount((red * BINS + green) * BINS + blue, minlength=BINS**3)
    lab = cv2.cvtColor(colours[None].astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)[0]
    # Quartiles: pigment that the segmentation missed would show in a mean.
    low, middle, high = np.percentile(lab, (25, 50, 75), axis=0)
    return np.concatenate([counts / SKIN_PIXELS, middle, high - low]).astype(np.float32)


def _describe_file(data: bytes) -> dict[str, Vector]:
    """The cues `file` and `file size`; NaN for a header that Pillow cannot make sense of."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            header = _read_header(picture)
            pixels = picture.width * picture.height
    except Exception:  # Pillow's plugins raise whatever a damaged header leads them to
        return {name: _missing(name) for name in ("file", "file size")}
    size = np.array([len(data), len(data) / pixels], np.float32)
    return {"file": np.nan_to_num(np.array(header, np.float32)), "file size": size}


def _read_header(picture: Image.Image) -> list[float]:
    info = picture.info
    is_jpeg = picture.format in {"JPEG", "MPO"}  # MPO: a JPEG with a preview, from a telephone
    return [
        picture.width,
        picture.height,
        picture.width / picture.height,
        is_jpeg,
        picture.format == "PNG",
        not picture.mode.startswith(("L", "I", "1", "F")),
        picture.has_transparency_data,
        _estimate_quality(picture) if is_jpeg else 0,
        get_sampling(picture) if is_jpeg else -1,
        bool(info.get("progressive")),
        "exif" in info,
        "icc_profile" in info,
        "jfif" in info,
        "adobe" in info,
        "comment" in info,
        float(info.get("dpi", (0,))[0]),
    ]


def _estimate_quality(picture: Image.Image) -> float:
    """The quality 1..100 at which libjpeg makes tables of this sum."""
    tables: Mapping[int, list[int]] = getattr(picture, "quantization", {})
    if not tables:
        return 0.0
    scale = 100 * sum(tables[min(tables)]) / _LUMINANCE_SUM
    return float(np.clip((200 - scale) / 2 if scale <= 100 else 5000 / scale, 1, 100))


def _missing(cue: str) -> Vector:
    return np.full(len(NUMBERS[cue]), np.nan, np.float32)

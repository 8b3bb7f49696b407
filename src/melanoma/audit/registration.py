"""Lays one image over another and says how alike their fine structure is.

Pictures of moles are all alike from afar: a dark spot on light skin, often in a black ring. So the comparison
leaves out the ring, brings every place to the same local contrast, and counts on details a few pixels wide,
after an affine registration by Evangelidis & Psarakis 2008 (OpenCV's `findTransformECC`).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.audit.descriptors import Crop, turn_image

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

FINE, MIDDLE, COARSE = 128, 64, 32  # sides of the three levels, pixels
_DARK = 45  # grey level below which the rim of an image counts as frame
_OUTSIDE = -128  # marks the frame in stored local contrast
_STEP = 32.0  # stored local contrast: so many steps to one standard deviation
_LOOSE, _CLOSE = 0.42, 0.60  # what the coarse and the middle level must reach to be looked at more closely
_SURE = 0.7  # where no coarse search is needed
_RIM = 9  # pixels at FINE that the vignette of a frame reaches into the picture
_OVERLAP = 0.4  # share of the picture that must be compared
_PLAIN = 0.12  # standard deviation of local contrast below which there is nothing to compare


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What the first two looks at n images need: `coarse` uint8 (n, 32, 32), `middle` int8 (n, 64, 64).

    `coarse` is brightness with the frame filled in, `middle` local contrast with the frame marked.
    """

    coarse: Bytes
    middle: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Match:
    """How well one image lies over another.

    `score`: correlation of fine local contrast, 1 for the same picture; `broad`: the same for structure twice
    as wide. `matrix` (2, 3): from pixels of the first image, turned, at FINE to pixels of the second. `skew`:
    pixels by which the registration turns or shears the rim beyond what cropping and squashing can do.
    `overlap`: share of the first image that was compared.
    """

    score: float
    broad: float
    matrix: Floats
    skew: float
    overlap: float

    @property
    def scale(self) -> tuple[float, float]:
        """Width and height of the first image in those of the second."""
        return float(self.matrix[0, 0]), float(self.matrix[1, 1])


def prepare(grey: Bytes, rows: NDArray[np.int64]) -> Levels:
    """Both levels of the images `rows` (n,) of brightness `grey`, uint8 (any, FINE, FINE)."""
    coarse = np.empty((len(rows), COARSE, COARSE), dtype=np.uint8)
    middle = np.empty((len(rows), MIDDLE, MIDDLE), dtype=np.int8)
    for place, row in enumerate(rows):
        small = _shrink(grey[row], MIDDLE)
        field = find_field(small)
        coarse[place] = _shrink(_fill(small, field), COARSE)
        local = np.clip(_flatten(small, field, 3.0, 4.0) * _STEP, -127, 127).astype(np.int8)
        middle[place] = np.where(field, local, _OUTSIDE)
    return Levels(coarse, middle)


def find_field(grey: Bytes) -> Bools:
    """What is not frame: False in dark parts that touch the rim. Brightness uint8 (h, w)."""
    dark = (cv2.GaussianBlur(grey, (0, 0), 1) < _DARK).astype(np.uint8)
    if not dark.any():
        return np.ones(grey.shape, dtype=np.bool_)
    _, parts = cv2.connectedComponents(dark, connectivity=4)
    rim = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return np.isin(parts, rim[rim > 0], invert=True)


def is_plain(levels: Levels) -> Bools:
    """Which images (n,) have too little structure to be recognised by it."""
    return np.array([_is_plain(_unpack(middle)) for middle in levels.middle], dtype=np.bool_)


def _is_plain(local: "_Local") -> bool:
    count = int(local.inside.sum())
    if count <= _OVERLAP / 4 * local.inside.size:
        return True
    return float(np.sqrt((local.contrast**2).sum() / count)) < _PLAIN


def compare_coarsely(levels: Levels, first: int, second: int, turn: int, crop: Crop) -> Floats | None:
    """Registration at MIDDLE of `first`, turned, on `second`, if they may be the same picture.

    The search begins at `crop` of `second`.
    """
    template = _unpack(turn_image(levels.middle[first], turn))
    image = _unpack(levels.middle[second])
    start = crop.matrix(MIDDLE)
    best, matrix = _correlate(template, image, start)[0], start
    if best < _SURE:
        coarse = turn_image(levels.coarse[first], turn)
        moved = _register(coarse, levels.coarse[second], crop.matrix(COARSE), steps=15)
        if moved is not None:
            best, matrix = _better(template, image, (best, matrix), _enlarge(moved, 2))
    if best < _LOOSE:
        return None
    best, matrix = _refine(template, image, (best, matrix), steps=20)
    return matrix if best >= _CLOSE else None


def compare_finely(first: Bytes, second: Bytes, turn: int, matrix: Floats) -> Match | None:
    """The final word on two images of brightness, uint8 (FINE, FINE), from a registration at MIDDLE.

    None when too little of the first lies on the second.
    """
    pictures = turn_image(first, turn), second
    fields = [_trim(find_field(grey)) for grey in pictures]
    wide, narrow = (
        [
            _Local(_flatten(grey, field, width, floor), field)
            for grey, field in zip(pictures, fields, strict=True)
        ]
        for width, floor in ((5.0, 4.0), (2.5, 3.0))
    )
    matrix = _enlarge(matrix, 2)
    broad, matrix = _refine(wide[0], wide[1], (_correlate(wide[0], wide[1], matrix)[0], matrix), steps=15)
    score, overlap = _correlate(narrow[0], narrow[1], matrix)
    if overlap < _OVERLAP * max(float(fields[0].mean()), 0.05):
        return None
    skew = float(max(abs(matrix[0, 1]), abs(matrix[1, 0])) * FINE / 2)
    return Match(score, broad, matrix, skew, overlap)


@dataclass(frozen=True, slots=True, eq=False)
class _Local:
    """Local contrast (h, w), 0 in the frame, and where there is none."""

    contrast: Floats
    inside: Bools


_Found = tuple[float, Floats]  # correlation, and the map that gives it


def _refine(template: _Local, image: _Local, found: _Found, *, steps: int) -> _Found:
    """Register local contrast from what was found; the better of both."""
    moved = _register(template.contrast, image.contrast, found[1], steps=steps)
    return found if moved is None else _better(template, image, found, moved)


def _better(template: _Local, image: _Local, found: _Found, matrix: Floats) -> _Found:
    """In plain skin the search may lose its way, so a new map must prove itself."""
    value = _correlate(template, image, matrix)[0]
    return (value, matrix) if value > found[0] else found


def _shrink(image: Bytes | Floats, side: int) -> Bytes:
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(np.round(small), dtype=np.uint8)


def _fill(grey: Bytes, field: Bools) -> Floats:
    mean = float(grey[field].mean()) if field.any() else 0.0
    return np.where(field, grey, mean).astype(np.float32)


def _trim(field: Bools) -> Bools:
    """The field without the vignette along its frame; the rim of the image itself stays."""
    kernel = np.ones((_RIM, _RIM), dtype=np.uint8)
    kept = cv2.erode(field.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    return np.asarray(kept > 0)


def _flatten(grey: Bytes, field: Bools, width: float, floor: float) -> Floats:
    """Brightness in units of its standard deviation within about `width` pixels, 0 in the frame.

    `floor` grey levels are added to the standard deviation, so that noise in plain skin stays small.
    """
    light = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.7)
    weight = field.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), width) + 1e-3
    mean = cv2.GaussianBlur(light * weight, (0, 0), width) / total
    difference = (light - mean) * weight
    spread = np.sqrt(cv2.GaussianBlur(difference * difference, (0, 0), width) / total)
    return np.asarray(difference / (spread + floor), dtype=np.float32)


def _unpack(middle: NDArray[np.int8]) -> _Local:
    inside = middle != _OUTSIDE
    return _Local(np.where(inside, middle, 0).astype(np.float32) / np.float32(_STEP), inside)


def _register(
    template: NDArray[np.generic], image: NDArray[np.generic], start: Floats, *, steps: int
) -> Floats | None:
    """Affine map from pixels of `template` to pixels of `image`, None when the search does not converge."""
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-3)
    try:
        _, matrix = cv2.findTransformECC(template, image, start.copy(), cv2.MOTION_AFFINE, criteria, None, 3)
    except cv2.error:
        return None
    return np.asarray(matrix, dtype=np.float32)


def _enlarge(matrix: Floats, factor: int) -> Floats:
    """The same map between images `factor` times as large, pixel centres lying at whole numbers."""
    shift = np.full(2, 0.5 / factor - 0.5)
    moved = factor * (matrix[:, 2] + matrix[:, :2] @ shift + 0.5) - 0.5
    return np.column_stack([matrix[:, :2], moved]).astype(np.float32)


def _correlate(template: _Local, image: _Local, matrix: Floats) -> tuple[float, float]:
    """Pearson correlation where both show a picture, and the share of the template that this is."""
    side = template.inside.shape[0]
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(image.contrast, matrix, (side, side), flags=how)
    covered = cv2.warpAffine(image.inside.astype(np.float32), matrix, (side, side), flags=how) > 0.99
    both = template.inside & covered
    share = float(both.mean())
    if share < 0.02:
        return 0.0, share
    first, second = template.contrast[both], moved[both]
    first, second = first - first.mean(), second - second.mean()
    length = float(np.sqrt((first @ first) * (second @ second)))
    return (float(first @ second) / length if length > 1e-6 else 0.0), share

"""A lesion made ready to be measured: one size, no hair, and every colour relative to the skin around it.

What is measured relative to the skin does not tell which camera, light or skin tone it was.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.data.segmentation import Mask, Pixels, segment

Floats = NDArray[np.float32]

SIDE: Final = 192  # pixels of the longer side; all lengths here are pixels of that copy
REFERENCE_SKIN: Final = (214, 172, 150)  # sRGB that the skin of every image is brought to
MIN_SKIN: Final = 0.02  # share of the field
NO_LESION: Final = "no lesion stands out"
NO_SKIN: Final = "no skin is seen around the lesion"

_FLOOR = 8.0  # grey levels: keeps the density of black finite
_HAIR_DEPTH = 16  # grey levels
_HAIR_LENGTH = 24  # pixels
_HAIR_THINNESS = 5.0  # length over mean width


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """One lesion at working size (h, w), the longer side SIDE pixels.

    `mask`, `skin`, `field`: bool (h, w), see `Segmentation`. `density`: float32 (h, w, 3), optical density of
    red, green and blue above that of the skin, so about 0 on skin. `lab`: float32 (h, w, 3), CIELAB when the
    skin is brought to REFERENCE_SKIN. `depth`: float32 (h, w), distance to the lesion's edge, negative
    outside. `centre` (x, y) and `angle`, radians, of the long axis.
    """

    mask: Mask
    skin: Mask
    field: Mask
    density: Floats
    lab: Floats
    depth: Floats
    centre: tuple[float, float]
    angle: float

    @property
    def pigment(self) -> Floats:
        """Mean density of the three channels, (h, w)."""
        return np.asarray(self.density.mean(axis=2), dtype=np.float32)

    @property
    def diameter(self) -> float:
        """Of the disc of the lesion's area."""
        return float(2 * np.sqrt(self.mask.sum() / np.pi))


def look(image: Pixels) -> Lesion | str:
    """The lesion of an image, RGB uint8 (h, w, 3) of any size, or why there is none to measure."""
    small = _resize(image)
    masks = segment(small)
    if not masks.lesion.any():
        return NO_LESION
    if masks.skin.sum() < MIN_SKIN * masks.field.sum():
        return NO_SKIN
    clean = remove_hair(small)
    skin = np.median(clean[masks.skin], axis=0)
    centre, angle = _find_axes(masks.lesion)
    return Lesion(
        mask=masks.lesion,
        skin=masks.skin,
        field=masks.field,
        density=_look_up(clean, [_density_table(level) for level in skin]),
        lab=_to_lab(clean, skin),
        depth=_measure_depth(masks.lesion),
        centre=centre,
        angle=angle,
    )


def remove_hair(image: Pixels) -> Pixels:
    """Long thin dark lines painted over from their sides, uint8 (h, w, 3); short ones are pigment and stay.

    After DullRazor (Lee et al. 1997), with Telea's inpainting (2004).
    """
    grey = image.min(axis=2)
    depth = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, disc(4))
    dark = (cv2.GaussianBlur(depth, (3, 3), 0) > _HAIR_DEPTH).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    width, height, area = (
        stats[:, cv2.CC_STAT_WIDTH],
        stats[:, cv2.CC_STAT_HEIGHT],
        stats[:, cv2.CC_STAT_AREA],
    )
    length = np.hypot(width, height)
    hair = (length > _HAIR_LENGTH) & (length**2 > _HAIR_THINNESS * area)
    hair[0] = False
    if not hair.any():
        return image
    over = cv2.dilate(hair[labels].astype(np.uint8), disc(1))
    return np.asarray(cv2.inpaint(image, over, 3, cv2.INPAINT_TELEA), dtype=np.uint8)


def disc(radius: int) -> Pixels:
    """A round structuring element."""
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), dtype=np.uint8)


def _resize(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


def _density_table(skin: float) -> Floats:
    """Grey level to optical density above the skin's."""
    return np.asarray(np.log((skin + _FLOOR) / (np.arange(256) + _FLOOR)), dtype=np.float32)


def _to_lab(image: Pixels, skin: NDArray[np.floating]) -> Floats:
    """CIELAB after each channel's light is scaled so that the skin becomes REFERENCE_SKIN (von Kries)."""
    tables = []
    for level, wanted in zip(skin, REFERENCE_SKIN, strict=True):
        gain = _linearise(wanted) / max(float(_linearise(level)), 1e-3)
        light = np.clip(_linearise(np.arange(256)) * gain, 0, 1)
        tables.append(_delinearise(light).astype(np.float32))
    return np.asarray(cv2.cvtColor(_look_up(image, tables), cv2.COLOR_RGB2LAB), dtype=np.float32)


def _look_up(image: Pixels, tables: list[Floats]) -> Floats:
    return np.stack([table[image[..., c]] for c, table in enumerate(tables)], axis=2)


def _linearise(level: NDArray[np.floating] | NDArray[np.integer] | float) -> NDArray[np.float64]:
    """Grey level 0..255 to light in [0, 1]; IEC 61966-2-1."""
    value = np.asarray(level, dtype=np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _delinearise(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _find_axes(mask: Mask) -> tuple[tuple[float, float], float]:
    """Centre (x, y) and direction of the long axis from the second moments."""
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    centre = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    return centre, 0.5 * float(np.arctan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"]))


def _measure_depth(mask: Mask) -> Floats:
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(inside - outside, dtype=np.float32)

"""Skin tone as the individual typology angle, a rough estimate: photographs are not calibrated."""

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.data.segmentation import WORKING_SIDE, Pixels, segment
from melanoma.data.threads import map_jobs
from melanoma.errors import ImageError
from melanoma.inference.images import load

BANDS: Final = ("very light", "light", "intermediate", "tan", "brown", "dark")
MIN_SKIN: Final = 0.02  # share of the image
CAVEAT: Final = (
    "An estimate: the individual typology angle of the skin around the lesion, from photographs whose light and"
    " camera are not calibrated; a colour cast moves an image to another band. No estimate where too little skin"
    " is seen, or where a cast leaves no yellow in it."
)
_LIMITS = (-30.0, 10.0, 28.0, 41.0, 55.0)  # degrees


def estimate_angles(
    paths: Sequence[str], progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float64]:
    """The angle of each image in degrees (n,), NaN where there is none.

    `progress` is called with (images done, images in all).
    """
    return np.array(map_jobs(_estimate_file, paths, progress), dtype=np.float64)


def estimate_angle(image: Pixels) -> float:
    """Individual typology angle atan((L* - 50) / b*) of the skin, in degrees from -90 to 90.

    `image` RGB uint8 (h, w, 3), seen at 128 pixels. From the medians of L* and b* over the skin that the
    segmentation finds, under which hair and glare do not count. NaN when there is too little skin, or when it
    has no yellow in it (b* of 0 or less), for which the angle means nothing. Chardon et al. 1991.
    """
    small = _shrink(image)
    skin = small[segment(small).skin]
    if len(skin) < MIN_SKIN * small.shape[0] * small.shape[1]:
        return float("nan")
    lab = cv2.cvtColor(skin[None].astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)[0]
    lightness, _, yellow = (float(value) for value in np.median(lab, axis=0))
    return float(np.degrees(np.arctan((lightness - 50) / yellow))) if yellow > 0 else float("nan")


def name_bands(angles: NDArray[np.float64]) -> list[str]:
    """The band of each angle in degrees (n,), '' for NaN.

    Very light above 55, light above 41, intermediate above 28, tan above 10, brown above -30, else dark. Del
    Bino & Bernerd 2013.
    """
    names = BANDS[::-1]
    places = np.searchsorted(_LIMITS, angles, side="left")
    return ["" if np.isnan(angle) else names[place] for angle, place in zip(angles, places, strict=True)]


def _estimate_file(path: str) -> float:
    try:
        return estimate_angle(load(path))
    except ImageError:
        return float("nan")


def _shrink(image: Pixels) -> Pixels:
    """The longer side brought to 128 pixels; a smaller image stays."""
    height, width = image.shape[:2]
    scale = WORKING_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

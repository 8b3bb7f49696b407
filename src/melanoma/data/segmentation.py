"""Where the lesion lies, where the dermatoscope sees, and which skin surrounds the lesion.

Classical: optical density relative to the skin, freed of uneven light, and Otsu's threshold taken where the
lesion is. All work is done on a copy whose longer side has `WORKING_SIDE` pixels, so lengths below are pixels
of that copy.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

WORKING_SIDE: Final = 128

# Melanin absorbs blue most, a blue-grey veil red: no channel may be missing.
CHANNEL_WEIGHTS: Final = (0.26, 0.37, 0.37)
DENSITY_SCALE: Final = 100  # steps of Otsu's histogram in one unit of optical density
DENSITY_OFFSET: Final = 0.5
MIN_CONTRAST: Final = 0.06  # optical density
MIN_SEPARATION: Final = 2.2  # of lesion and skin, in deviations of the skin
CLEAR_CONTRAST: Final = 0.25  # optical density that is a lesion on any skin
MIN_LESION: Final = 0.002  # share of the field
MIN_FIELD: Final = 0.02  # share of the image
SKIN_MARGIN: Final = 6  # from the lesion's outline, where pigment fades out


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Three masks of the image's own size, bool (h, w).

    `field`: False in a black frame, in black corners and bars. `lesion`: within `field`; empty when nothing
    stands out. `skin`: the field without the lesion, a margin around it, and dark or coloured things that
    come in from the rim, such as stickers. A lesion that fills the field cannot be told from skin.
    """

    lesion: Mask
    field: Mask
    skin: Mask


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """The working copy's optical density above skin (h, w) float32, the same in steps of Otsu's histogram,
    the field, and each pixel's distance from the field's centre, 1 at the radius of a disc of its area.
    """

    density: Floats
    steps: Pixels
    field: Mask
    distance: Floats


def segment(image: Pixels) -> Segmentation:
    """Find lesion, field and skin. `image` RGB uint8 (h, w, 3) of any size."""
    height, width = image.shape[:2]
    small = _resize(image)
    field = _find_field(small)
    lesion, aside = _find_lesion(small, field)
    skin = field & ~_dilate(lesion, SKIN_MARGIN) & ~_dilate(aside, 2)
    return Segmentation(*(_enlarge(mask, height, width) for mask in (lesion, field, skin)))


def _resize(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    scale = WORKING_SIDE / max(height, width)
    if scale == 1:
        return np.ascontiguousarray(image)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


def _enlarge(mask: Mask, height: int, width: int) -> Mask:
    if mask.shape == (height, width):
        return mask
    smooth = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth > 0.5)


def _find_field(image: Pixels) -> Mask:
    """All but what is dark and reaches a corner of the image, with its blurred rim."""
    height, width = image.shape[:2]
    red, green, blue = cv2.split(image)
    bright = cv2.blur(cv2.max(cv2.max(red, green), blue), (3, 3))
    middle = bright[height // 4 : height - height // 4, width // 4 : width - width // 4]
    limit = np.clip(0.42 * np.median(middle), 12, 60)
    dark = _morph(bright < limit, cv2.MORPH_OPEN, 1)  # a dark hair must not lead the frame to the lesion
    _, labels = cv2.connectedComponents(dark.astype(np.uint8), connectivity=4)
    outside = np.zeros(labels.max() + 1, np.bool_)
    outside[labels[[0, 0, -1, -1], [0, -1, 0, -1]]] = True
    outside[0] = False
    if not outside.any():
        return np.ones((height, width), np.bool_)
    return _hull(~outside[labels])


def _hull(seen: Mask) -> Mask:
    """The convex hull of the largest part, a little within: a lesion that is dark as the frame stays inside."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(seen.astype(np.uint8), connectivity=4)
    area = stats[1:, cv2.CC_STAT_AREA]
    if len(area) == 0 or area.max() < MIN_FIELD * seen.size:
        return np.zeros(seen.shape, np.bool_)
    largest = (labels == 1 + int(area.argmax())).astype(np.uint8)
    outlines, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = np.zeros(seen.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(outlines[0]), 1)
    return _morph(hull.astype(np.bool_), cv2.MORPH_ERODE, 2)


def _find_lesion(image: Pixels, field: Mask) -> tuple[Mask, Mask]:
    """The lesion, and what comes in from the rim and is no lesion."""
    nothing = np.zeros(field.shape, np.bool_)
    if field.sum() < 200:
        return nothing, nothing
    scene = _look(image, field)
    core, aside = _choose(scene, _otsu(scene, field), nothing)
    if aside.any():
        aside = _dilate(aside, 2)
        core, _ = _choose(scene, _otsu(scene, field & ~aside), aside)
    for _ in range(2):  # closer around what was found, so that a small lesion counts
        if core.any():
            core, _ = _choose(scene, _otsu(scene, field & ~aside & _box_around(core)), aside)
    lesion = _finish(scene, core, aside)
    return (lesion if lesion.any() else _finish(scene, _find_peak(scene, aside), aside)), aside


def _finish(scene: _Scene, core: Mask, aside: Mask) -> Mask:
    """The lesion that has this core; empty when it does not stand out."""
    lesion = _smooth(_grow(scene, core, aside)) & scene.field
    return lesion if _stands_out(scene, lesion, aside) else np.zeros_like(lesion)


def _find_peak(scene: _Scene, aside: Mask) -> Mask:
    """What reaches half of the highest density near the centre: a spot too small for Otsu's threshold."""
    central = scene.density[(scene.distance < 0.7) & ~aside]
    return _choose(scene, float(central.max()) / 2, aside)[0] if len(central) else np.zeros_like(aside)


def _look(image: Pixels, field: Mask) -> _Scene:
    density = _flatten(_optical_density(_suppress_hair(image)), field)
    density = cv2.GaussianBlur(density, (0, 0), 1.2)
    steps = np.clip((density + DENSITY_OFFSET) * DENSITY_SCALE, 0, 255).astype(np.uint8)
    y, x = np.nonzero(field)
    rows, columns = np.ogrid[: field.shape[0], : field.shape[1]]
    radius = np.sqrt(len(y) / np.pi)
    distance = np.hypot(rows - y.mean(), columns - x.mean()) / radius
    return _Scene(density, steps, field, distance.astype(np.float32))


def _suppress_hair(image: Pixels) -> Pixels:
    """Thin dark lines give way to what lies beside them (black top-hat; Lee et al. 1997, DullRazor)."""
    closed = cv2.morphologyEx(image, cv2.MORPH_CLOSE, _disc(3))
    hair = _dilate(cv2.subtract(_darkest(closed), _darkest(image)) > 14, 1)
    without = np.where(hair[..., None], cv2.medianBlur(closed, 5), image)
    return np.asarray(cv2.medianBlur(without, 5), dtype=np.uint8)


def _darkest(image: Pixels) -> Pixels:
    red, green, blue = cv2.split(image)
    return np.asarray(cv2.min(cv2.min(red, green), blue), dtype=np.uint8)


def _optical_density(image: Pixels) -> Floats:
    """Weighted mean of the channels' -log(intensity), float32 (h, w)."""
    table = -np.log((np.arange(256) + 8) / 263)
    channels = [
        (weight * table).astype(np.float32)[image[..., c]] for c, weight in enumerate(CHANNEL_WEIGHTS)
    ]
    return np.asarray(channels[0] + channels[1] + channels[2])


def _flatten(density: Floats, field: Mask) -> Floats:
    """Density above the skin's: a plane and a fall of light towards the rim, fitted to the lighter pixels."""
    y = np.linspace(-1, 1, field.shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, field.shape[1], dtype=np.float32)[None, :]
    terms = [np.ones_like(density), x + 0 * y, y + 0 * x, x * x + y * y]
    thin = (slice(1, None, 3), slice(1, None, 3))
    seen = field[thin]
    design = np.stack([term[thin][seen] for term in terms], axis=1)
    target = density[thin][seen]
    weight = np.ones_like(target)
    coefficients = np.zeros(4, np.float32)
    for _ in range(4):
        coefficients = _solve(design, target, weight)
        rest = target - design @ coefficients
        lighter = rest[rest < 0]
        spread = max(float(np.sqrt(np.mean(lighter**2))) if len(lighter) else 0.0, 0.02)
        weight = np.where(rest > spread, np.float32(0.05), np.float32(1))
    light = sum((c * term for c, term in zip(coefficients, terms, strict=True)), np.float32(0))
    return np.asarray(density - light, dtype=np.float32)


def _solve(design: Floats, target: Floats, weight: Floats) -> Floats:
    """Weighted least squares; a middle darker than the rim is a lesion, not light, and is not fitted."""
    normal = design.T @ (design * weight[:, None]) + np.float32(1e-3) * np.eye(4, dtype=np.float32)
    right = design.T @ (target * weight)
    coefficients = np.linalg.solve(normal, right)
    if coefficients[3] < 0:
        coefficients = np.r_[np.linalg.solve(normal[:3, :3], right[:3]), np.float32(0)]
    return np.asarray(coefficients, dtype=np.float32)


def _otsu(scene: _Scene, region: Mask) -> float:
    """Otsu's threshold on the density within the region. Otsu 1979."""
    values = scene.steps[region]
    if len(values) == 0:
        return MIN_CONTRAST
    step, _ = cv2.threshold(values.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float((step + 0.5) / DENSITY_SCALE - DENSITY_OFFSET)


def _choose(scene: _Scene, threshold: float, aside: Mask) -> tuple[Mask, Mask]:
    """Of what is darker: the most pigmented part near the centre with its equals; what hugs the edge.

    What lies `aside` is neither.
    """
    dark = (scene.density > max(threshold, MIN_CONTRAST)) & scene.field & ~aside
    number, labels, stats, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8), connectivity=8)
    of, distance = labels[dark], scene.distance[dark]
    area = np.maximum(stats[:, cv2.CC_STAT_AREA], 1)
    score = np.bincount(of, scene.density[dark] * np.exp(-((distance / np.float32(0.5)) ** 2)), number)
    # Shares of the outline of a disc of the same area.
    outline = np.sqrt(4 * np.pi * area)
    at_rim = np.bincount(labels[_rim(scene.field)], minlength=number) / outline
    at_edge = np.bincount(labels[_rim(np.ones_like(dark))], minlength=number) / outline
    away = np.bincount(of, distance, number) / area
    score = score * np.clip(1 - 1.2 * at_rim, 0.05, 1)
    score[0] = 0
    intruder = (at_edge > 0.3) & (away > 0.65) & (area > 0.003 * dark.size)
    intruder[0] = False
    chosen = (score >= 0.15 * score.max()) & (score > 0)
    return chosen[labels], intruder[labels]


def _grow(scene: _Scene, core: Mask, aside: Mask) -> Mask:
    """The core with its fainter surroundings; the core alone if those would run out to the rim."""
    skin = scene.field & ~_dilate(core, SKIN_MARGIN) & ~aside
    if skin.sum() < 100 or not core.any():
        return core
    middle, spread = _describe_skin(scene.density[skin])
    threshold = max(middle + 2.5 * spread, middle + 0.3 * (float(np.median(scene.density[core])) - middle))
    faint = _morph(scene.field & ~aside & (scene.density > threshold), cv2.MORPH_OPEN, 2)
    _, labels = cv2.connectedComponents(faint.astype(np.uint8))
    joined = np.zeros(labels.max() + 1, np.bool_)
    joined[labels[core]] = True
    joined[0] = False
    grown = joined[labels] | core
    rim = _rim(scene.field)
    runs_out = (grown & rim).sum() > (core & rim).sum() + 0.1 * rim.sum()
    return core if runs_out else grown


def _stands_out(scene: _Scene, lesion: Mask, aside: Mask) -> bool:
    if lesion.sum() < MIN_LESION * scene.field.sum():
        return False
    skin = scene.field & ~lesion & ~aside
    if skin.sum() < 100:
        return True
    middle, spread = _describe_skin(scene.density[skin])
    contrast = float(np.median(scene.density[lesion])) - middle
    return contrast > min(CLEAR_CONTRAST, max(MIN_CONTRAST, MIN_SEPARATION * spread))


def _describe_skin(density: Floats) -> tuple[float, float]:
    """Median, and deviation judged from the lighter half, where no pigment is."""
    middle = float(np.median(density))
    return middle, 1.48 * (middle - float(np.median(density[density <= middle])))


def _smooth(mask: Mask) -> Mask:
    """Without gaps, holes and spikes."""
    whole = _morph(_morph(mask, cv2.MORPH_CLOSE, 3), cv2.MORPH_OPEN, 2).astype(np.uint8)
    outlines, _ = cv2.findContours(whole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(whole)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled.astype(np.bool_)


def _box_around(mask: Mask) -> Mask:
    """The mask's bounding box with a third of its sides around it."""
    box = np.zeros(mask.shape, np.bool_)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    more_y, more_x = (max(6, int(0.3 * (ends[-1] - ends[0] + 1))) for ends in (rows, columns))
    box[
        max(0, rows[0] - more_y) : rows[-1] + more_y + 1,
        max(0, columns[0] - more_x) : columns[-1] + more_x + 1,
    ] = True
    return box


def _rim(field: Mask) -> Mask:
    """The field's outermost pixels, where it ends or the image does."""
    inner = cv2.erode(
        field.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(field & (inner == 0))


def _dilate(mask: Mask, radius: int) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _disc(radius)) > 0)


def _morph(mask: Mask, operation: int, radius: int) -> Mask:
    """A morphological operation that takes the image to go on beyond its edge."""
    more = radius + 1
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), more, more, more, more, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.morphologyEx(padded, operation, _disc(radius))[more:-more, more:-more] > 0)


def _disc(radius: int) -> Pixels:
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), dtype=np.uint8)

"""Photographs without their lesion, without as much skin elsewhere, and with nothing but the lesion.

What is hidden is filled with skin: the colour is carried in from around, the texture is copied from elsewhere in
the same image, so that neither a blob nor a smooth patch stays.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.data.segmentation import SKIN_MARGIN, WORKING_SIDE, Mask, Pixels, Segmentation, segment

MIN_SKIN: Final = 0.05  # share of the image
NO_LESION: Final = "no lesion was found"
NO_SKIN: Final = "too little skin is seen around the lesion"
NO_ROOM: Final = "no room for as large a patch beside the lesion"
_MORE_ROUNDS = 2
_SHIFTS = 12  # tried each time that texture is copied
_COPIES = 6
_GREY = 128
_RELAXATIONS = 10
_PLAIN = 5  # times the median strength of the skin's texture
_COARSE = 64  # pixels of the longer side that the colour is carried in at

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Occlusion:
    """One photograph, RGB uint8 (h, w, 3) each, None where it could not be made; `reason` says why.

    `hidden`: the lesion, with a margin, filled with skin. `elsewhere`: as many pixels of a place beside the lesion,
    drawn at random, filled in the same way. `alone`: the lesion with its margin, all else grey. `share`: of
    the image that is hidden, 0 where nothing is.
    """

    hidden: Pixels | None = None
    elsewhere: Pixels | None = None
    alone: Pixels | None = None
    share: float = 0.0
    reason: str = ""


def occlude(image: Pixels, rng: np.random.Generator) -> Occlusion:
    """Hide the lesion that the segmentation finds, again where more of it is found afterwards.

    `image` RGB uint8 (h, w, 3).
    """
    found = segment(image)
    if not found.lesion.any():
        return Occlusion(reason=NO_LESION)
    cover = _widen(found.lesion) & found.field
    alone = np.where(cover[..., None], image, np.uint8(_GREY))
    hidden, cover = _hide(image, cover, found, rng)
    if hidden is None:
        return Occlusion(alone=alone, reason=NO_SKIN)
    patch = _choose_patch(found.field & ~cover, int(cover.sum()), rng)
    elsewhere = None if patch is None else fill(image, patch, found.skin & ~cover, rng)
    reason = NO_ROOM if elsewhere is None else ""
    return Occlusion(hidden, elsewhere, alone, float(cover.mean()), reason)


def fill(image: Pixels, where: Mask, skin: Mask, rng: np.random.Generator) -> Pixels | None:
    """Let the pixels of `where` look like those of `skin` outside it; None when that is too little, under MIN_SKIN."""
    skin = skin & ~where
    if skin.mean() < MIN_SKIN:
        return None
    plain = _leave_out_marks(image, skin)
    base = _carry_in(image, plain)
    filled = base + _copy_texture(image - base, where, plain, rng)
    softness = 0.008 * min(where.shape)
    weight = cv2.GaussianBlur(where.astype(np.float32), (0, 0), softness)
    weight = np.where(where, np.maximum(weight, 0.5) * 2 - 1, 0)[..., None]
    mixed = image + weight * (filled - image)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), dtype=np.uint8)


def _hide(
    image: Pixels, cover: Mask, found: Segmentation, rng: np.random.Generator
) -> tuple[Pixels | None, Mask]:
    """The image with `cover` filled, and what was filled in the end: more where a lesion is found again."""
    hidden = fill(image, cover, found.skin, rng)
    for _ in range(_MORE_ROUNDS):
        if hidden is None:
            break
        rest = segment(hidden).lesion
        if not (rest & cover).any():
            break
        cover = cover | _widen(rest) & found.field
        hidden = fill(image, cover, found.skin, rng)
    return hidden, cover


def _widen(mask: Mask) -> Mask:
    """With the margin in which pigment fades out."""
    reach = SKIN_MARGIN / WORKING_SIDE * max(mask.shape)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away <= reach)


def _carry_in(image: Pixels, skin: Mask) -> Floats:
    """The colours of the skin without its texture, everywhere, float32 (h, w, 3)."""
    height, width = skin.shape
    scale = min(1.0, _COARSE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    weight = skin.astype(np.float32)
    values = cv2.resize(image * weight[..., None], size, interpolation=cv2.INTER_AREA)
    spread = _pull(values, cv2.resize(weight, size, interpolation=cv2.INTER_AREA))
    smooth = cv2.GaussianBlur(spread, (0, 0), 2)
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC))


def _pull(values: Floats, weight: Floats) -> Floats:
    """Fill in what has no weight from ever coarser copies, each relaxed towards the mean of its neighbours.

    `values` (h, w, 3) times `weight` (h, w) in [0, 1]. Push and pull of Gortler et al. 1996, The Lumigraph; what
    is relaxed comes close to a soap film over the hole, which joins its rim without a step.
    """
    height, width = weight.shape
    if max(height, width) == 1 or weight.min() > 0.99:
        return np.asarray(values / np.maximum(weight, 1e-6)[..., None])
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse = _pull(
        cv2.resize(values, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], 3),
        cv2.resize(weight, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0]),
    )
    finer = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    unknown = (1 - weight)[..., None]
    for _ in range(_RELAXATIONS):
        finer = cv2.blur(values + unknown * finer, (3, 3)).reshape(height, width, 3)
    return np.asarray(values + unknown * finer)


def _copy_texture(texture: Floats, where: Mask, skin: Mask, rng: np.random.Generator) -> Floats:
    """The texture of skin laid over `where`, a few shifted copies if one does not cover it all; 0 elsewhere."""
    copied = np.zeros_like(texture)
    bare = where.copy()
    for _ in range(_COPIES):
        if not bare.any():
            break
        shifts = rng.integers(0, where.shape, size=(_SHIFTS, 2))
        gain = [np.count_nonzero(np.roll(skin, shift, (0, 1)) & bare) for shift in shifts]
        shift = shifts[int(np.argmax(gain))]
        covered = np.roll(skin, shift, (0, 1)) & bare
        copied[covered] = np.roll(texture, shift, (0, 1))[covered]
        bare &= ~covered
    return copied


def _leave_out_marks(image: Pixels, skin: Mask) -> Mask:
    """The skin without hair, ruler marks, bubbles, and whatever else stands out of it."""
    texture = np.abs(image - _carry_in(image, skin)).mean(axis=2)
    return np.asarray(skin & (texture <= _PLAIN * float(np.median(texture[skin]))))


def _choose_patch(free: Mask, area: int, rng: np.random.Generator) -> Mask | None:
    """The `area` free pixels that are nearest to one of them drawn at random; None when there are fewer."""
    rows, columns = np.nonzero(free)
    if len(rows) < area:
        return None
    at = int(rng.integers(len(rows)))
    away = np.hypot(rows - rows[at], columns - columns[at])
    nearest = np.argpartition(away, area - 1)[:area]
    patch = np.zeros_like(free)
    patch[rows[nearest], columns[nearest]] = True
    return patch

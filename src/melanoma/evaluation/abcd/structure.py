"""D: texture and structures within the lesion: co-occurrence, binary patterns, dots, lines, empty areas."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.feature import graycomatrix, local_binary_pattern

from melanoma.evaluation.abcd.asymmetry import measure_contrast
from melanoma.evaluation.abcd.lesion import Floats, Lesion, disc

DISTANCES: Final = (1, 4)  # pixels
LEVELS: Final = 16
RANGE: Final = (-0.3, 1.7)  # optical density that the levels span
PATTERNS: Final = 10  # uniform binary patterns of 8 neighbours, the last one all others
RADIUS: Final = 2  # pixels
MARK: Final = 0.1  # optical density by which a dot or a line stands out
EMPTY: Final = 0.03  # local spread of optical density below which nothing is to be seen

_STATISTICS = {
    "contrast": "mean squared step",
    "homogeneity": "how small the steps are",
    "correlation": "correlation",
    "energy": "how few pairs of levels there are",
    "entropy": "entropy of the pairs of levels, bits,",
}

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{
            f"texture_{name}_{distance}": f"{meaning} between pixels {distance} apart (co-occurrence of density)"
            for distance in DISTANCES
            for name, meaning in _STATISTICS.items()
        },
        **{
            f"texture_pattern_{number}": f"share of uniform binary pattern {number}, above the skin's"
            for number in range(PATTERNS)
        },
        "structure_contrast_mean": "mean local spread of optical density, above the skin's",
        "structure_contrast_spread": "how uneven the local spread is",
        "structure_empty": "share without structure",
        "structure_dots": "dark dots and globules, number in a thousand pixels",
        "structure_dots_share": "share that dark dots and globules take",
        "structure_lines_share": "share that short dark lines take: network, streaks",
        "structure_light_share": "share of small light spots and lines",
    }
)


def measure(lesion: Lesion) -> dict[str, float]:
    """The features of MEANINGS, at one scale for all images."""
    pigment = cv2.GaussianBlur(lesion.pigment, (0, 0), 0.8)  # sharpness is the camera's
    return {
        **_measure_cooccurrence(pigment, lesion),
        **_measure_patterns(pigment, lesion),
        **_measure_contrast(pigment, lesion),
        **_find_marks(pigment, lesion),
    }


def _measure_cooccurrence(pigment: Floats, lesion: Lesion) -> dict[str, float]:
    """Haralick et al. 1973, over pairs within the lesion, mean of four directions."""
    low, high = RANGE
    levels = np.clip((pigment - low) / (high - low) * LEVELS, 0, LEVELS - 1).astype(np.uint8) + 1
    rows, columns = (np.flatnonzero(lesion.mask.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    masked = np.where(lesion.mask, levels, 0)[box].astype(np.uint8)
    turns = np.arange(4) * np.pi / 4
    counts = graycomatrix(masked, DISTANCES, turns, levels=LEVELS + 1, symmetric=True)[1:, 1:]
    values = {}
    for number, distance in enumerate(DISTANCES):
        pairs = counts[:, :, number].sum(axis=2).astype(np.float64)
        for name, value in _summarise(pairs / max(pairs.sum(), 1)).items():
            values[f"texture_{name}_{distance}"] = value
    return values


def _summarise(pairs: NDArray[np.float64]) -> dict[str, float]:
    level = np.arange(LEVELS)
    gap = level[:, None] - level[None]
    mean = float(pairs.sum(axis=1) @ level)
    variance = float(pairs.sum(axis=1) @ (level - mean) ** 2)
    product = float((pairs * np.outer(level - mean, level - mean)).sum())
    some = pairs[pairs > 0]
    return {
        "contrast": float((pairs * gap**2).sum()),
        "homogeneity": float((pairs / (1 + gap**2)).sum()),
        "correlation": product / variance if variance > 1e-9 else 1.0,
        "energy": float((pairs**2).sum()),
        "entropy": float(-(some * np.log2(some)).sum()),
    }


def _measure_patterns(pigment: Floats, lesion: Lesion) -> dict[str, float]:
    """Ojala et al. 2002, as in the lesion minus as in the skin, so that grain and compression cancel out."""
    # whole steps: on floats the tiniest noise makes a pattern
    steps = np.clip((pigment + 1) * 100, 0, 255).astype(np.uint8)
    found = local_binary_pattern(steps, 8, RADIUS, "uniform").astype(np.int64)
    shares = [
        np.bincount(found[where], minlength=PATTERNS) / where.sum() for where in (lesion.mask, lesion.skin)
    ]
    return {f"texture_pattern_{number}": float(v) for number, v in enumerate(shares[0] - shares[1])}


def _measure_contrast(pigment: Floats, lesion: Lesion) -> dict[str, float]:
    spread = measure_contrast(pigment)
    inside = lesion.depth > 3  # the step at the edge is the border's
    here = spread[inside if inside.any() else lesion.mask]
    return {
        "structure_contrast_mean": float(here.mean() - np.median(spread[lesion.skin])),
        "structure_contrast_spread": float(here.std() / max(here.mean(), 1e-3)),
        "structure_empty": float((here < EMPTY).mean()),
    }


def _find_marks(pigment: Floats, lesion: Lesion) -> dict[str, float]:
    """Small dark things by their shape, small light ones by their area; top-hat transforms."""
    area = float(lesion.mask.sum())
    dark = (cv2.morphologyEx(pigment, cv2.MORPH_TOPHAT, disc(4)) > MARK) & lesion.mask
    light = (cv2.morphologyEx(pigment, cv2.MORPH_BLACKHAT, disc(4)) > MARK) & lesion.mask
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8), connectivity=8)
    width, height, size = (
        stats[1:, cv2.CC_STAT_WIDTH],
        stats[1:, cv2.CC_STAT_HEIGHT],
        stats[1:, cv2.CC_STAT_AREA],
    )
    longer, shorter = np.maximum(width, height), np.minimum(width, height)
    compact = (longer <= 2 * shorter) & (size >= 0.5 * width * height)
    dots = compact & (size >= 4)
    lines = ~compact & (longer >= 6)
    return {
        "structure_dots": 1000 * float(dots.sum()) / area,
        "structure_dots_share": float(size[dots].sum()) / area,
        "structure_lines_share": float(size[lines].sum()) / area,
        "structure_light_share": float(light.sum()) / area,
    }

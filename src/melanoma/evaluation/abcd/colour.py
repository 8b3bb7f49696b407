"""C: which colours the lesion has, how far they are from the skin's, and how mixed they are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.abcd.lesion import REFERENCE_SKIN, Floats, Lesion

PROTOTYPES: Final[Mapping[str, tuple[int, int, int]]] = MappingProxyType(
    {
        "white": (240, 226, 216),
        "red": (198, 76, 80),
        "light_brown": (174, 122, 84),
        "dark_brown": (104, 66, 46),
        "blue_grey": (108, 114, 130),
        "black": (42, 34, 32),
    }
)
"""The six colours of the ABCD rule on REFERENCE_SKIN, sRGB; chosen by us, the rule names them only."""

PRESENT: Final = 0.05  # share of the lesion from which a colour counts
ENTROPY_STEP: Final = 10  # CIELAB units a side of a cell

_CHANNELS = ("lightness", "redness", "yellowness")

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{f"colour_{name}_mean": f"mean {name} (CIELAB) above the skin's" for name in _CHANNELS},
        **{f"colour_{name}_spread": f"standard deviation of {name} (CIELAB)" for name in _CHANNELS},
        "colour_darkest": "lightness below which a twentieth of the lesion lies, above the skin's",
        "colour_lightest": "lightness above which a twentieth of the lesion lies, above the skin's",
        "colour_distance": "mean CIELAB distance from the skin",
        "colour_red_absorption": "mean optical density of red above the skin's",
        "colour_blue_absorption": "mean optical density of blue above the skin's",
        "colour_absorption_ratio": "red absorption over blue: low for light brown, high for black and blue",
        "colour_saturation_mean": "mean saturation (HSV) above the skin's",
        "colour_saturation_spread": "standard deviation of saturation (HSV)",
        "colour_hue_spread": "circular standard deviation of hue (HSV), radians",
        "colour_centre_to_rim": "CIELAB distance between the mean colours of the inner and the outer half",
        **{
            f"colour_share_{name}": f"share that is nearest to {name.replace('_', ' ')}"
            for name in PROTOTYPES
        },
        "colour_count": "how many of the six colours have a twentieth or more (the C of the ABCD rule)",
        "colour_entropy": "entropy of the colours in cells of CIELAB, bits",
    }
)


def measure(lesion: Lesion) -> dict[str, float]:
    """The features of MEANINGS. Colours relative to the skin after Celebi et al. 2007."""
    lab, mean_density = lesion.lab[lesion.mask], lesion.density[lesion.mask].mean(axis=0)
    above = lab - _to_lab(REFERENCE_SKIN)
    mean, spread = above.mean(axis=0), above.std(axis=0)
    dark, light = np.percentile(above[:, 0], (5, 95))
    values = {f"colour_{name}_mean": float(value) for name, value in zip(_CHANNELS, mean, strict=True)}
    values |= {f"colour_{name}_spread": float(value) for name, value in zip(_CHANNELS, spread, strict=True)}
    return values | {
        "colour_darkest": float(dark),
        "colour_lightest": float(light),
        "colour_distance": float(np.sqrt((above**2).sum(axis=1)).mean()),
        "colour_red_absorption": float(mean_density[0]),
        "colour_blue_absorption": float(mean_density[2]),
        "colour_absorption_ratio": float(mean_density[0] / max(mean_density[2], 0.05)),
        **_measure_hsv(lab),
        "colour_centre_to_rim": _compare_halves(lab, lesion.depth[lesion.mask]),
        **_share_colours(lab),
        "colour_entropy": _measure_entropy(lab),
    }


def _to_lab(colour: tuple[int, int, int]) -> Floats:
    pixel = np.array([[colour]], dtype=np.float32) / np.float32(255)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_RGB2LAB)[0, 0], dtype=np.float32)


def _measure_hsv(lab: Floats) -> dict[str, float]:
    rgb = np.clip(cv2.cvtColor(lab[None], cv2.COLOR_LAB2RGB), 0, 1)
    hue, saturation, _ = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[0].T
    largest = max(REFERENCE_SKIN)
    turn = np.exp(1j * np.radians(hue.astype(np.float64)))
    # weighted by saturation: the hue of grey is noise
    length = abs(np.average(turn, weights=saturation + 1e-3))
    return {
        "colour_saturation_mean": float(saturation.mean()) - (largest - min(REFERENCE_SKIN)) / largest,
        "colour_saturation_spread": float(saturation.std()),
        "colour_hue_spread": float(np.sqrt(-2 * np.log(np.clip(length, 1e-6, 1)))),
    }


def _compare_halves(lab: Floats, depth: Floats) -> float:
    inner = depth >= np.median(depth)
    if inner.all():
        return 0.0
    return float(np.linalg.norm(lab[inner].mean(axis=0) - lab[~inner].mean(axis=0)))


def _share_colours(lab: Floats) -> dict[str, float]:
    """Each pixel goes to the nearest of the six colours or of the skin's own."""
    known = np.stack([*(_to_lab(colour) for colour in PROTOTYPES.values()), _to_lab(REFERENCE_SKIN)])
    nearest = ((lab[:, None] - known[None]) ** 2).sum(axis=2).argmin(axis=1)
    shares = np.bincount(nearest, minlength=len(known)) / len(lab)
    found = {f"colour_share_{name}": float(share) for name, share in zip(PROTOTYPES, shares, strict=False)}
    return found | {"colour_count": float((shares[: len(PROTOTYPES)] >= PRESENT).sum())}


def _measure_entropy(lab: Floats) -> float:
    cells: NDArray[np.int64] = np.floor(lab / ENTROPY_STEP).astype(np.int64) + 16
    counts = np.bincount(cells[:, 0] * 1024 + cells[:, 1] * 32 + cells[:, 2])
    share = counts[counts > 0] / len(lab)
    return float(-(share * np.log2(share)).sum())

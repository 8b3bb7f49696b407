"""All features of one image, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from melanoma.data.segmentation import Pixels
from melanoma.evaluation.abcd import asymmetry, border, colour, structure
from melanoma.evaluation.abcd.lesion import look

VERSION: Final = 1  # raise it when an image gets other numbers

FAMILIES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "asymmetry": asymmetry.MEANINGS,
        "border": border.MEANINGS,
        "colour": colour.MEANINGS,
        "structure": structure.MEANINGS,
    }
)
"""The letters A, B, C and D: name and meaning of each feature."""

NAMES: Final = tuple(name for meanings in FAMILIES.values() for name in meanings)


def describe(image: Pixels) -> tuple[dict[str, float], str]:
    """The features of NAMES and ''; NaN for all, and why, when there is no lesion or no skin around it.

    `image` RGB uint8 (h, w, 3) of any size. Six digits are kept, so that a table gives back what went in.
    """
    lesion = look(image)
    if isinstance(lesion, str):
        return dict.fromkeys(NAMES, float("nan")), lesion
    values: dict[str, float] = {}
    for measure in (asymmetry.measure, border.measure, colour.measure, structure.measure):
        values |= measure(lesion)
    return {name: float(f"{values[name]:.6g}") for name in NAMES}, ""

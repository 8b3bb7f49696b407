"""What counts as melanoma: every label text this package knows, and the user's own on top."""

import re
from collections.abc import Mapping

from melanoma.errors import ManifestError

MELANOMA = (
    "melanoma, mel, malignant, malignant melanoma, melanoma in situ, melanoma metastasis, melanoma invasive, "
    "invasive melanoma, lentigo maligna, positive, true, yes, 1, 1.0"
)
OTHER = (
    "other, others, not melanoma, non melanoma, no melanoma, benign, negative, false, no, 0, 0.0, "
    "nevus, naevus, nevi, naevi, nv, mole, melanocytic nevus, common nevus, atypical nevus, "
    "dysplastic nevus, bkl, benign keratosis, sk, seborrheic keratosis, df, dermatofibroma, vasc, "
    "vascular lesion, bcc, basal cell carcinoma, ak, akiec, actinic keratosis, scc, "
    "squamous cell carcinoma, unk"
)
_NAMES_MELANOMA = re.compile(r"(?<!non )(?<!not )(?<!no )\b(melanoma|lentigo maligna)\b")


def normalise(label: str) -> str:
    """Label text without case, white space, underscores and hyphens."""
    return re.sub(r"[\s_\-]+", "", label.casefold())


def known_labels(overrides: Mapping[str, int] | None = None) -> dict[str, int]:
    """Normalised label to 1 (melanoma) or 0 (anything else), `overrides` winning.

    Raises ManifestError when an override is neither 0 nor 1.
    """
    known = dict.fromkeys(map(normalise, MELANOMA.split(",")), 1)
    known.update(dict.fromkeys(map(normalise, OTHER.split(",")), 0))
    for label, y_true in (overrides or {}).items():
        if y_true not in (0, 1):
            raise ManifestError(
                f"label {label!r} is mapped to {y_true!r}; use 1 for melanoma, 0 for anything else"
            )
        known[normalise(label)] = int(y_true)
    return known


def names_melanoma(diagnosis: str) -> bool:
    """Whether a free diagnosis text names a melanoma, primary, in situ or metastatic.

    "Melanocytic nevus" and "non-melanoma" do not.
    """
    return bool(_NAMES_MELANOMA.search(re.sub(r"[\s_\-]+", " ", diagnosis.casefold())))

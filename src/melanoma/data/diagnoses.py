"""Which lesion a label names, as far as the collections agree: the classes of HAM10000 (Tschandl et al. 2018)."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.data.labels import normalise

UNKNOWN = -1
DIAGNOSES = {
    "melanoma": "mel, melanoma",  # by the class alone
    "nevus": "nv, nevus, naevus, melanocytic nevus, common nevus, atypical nevus, dysplastic nevus",
    "benign keratosis": "bkl, benign keratosis, pigmented benign keratosis, sk, seborrheic keratosis, solar lentigo, "
    "lichen planus like keratosis",
    "basal cell carcinoma": "bcc, basal cell carcinoma",
    "actinic keratosis": "akiec, ak, actinic keratosis, solar or actinic keratosis, bowens disease, bowen's disease, "
    "scc, squamous cell carcinoma",
    "vascular lesion": "vasc, vascular lesion, angioma, angiokeratoma, hemangioma",
    "dermatofibroma": "df, dermatofibroma",
}
_NUMBERS = {
    normalise(name): number for number, names in enumerate(DIAGNOSES.values()) for name in names.split(",")
}


def number_diagnosis(label: str, y_true: int) -> int:
    """The place in `DIAGNOSES` of what `label` names, UNKNOWN for one such as "benign". Class 1 is melanoma."""
    return 0 if y_true else _NUMBERS.get(normalise(label), UNKNOWN)


def number_diagnoses(table: pd.DataFrame) -> NDArray[np.int64]:
    """`number_diagnosis` of every row of a manifest's table (n,), by its diagnosis or else its label.

    UNKNOWN throughout in a source that names no other diagnosis than melanoma: there whoever is asked for the
    diagnosis could tell it by the source.
    """
    texts = table["diagnosis"].where(table["diagnosis"] != "", table["label"])
    numbers = [number_diagnosis(*row) for row in zip(texts, table["y_true"], strict=True)]
    diagnosis = np.array(numbers, dtype=np.int64)
    source = table["source"].to_numpy()
    named = np.unique(source[(table["y_true"].to_numpy() == 0) & (diagnosis != UNKNOWN)])
    return np.where(np.isin(source, named), diagnosis, UNKNOWN)

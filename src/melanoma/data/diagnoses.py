"""Which lesion a label names, as far as the collections agree: the classes of HAM10000 (Tschandl et al. 2018)."""

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

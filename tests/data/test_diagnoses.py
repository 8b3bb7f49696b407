import pandas as pd
import pytest

from melanoma.data.diagnoses import DIAGNOSES, UNKNOWN, number_diagnoses, number_diagnosis
from melanoma.data.labels import OTHER


@pytest.mark.parametrize(
    ("label", "y_true", "name"),
    [
        ("nv", 0, "nevus"),
        ("seborrheic_keratosis", 0, "benign keratosis"),
        ("Basal-Cell Carcinoma", 0, "basal cell carcinoma"),
        ("akiec", 0, "actinic keratosis"),
        ("malignant", 1, "melanoma"),
        ("anything", 1, "melanoma"),
    ],
)
def test_labels_of_the_collections(label, y_true, name):
    assert list(DIAGNOSES)[number_diagnosis(label, y_true)] == name


@pytest.mark.parametrize("label", ["benign", "not_melanoma", "unk", "0"])
def test_a_label_that_names_no_lesion_is_unknown(label):
    assert number_diagnosis(label, 0) == UNKNOWN


def test_no_other_diagnosis_is_melanoma():
    assert all(number_diagnosis(label, 0) != 0 for label in map(str.strip, OTHER.split(",")))


def test_a_source_that_names_melanomas_only_names_no_diagnosis():
    rows = [
        ("camera", "malignant", "", 1),
        ("camera", "benign", "", 0),
        ("clinic", "mel", "", 1),
        ("clinic", "nv", "", 0),
        ("clinic", "benign", "", 0),
        ("clinic", "benign", "dermatofibroma", 0),
    ]
    table = pd.DataFrame(rows, columns=["source", "label", "diagnosis", "y_true"])
    assert number_diagnoses(table).tolist() == [UNKNOWN, UNKNOWN, 0, 1, UNKNOWN, 6]

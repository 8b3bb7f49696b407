import pytest

from melanoma.data.diagnoses import DIAGNOSES, UNKNOWN, number_diagnosis
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

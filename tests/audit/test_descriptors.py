import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import draw
from melanoma.audit import descriptors
from melanoma.audit.descriptors import CROPS, TURNS, Crop


def picture(seed, side=32):
    return cv2.resize(draw(seed, 96, 96, melanoma=bool(seed % 2)), (side, side), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("turn", range(TURNS))
def test_turning_the_coefficients_is_turning_the_image(turn):
    image = picture(3)
    turned = descriptors.turn_image(image, turn)
    expected = descriptors.describe_turned(descriptors.transform(turned[None]), 0)
    found = descriptors.describe_turned(descriptors.transform(image[None]), turn)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_the_eight_turns_differ():
    image = np.arange(12).reshape(3, 4)
    assert len({descriptors.turn_image(image, turn).tobytes() for turn in range(TURNS)}) == TURNS


def test_vectors_have_unit_length_and_the_whole_comes_first():
    vectors = descriptors.describe_crops(np.stack([picture(seed) for seed in range(3)]))
    assert vectors.shape[:2] == (3, len(CROPS))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1, atol=1e-5)
    whole = descriptors.describe_turned(descriptors.transform(np.stack([picture(0)])), 0)
    np.testing.assert_allclose(vectors[0, 0], whole[0], atol=1e-6)


def test_a_plain_image_is_like_nothing():
    plain = np.full((1, 32, 32, 3), 120, dtype=np.uint8)
    assert np.abs(descriptors.describe_crops(plain)).max() < 1e-3


@given(st.floats(0.3, 1), st.floats(0.3, 1), st.integers(8, 200))
def test_a_centred_crop_keeps_the_centre_and_reaches_its_rim(width, height, side):
    matrix = Crop(width, height).matrix(side)
    middle = (side - 1) / 2
    np.testing.assert_allclose(matrix @ [middle, middle, 1], middle, atol=1e-3)
    left, right = (matrix @ [x, middle, 1] for x in (-0.5, side - 0.5))
    assert right[0] - left[0] == pytest.approx(width * side, rel=1e-4)


def test_a_centre_crop_is_near_the_crop_of_the_squashed_whole():
    wide = draw(1, 300, 400)
    squashed = cv2.resize(wide, (32, 32), interpolation=cv2.INTER_AREA)
    cut = cv2.resize(np.ascontiguousarray(wide[:, 50:350]), (32, 32), interpolation=cv2.INTER_AREA)
    crops = descriptors.describe_crops(squashed[None])[0]
    found = crops @ descriptors.describe_turned(descriptors.transform(cut[None]), 0)[0]
    assert found.argmax() == CROPS.index(Crop(width=3 / 4))
    assert found.max() > 0.95

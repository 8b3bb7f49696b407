import numpy as np
import pytest

from melanoma.inference.preprocessing import Preprocessing, find_box, prepare, scale

ALL = np.arange(256, dtype=np.uint8)


def test_scales_are_exact_at_both_ends():
    zero_one, minus_one_one = (
        scale(ALL, Preprocessing(8)),
        scale(ALL, Preprocessing(8, scale="minus_one_one")),
    )
    assert zero_one[[0, 255]].tolist() == [0, 1]
    assert minus_one_one[[0, 255]].tolist() == [-1, 1]
    np.testing.assert_allclose(zero_one, ALL / 255, atol=1e-7)
    np.testing.assert_allclose(minus_one_one, ALL / 127.5 - 1, atol=2e-7)
    assert zero_one.dtype == minus_one_one.dtype == np.float32


@pytest.mark.parametrize("kind", ["zero_one", "minus_one_one"])
def test_scaling_never_depends_on_the_other_pixels(kind):
    spec = Preprocessing(8, scale=kind)
    alone = np.concatenate([scale(ALL[i : i + 1], spec) for i in range(256)])
    np.testing.assert_array_equal(alone, scale(ALL, spec))


@pytest.fixture
def flag():
    """100 x 300, in three squares: red, green, blue."""
    image = np.zeros((100, 300, 3), np.uint8)
    for number in range(3):
        image[:, 100 * number : 100 * (number + 1), number] = 200
    return image


def test_squash_keeps_all_of_the_image(flag):
    small = prepare(flag, Preprocessing(30))
    assert small.shape == (30, 30, 3)
    assert small[15, [2, 15, 27]].tolist() == [[200, 0, 0], [0, 200, 0], [0, 0, 200]]


@pytest.mark.parametrize("turned", [False, True])
def test_crop_keeps_the_largest_centred_square(flag, turned):
    image = flag.transpose(1, 0, 2) if turned else flag
    small = prepare(image, Preprocessing(30, fit="crop"))
    np.testing.assert_array_equal(small[1:-1, 1:-1], np.full((28, 28, 3), [0, 200, 0], np.uint8))
    assert small[..., 1].min() > 150  # antialiasing looks a little past the edge of the square


def test_a_square_image_of_the_right_size_stays_as_it_is(draw_image):
    image = draw_image(5, 32, 32)
    for fit in ("squash", "crop"):
        np.testing.assert_array_equal(prepare(image, Preprocessing(32, fit=fit)), image)


def test_shrinking_averages_instead_of_skipping():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    small = prepare(stripes, Preprocessing(8))
    assert np.abs(small.astype(int) - 100).max() <= 10


def test_the_covered_box_lies_inside_the_image():
    def blank(width, height):
        return np.zeros((height, width, 3), np.uint8)

    assert find_box(blank(300, 100), Preprocessing(8)) == (0, 0, 300, 100)
    assert find_box(blank(300, 100), Preprocessing(8, fit="crop")) == (100, 0, 200, 100)
    assert find_box(blank(101, 100), Preprocessing(8, fit="crop")) == (0.5, 0, 100.5, 100)


def test_to_dict_and_back():
    spec = Preprocessing(64, "crop", "minus_one_one")
    assert Preprocessing.from_dict(spec.to_dict()) == spec
    with pytest.raises(TypeError):
        Preprocessing.from_dict({**spec.to_dict(), "shade": "grey"})
    with pytest.raises(ValueError, match="colour 'grey' is none of keep, shades_of_grey"):
        Preprocessing.from_dict({**spec.to_dict(), "colour": "grey"})
    assert Preprocessing.from_dict({"size": 64}) == Preprocessing(64)

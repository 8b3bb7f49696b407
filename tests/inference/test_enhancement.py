import numpy as np
import pytest
from PIL import Image, ImageDraw

from melanoma.inference.enhancement import balance_colours, find_frame, find_hair, remove_hair
from melanoma.inference.preprocessing import Preprocessing, find_box, prepare


def draw_framed(width, height, centre, axes):
    """Skin in an ellipse, black around it, and a dark lesion in the middle."""
    y, x = np.mgrid[0:height, 0:width]
    seen = ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 < 1
    image = np.zeros((height, width, 3), np.uint8)
    image[seen] = (220, 170, 150)
    image[np.hypot(x - centre[0], y - centre[1]) < min(axes) / 4] = (60, 30, 20)
    return image


@pytest.mark.parametrize(
    ("width", "height", "centre", "axes"),
    [
        (300, 300, (150, 150), (140, 140)),
        (200, 300, (105, 140), (85, 120)),
        (400, 300, (200, 150), (190, 190)),
    ],
)
def test_the_box_lies_inside_the_round_frame_and_fills_it(width, height, centre, axes):
    box = find_frame(draw_framed(width, height, centre, axes))
    inscribed = [
        centre[0] - axes[0] / np.sqrt(2),
        max(centre[1] - axes[1] / np.sqrt(2), 0),
        centre[0] + axes[0] / np.sqrt(2),
        min(centre[1] + axes[1] / np.sqrt(2), height),
    ]
    assert np.allclose(box, inscribed, atol=0.025 * max(width, height))
    left, upper, right, lower = (round(edge) for edge in box)
    assert draw_framed(width, height, centre, axes)[upper:lower, left:right].min(axis=(0, 1)).max() > 0


@pytest.mark.parametrize("kind", ["skin", "black", "half", "dark lesion"])
def test_without_a_round_frame_there_is_no_box(kind):
    image = np.full((120, 160, 3), (220, 170, 150), np.uint8)
    if kind == "black":
        image[:] = 0
    elif kind == "half":
        image[:, :80] = 0
    elif kind == "dark lesion":
        image[20:100, 30:130] = 20
    assert find_frame(image) is None
    assert find_box(image, Preprocessing(32, frame="crop")) == (0, 0, 160, 120)


def test_a_cropped_frame_leaves_no_black():
    spec = Preprocessing(64, fit="crop", frame="crop")
    assert prepare(draw_framed(300, 300, (150, 150), (140, 140)), spec).max(axis=2).min() >= 60
    assert prepare(draw_framed(300, 300, (150, 150), (140, 140)), Preprocessing(64)).max(axis=2).min() == 0


def test_colour_of_the_light_goes_and_the_black_frame_stays(draw_image):
    image = draw_image(0, 96, 96)
    cast = np.clip(image * np.array([1.0, 0.7, 0.6]), 0, 255).astype(np.uint8)
    cast[:10] = 0
    balanced, plain = balance_colours(cast), balance_colours(image)

    def tint(picture):
        lit = picture[10:].astype(float)
        return (lit / lit.sum(axis=2, keepdims=True)).mean(axis=(0, 1))

    assert np.allclose(tint(balanced), tint(plain), atol=0.005)
    assert np.abs(tint(cast) - tint(image)).max() > 0.05
    assert not balanced[:10].any()
    assert np.array_equal(balance_colours(np.zeros((8, 8, 3), np.uint8)), np.zeros((8, 8, 3), np.uint8))


def test_hair_goes_and_the_lesion_stays(draw_image):
    image = draw_image(3, 200, 200, melanoma=True)
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for line in ((0, 20, 199, 60), (30, 199, 90, 0), (10, 150, 190, 190), (150, 0, 150, 199)):
        pen.line(line, fill=(40, 25, 20), width=2)
    hairy = np.asarray(picture)
    changed = (hairy != image).any(axis=2)
    assert find_hair(hairy)[changed].mean() > 0.8
    assert find_hair(hairy)[~changed].mean() < 0.1
    cleaned = remove_hair(hairy).astype(int)
    before, after = (np.abs(one - image.astype(int))[changed].mean() for one in (hairy.astype(int), cleaned))
    assert after < before / 4
    assert np.array_equal(remove_hair(image), image)


@pytest.mark.parametrize(
    "option", [{}, {"frame": "crop"}, {"hair": "remove"}, {"colour": "shades_of_grey"}, {"fit": "crop"}]
)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 200), (90, 70)])
def test_every_option_gives_an_image_of_the_size(option, height, width):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    small = prepare(noise, Preprocessing(40, **option))
    assert small.shape == (40, 40, 3)
    assert small.dtype == np.uint8

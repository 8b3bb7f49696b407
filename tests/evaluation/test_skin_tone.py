import numpy as np
import pytest
from PIL import Image
from skimage.color import lab2rgb

from melanoma.evaluation.skin_tone import BANDS, estimate_angle, estimate_angles, name_bands


def draw_skin(lightness, yellow, height=200, width=260):
    """Even skin of this L* and b*, with a dark lesion in the middle."""
    skin = lab2rgb(np.array([[[lightness, 10.0, yellow]]]))[0, 0] * 255
    y, x = np.mgrid[0:height, 0:width]
    lesion = np.hypot(y - height / 2, x - width / 2) < height / 6
    image = np.where(lesion[..., None], skin * 0.3, skin)
    return (
        np.clip(image + np.random.default_rng(0).normal(0, 1, image.shape), 0, 255).round().astype(np.uint8)
    )


@pytest.mark.parametrize(("lightness", "yellow"), [(75, 12), (65, 16), (60, 18), (50, 20), (40, 22)])
def test_angle_is_that_of_the_skin_and_not_of_the_lesion(lightness, yellow):
    expected = np.degrees(np.arctan((lightness - 50) / yellow))
    assert estimate_angle(draw_skin(lightness, yellow)) == pytest.approx(expected, abs=2)


def test_no_yellow_or_no_skin_gives_no_angle():
    assert np.isnan(estimate_angle(draw_skin(70, -8)))
    assert np.isnan(estimate_angle(np.zeros((64, 64, 3), np.uint8)))


def test_image_of_any_size_gives_about_the_same():
    angles = [estimate_angle(draw_skin(70, 15, side, side)) for side in (60, 128, 600)]
    assert np.ptp(angles) < 2


def test_bands_end_where_they_are_said_to():
    angles = [55.1, 55, 41.1, 41, 28.1, 28, 10.1, 10, -29.9, -30, np.nan]
    bands = [
        "very light",
        "light",
        "light",
        "intermediate",
        "intermediate",
        "tan",
        "tan",
        "brown",
        "brown",
        "dark",
        "",
    ]
    assert name_bands(np.array(angles)) == bands
    assert set(bands) == {*BANDS, ""}


def test_files_are_read_in_order_and_a_broken_one_has_no_angle(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    for name, lightness in (("b.png", 75), ("c.png", 45)):
        Image.fromarray(draw_skin(lightness, 15)).save(tmp_path / name)
    seen = []
    paths = [str(tmp_path / name) for name in ("c.png", "a.png", "b.png")]
    dark, none, light = estimate_angles(paths, lambda done, total: seen.append((done, total)))
    assert dark < 0 < light
    assert np.isnan(none)
    assert seen == [(1, 3), (2, 3), (3, 3)]

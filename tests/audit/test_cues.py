import io

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from melanoma.audit.cues import NUMBERS, SKIN_PIXELS, describe
from melanoma.data.artefacts import add_round_frame
from melanoma.data.synthetic import render


def encode(image, **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, **({"format": "JPEG"} | options))
    return stream.getvalue()


def cues_of(image, **options):
    return describe(image, encode(image, **options))


def number(cues, cue, name):
    return float(cues[cue][NUMBERS[cue].index(name)])


def spot(radius, seed=0, size=128):
    """Noisy skin with a round brown spot."""
    image = np.array((214, 172, 150)) + np.random.default_rng(seed).normal(0, 4, (size, size, 3))
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    image[np.hypot(x, y) < radius * size / 128] = (110, 65, 45)
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(128, 128), (300, 300), (32, 700), (450, 600)])
def test_every_number_has_a_name_and_a_value(shape):
    cues = cues_of(draw(0, *shape))
    assert {name: len(vector) for name, vector in cues.items()} == {n: len(v) for n, v in NUMBERS.items()}
    assert all(vector.dtype == np.float32 for vector in cues.values())
    assert all(np.isfinite(cues[name]).all() for name in ("frame", "file", "file size"))


def test_border_knows_nothing_of_the_middle():
    small, large = cues_of(spot(8)), cues_of(spot(40))
    assert np.array_equal(small["border"], large["border"])
    brighter = cues_of(np.minimum(spot(8), 250) + np.uint8(5))
    assert not np.allclose(small["border"], brighter["border"])


def test_border_cells_lie_where_their_names_say():
    image = spot(8)
    image[:8, 16:32] = (255, 0, 0)
    image[40:50, -8:] = (0, 0, 255)
    cues = cues_of(image, format="PNG")
    assert number(cues, "border", "red, top 2 of 8") == pytest.approx(1)
    assert number(cues, "border", "green, top 2 of 8") == pytest.approx(0)
    assert number(cues, "border", "red, top 3 of 8") == pytest.approx(214 / 255, abs=0.02)
    assert number(cues, "border", "blue, right 3 of 8") > 0.7
    assert number(cues, "border", "contrast, top 2 of 8") == pytest.approx(0)


def test_border_is_missing_whole_when_the_lesion_reaches_it():
    image = spot(8)
    image[30:100, :70] = (110, 65, 45)
    assert np.isnan(cues_of(image)["border"]).all()


def test_skin_does_not_show_the_size_of_the_lesion():
    small, large = cues_of(spot(6))["skin"], cues_of(spot(40, seed=1))["skin"]
    assert small[:64].sum() == pytest.approx(1)
    assert np.abs(small[:64] - large[:64]).sum() < 0.08
    assert np.allclose(small[64:67], large[64:67], atol=1)


def test_skin_is_missing_when_too_little_is_left():
    assert np.isnan(cues_of(np.zeros((128, 128, 3), np.uint8))["skin"]).all()
    assert SKIN_PIXELS < 128 * 128 / 10


def test_frame_of_a_whole_image_is_empty():
    cues = cues_of(spot(20))
    assert number(cues, "frame", "share outside the field") == 0
    assert number(cues, "frame", "field's radius") == pytest.approx(2**0.5)


@pytest.mark.parametrize("radius", [0.5, 0.65, 0.85])
def test_frame_gives_the_radius_of_the_field(radius):
    framed = add_round_frame(spot(20), np.random.default_rng(1), radius=radius)
    cues = cues_of(framed)
    assert number(cues, "frame", "field's radius") == pytest.approx(radius * 2**0.5, abs=0.06)
    assert number(cues, "frame", "unevenness of the radius") < 0.03
    assert number(cues, "frame", "dark share of the top left corner") > 0.4


def test_frame_tells_sides_apart():
    image = spot(20)
    image[:, :10] = 0
    cues = cues_of(image)
    assert number(cues, "frame", "dark share of the left side") == 1
    assert number(cues, "frame", "dark share of the right side") == 0
    assert number(cues, "frame", "dark share of the top side") == 0
    assert number(cues, "frame", "centre, across") > 0.03
    assert abs(number(cues, "frame", "centre, down")) < 0.02


@pytest.mark.parametrize("quality", [20, 50, 75, 92])
def test_quality_is_read_from_the_tables(quality):
    cues = cues_of(draw(0), quality=quality)
    assert number(cues, "file", "JPEG quality") == pytest.approx(quality, abs=1)


def test_header_is_read():
    image = draw(0, 64, 96)
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    jpeg = cues_of(image, progressive=True, subsampling=0, dpi=(72, 72), exif=exif, comment=b"hello")
    plain = cues_of(image, subsampling=2)
    png = cues_of(image, format="PNG")
    for name, seen in {
        "is JPEG": 1,
        "progressive": 1,
        "chroma subsampling": 0,
        "DPI": 72,
        "has EXIF": 1,
    }.items():
        assert number(jpeg, "file", name) == seen
    for name, seen in {
        "is JPEG": 1,
        "progressive": 0,
        "chroma subsampling": 2,
        "DPI": 0,
        "has comment": 0,
    }.items():
        assert number(plain, "file", name) == seen
    assert number(jpeg, "file", "has comment") == 1
    assert (number(png, "file", "is JPEG"), number(png, "file", "is PNG")) == (0, 1)
    assert (number(png, "file", "width"), number(png, "file", "height")) == (96, 64)
    assert number(png, "file size", "bytes") == len(encode(image, format="PNG"))
    assert number(png, "file size", "bytes per pixel") == pytest.approx(
        len(encode(image, format="PNG")) / 96 / 64
    )


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "I;16"])
def test_any_mode_has_a_header(mode):
    stream = io.BytesIO()
    picture = Image.new(mode, (40, 40)) if mode == "I;16" else Image.fromarray(draw(0, 40, 40)).convert(mode)
    picture.save(stream, format="TIFF")
    cues = describe(draw(0, 40, 40), stream.getvalue())
    assert np.isfinite(cues["file"]).all()
    assert number(cues, "file", "has colour") == (mode in {"P", "RGBA", "CMYK"})


def test_unreadable_header_is_missing_and_the_rest_is_there():
    cues = describe(draw(0), b"no image")
    assert np.isnan(cues["file"]).all()
    assert np.isnan(cues["file size"]).all()
    assert np.isfinite(cues["frame"]).all()


def test_odd_images_raise_nothing():
    rng = np.random.default_rng(0)
    for image in (
        np.full((40, 40, 3), 255, np.uint8),
        np.zeros((40, 40, 3), np.uint8),
        rng.integers(0, 256, (64, 64, 3), dtype=np.uint8),
        render(1, rng, size=64).image,
    ):
        assert set(cues_of(image)) == set(NUMBERS)

import io

import numpy as np
import pytest
from PIL import Image, features

from conftest import draw, require_extra
from melanoma import load_predictor
from melanoma.errors import ImageError
from melanoma.inference import dicom, images

require_extra("pydicom", "dicom")

from pydicom.encaps import encapsulate

from dicom_files import EXPLICIT, encode, write

DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"


@pytest.fixture
def image():
    return draw(3, 60, 80)


@pytest.mark.parametrize("syntax", [EXPLICIT, dicom.IMPLICIT])
def test_uncompressed_pixels_come_as_they_are(image, syntax):
    assert np.array_equal(images.decode(write(image.tobytes(), image, syntax)), image)
    planes = image.transpose(2, 0, 1).tobytes()
    assert np.array_equal(images.decode(write(planes, image, syntax, PlanarConfiguration=1)), image)


def test_other_colours(image):
    grey = write(image[..., 0].tobytes(), image, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    assert np.array_equal(images.decode(grey), np.repeat(image[..., :1], 3, axis=2))
    ybr = np.asarray(Image.fromarray(image).convert("YCbCr"))
    decoded = images.decode(write(ybr.tobytes(), image, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(decoded.astype(int) - image).max() <= 3


def test_jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=95)
    plain = np.asarray(Image.open(file))
    framed = write(
        encapsulate([file.getvalue()]), image, dicom.JPEG, PhotometricInterpretation="YBR_FULL_422"
    )
    assert np.array_equal(images.decode(framed), plain)


def test_a_jpeg_of_rgb_values_is_not_converted(image):
    as_ybr = Image.merge(
        "YCbCr", Image.fromarray(image).split()
    )  # stored as they are, with nothing that says RGB
    file = io.BytesIO()
    as_ybr.save(file, format="JPEG", quality=100, subsampling=0)
    decoded = images.decode(write(encapsulate([file.getvalue()]), image, dicom.JPEG))
    assert np.abs(decoded.astype(int) - image).mean() < 2


@pytest.mark.skipif(not features.check_codec("jpg_2000"), reason="Pillow without JPEG 2000")
@pytest.mark.parametrize("meant", ["RGB", "YBR_RCT"])
def test_jpeg_2000(image, meant):
    frame = encode(image, "JPEG2000", mct=1 if meant == "YBR_RCT" else 0)
    assert np.array_equal(
        images.decode(write(frame, image, JPEG_2000_LOSSLESS, PhotometricInterpretation=meant)), image
    )


def test_what_is_not_read_is_said_in_one_line(image):
    pixels = image.tobytes()
    for content, words in (
        (
            write(pixels, image, SOPClassUID="1.2.840.10008.5.1.4.1.1.2"),
            "neither a photograph nor dermoscopic",
        ),
        (write(pixels * 2, image, NumberOfFrames=2), "several frames"),
        (write(pixels, image, BitsAllocated=16), "16-bit"),
        (write(pixels, image, PhotometricInterpretation="PALETTE COLOR"), "colours that are not read"),
        (write(pixels[:-10], image), "pixels are missing"),
        (write(pixels, image, Rows=2), "each side must have at least"),
        (write(pixels, image, Rows=10_000, Columns=10_000), "more than"),
        (write(encode(image, "JPEG"), image, dicom.JPEG, Rows=90), "another size"),
        (write(encode(image, "PNG"), image, dicom.JPEG), "^damaged DICOM file$"),
    ):
        with pytest.raises(ImageError, match=words):
            images.decode(content)


def test_a_deflated_data_set_is_never_inflated(image, monkeypatch):
    content = write(image.tobytes(), image, DEFLATED)
    monkeypatch.setattr("zlib.decompress", lambda *_: pytest.fail("inflated"))
    with pytest.raises(ImageError, match="transfer syntax"):
        images.decode(content)


def test_damage_is_an_image_error_and_tells_nothing(image):
    content = bytearray(
        write(encode(image, "JPEG"), image, dicom.JPEG, PhotometricInterpretation="YBR_FULL_422")
    )
    rng = np.random.default_rng(0)
    said = []
    for cut in rng.integers(132, len(content), 60):
        flipped = bytearray(content)
        flipped[cut] ^= 0xFF
        for damaged in (bytes(content[:cut]), bytes(flipped)):
            try:
                images.decode(damaged)
            except ImageError as error:
                said.append(str(error))
    assert len(said) > 30
    assert "Doe" not in "".join(said)


def test_patients_are_not_in_the_row(image, tiny_bundle):
    row = load_predictor(tiny_bundle).predict(write(image.tobytes(), image))
    assert row.error == ""
    assert "Doe" not in str(row)


def test_without_pydicom_it_says_what_to_install(image, monkeypatch):
    content = write(image.tobytes(), image)
    monkeypatch.setitem(__import__("sys").modules, "pydicom.filereader", None)
    with pytest.raises(ImageError, match=r"melanoma\[dicom\]"):
        images.decode(content)

"""Images with bytes changed, cut out and put in, of every format: an image or an ImageError, and soon."""

import importlib.util
import io
import logging
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from melanoma.errors import ImageError
from melanoma.inference import dicom, images

SAVED = {
    "JPEG": [{}, {"progressive": True}],
    "PNG": [{}],
    "BMP": [{}],
    "TIFF": [{"compression": "raw"}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}],
    "WEBP": [{}, {"lossless": True}],
    "GIF": [{}],
}
SECONDS = 2.0
GROWTH = 100  # MB; a leak of one 64 x 64 image in ten would be over that in the long run


def encode_all() -> list[bytes]:
    """One image in every format, and some of their kinds."""
    picture, encoded = Image.fromarray(draw(1, 48, 64)), []
    for form, kinds in SAVED.items():
        for options in kinds:
            file = io.BytesIO()
            picture.save(file, format=form, **options)
            encoded.append(file.getvalue())
    return encoded + encode_dicom(np.asarray(picture))


def encode_dicom(image: np.ndarray) -> list[bytes]:
    """The same as DICOM, uncompressed and as JPEG."""
    if importlib.util.find_spec("pydicom") is None:
        return []
    from dicom_files import EXPLICIT, encode, write

    framed = write(encode(image, "JPEG"), image, dicom.JPEG, PhotometricInterpretation="YBR_FULL_422")
    return [write(image.tobytes(), image, EXPLICIT), framed]


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """A few changes, most of them near the beginning, where the lengths stand."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(len(data) * rng.random() ** 3)
        kind = rng.integers(5)
        if kind == 0:
            data[at : at + 1] = bytes([rng.integers(256)])
        elif kind == 1:
            data[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 64))]
        elif kind == 3:
            data[at:at] = rng.bytes(int(rng.integers(1, 64)))
        else:
            del data[max(at, 1) :]
    return bytes(data)


def resident_mb() -> float:
    """Resident memory of this process; 0 where there is no /proc."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "n", [2_000, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_mutated_images(n, monkeypatch):
    monkeypatch.setattr(logging.getLogger("pydicom"), "disabled", True)  # pytest would keep all that it says
    rng = np.random.default_rng(n)
    originals = encode_all()
    before, refused, slowest = resident_mb(), [], 0.0
    for number in range(n):
        content = mutate(originals[number % len(originals)], rng)
        began = time.process_time()
        try:
            assert images.decode(content).dtype == np.uint8
        except ImageError as error:
            refused.append(str(error))
        slowest = max(slowest, time.process_time() - began)
    assert 0.2 * n < len(refused) < n
    assert "\n" not in "".join(refused)
    assert slowest < SECONDS
    assert resident_mb() - before < GROWTH

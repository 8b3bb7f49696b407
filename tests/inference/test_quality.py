import numpy as np
import pytest
from PIL import Image, ImageFilter

from conftest import require_extra

require_extra("skimage", "bench")

from melanoma.data.artefacts import add_hair
from melanoma.data.synthetic import render
from melanoma.inference.quality import find_hints, measure


@pytest.fixture(scope="module")
def plain():
    """Drawn images without any artefact."""
    return [render(seed % 2, np.random.default_rng(seed), artefacts=()).image for seed in range(12)]


def share(images, hint):
    return np.mean([hint in find_hints(image) for image in images])


def blur(image):
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.02 * image.shape[1])))


DEFECTS = {
    "blurred": blur,
    "too dark": lambda image: (image * 0.3).astype(np.uint8),
    "too bright": lambda image: np.clip(image * 3.0, 0, 255).astype(np.uint8),
    "hair in view": lambda image: add_hair(image, np.random.default_rng(1), count=60),
}


@pytest.mark.parametrize("hint", DEFECTS)
def test_a_defect_brings_its_hint(plain, hint):
    assert share(plain, hint) <= 0.25
    assert share([DEFECTS[hint](image) for image in plain], hint) >= share(plain, hint) + 0.5


def test_no_sharpness_is_asked_of_a_tiny_image(plain):
    small = blur(plain[0])[:100, :100]
    assert "blurred" not in find_hints(small)


@pytest.mark.parametrize("value", [0, 255])
def test_blank_images_are_measured(value):
    found = measure(np.full((50, 60, 3), value, np.uint8))
    assert np.isfinite([found.sharpness, found.brightness, found.glare, found.hair]).all()
    assert ("too dark" if value == 0 else "too bright") in find_hints(np.full((50, 60, 3), value, np.uint8))


def test_a_small_field_in_a_black_frame_is_not_dark(plain):
    framed = np.pad(plain[0], ((150, 150), (150, 150), (0, 0)))
    assert "too dark" not in find_hints(framed)

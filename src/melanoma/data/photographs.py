"""Photographs that ship with scikit-image, scikit-learn and matplotlib, none of them dermoscopic, and parts of them."""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]
Rng = np.random.Generator

LIGHT_SKIN: Final = (236, 196, 178)
DARK_SKIN: Final = (96, 62, 46)
COLOURED: Final = ("astronaut", "chelsea", "china.jpg", "coffee", "flower.jpg", "motorcycle_left", "rocket")
GREY: Final = ("camera", "clock")
FACES: Final = ("astronaut", "grace_hopper.jpg", "lfw")
TEXTURES: Final = ("brick", "grass", "gravel")
TISSUES: Final = ("cell", "immunohistochemistry")
SKIES: Final = ("hubble_deep_field", "moon")
GRAPHICS: Final = ("checkerboard", "colorwheel", "horse", "logo", "phantom")
PAGES: Final = ("page", "text")
NAMES: Final = tuple(
    sorted({*COLOURED, *GREY, *FACES, *TEXTURES, *TISSUES, *SKIES, *GRAPHICS, *PAGES, "coins", "retina"})
)


def draw_part(name: str, rng: Rng, least: float = 0.3, most: float = 1.0) -> Pixels:
    """Part of the picture `name`, as `crop` cuts it; of "lfw" one of its small grey faces, whole."""
    if name != "lfw":
        return crop(load_picture(name), rng, least, most)
    small = Image.fromarray((255 * _faces()[int(rng.integers(100))]).astype(np.uint8))
    return np.asarray(small.resize((160, 160), Image.Resampling.BICUBIC).convert("RGB"))


@cache
def load_picture(name: str) -> Pixels:
    """A picture of one of the libraries, RGB uint8; transparency is laid over white. All `NAMES` but "lfw"."""
    import matplotlib.cbook
    import skimage.data
    import sklearn.datasets

    if name in {"china.jpg", "flower.jpg"}:
        return np.asarray(sklearn.datasets.load_sample_image(name), dtype=np.uint8)
    if name == "grace_hopper.jpg":
        path = matplotlib.cbook.get_sample_data(name, asfileobj=False)
        return np.asarray(Image.open(str(path)).convert("RGB"))
    if name == "motorcycle_left":
        return np.asarray(skimage.data.stereo_motorcycle()[0])
    if name == "phantom":
        return _as_rgb(skimage.data.shepp_logan_phantom())
    return _as_rgb(getattr(skimage.data, name)())


def _as_rgb(picture: NDArray[np.generic]) -> Pixels:
    values = np.asarray(picture)
    if values.dtype != np.uint8:
        values = (255 * values.astype(np.float32)).astype(np.uint8)
    image = Image.fromarray(values)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.asarray(image.convert("RGB"))


@cache
def _faces() -> Floats:
    """100 faces of Labeled Faces in the Wild, float32 (100, 25, 25) in [0, 1]."""
    import skimage.data

    return np.asarray(skimage.data.lfw_subset()[:100], dtype=np.float32)


def crop(picture: Pixels, rng: Rng, least: float = 0.3, most: float = 1.0) -> Pixels:
    """A square or 4:3 part, turned by a multiple of 90 degrees; `least`, `most`: shares of the shorter side."""
    height, width = picture.shape[:2]
    side = min(height, width) * rng.uniform(least, most)
    h, w = int(side * rng.choice((1.0, 0.75))), int(side)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    part = np.rot90(picture[top : top + h, left : left + w], int(rng.integers(4)))
    scale = max(1.0, 96 / min(part.shape[:2]))
    size = (round(part.shape[1] * scale), round(part.shape[0] * scale))
    return np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BICUBIC))


def tint_skin(grey: Floats, rng: Rng) -> Pixels:
    """Grey (h, w) in [0, 1] as light on a skin colour, darker parts redder as pigment makes them."""
    depth = rng.uniform(0.4, 1) * (1 - grey[..., None]) * np.array((0.8, 1.1, 1.3))
    return np.asarray(np.clip(draw_skin_colour(rng) * np.exp(-depth), 0, 255), dtype=np.uint8)


def draw_skin_colour(rng: Rng) -> NDArray[np.float64]:
    """A skin colour, RGB (3,) in 0..255, between light and dark."""
    light, dark = np.array(LIGHT_SKIN, dtype=np.float64), np.array(DARK_SKIN, dtype=np.float64)
    share = rng.beta(1, 2)
    return np.asarray(light * (1 - share) + dark * share + rng.normal(0, 6, 3))

"""Pictures that are no dermoscopy, by kind, to measure how many of them the domain check refuses.

Crops and composites of what ships with scikit-image, scikit-learn and matplotlib, and rendered documents, screens,
charts, noise and frames. The hard ones have the colours of skin, a dark blob or a round black frame. Clinical
photographs of skin are missing: no library ships any.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from melanoma.data.artefacts import add_round_frame, smooth_noise

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]
Drawing = Callable[[np.random.Generator], Pixels]

LIGHT_SKIN: Final = (236, 196, 178)
DARK_SKIN: Final = (96, 62, 46)
WORDS: Final = (
    "the",
    "report",
    "of",
    "this",
    "patient",
    "shows",
    "no",
    "change",
    "since",
    "March",
    "12",
    "a",
)


def draw_all(each: int, seed: int = 0) -> Iterator[tuple[str, Pixels]]:
    """`each` pictures of every kind, as (kind, RGB uint8 (h, w, 3)); sides from 96 to 640 pixels."""
    for number, (kind, draw) in enumerate(KINDS.items()):
        for index in range(each):
            yield kind, draw(np.random.default_rng([seed, number, index]))


def draw_photo(rng: np.random.Generator) -> Pixels:
    """Part of a colour photograph: people, a cat, a cup, a rocket, a motorcycle, a flower, a palace."""
    names = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle_left", "china.jpg", "flower.jpg")
    return _crop(_picture(str(rng.choice(names))), rng)


def draw_grey_photo(rng: np.random.Generator) -> Pixels:
    """Part of a photograph without colour."""
    return _crop(_picture(str(rng.choice(("camera", "clock")))), rng)


def draw_face(rng: np.random.Generator) -> Pixels:
    """A face: two in colour, and small grey ones of LFW tinted in a skin colour."""
    choice = rng.integers(4)
    if choice == 0:
        return _crop(_picture("astronaut")[10:200, 150:300], rng, 0.5)
    if choice == 1:
        return _crop(_picture("grace_hopper.jpg")[40:330, 140:370], rng, 0.5)
    grey = _faces()[int(rng.integers(100))]
    small = Image.fromarray((255 * grey).astype(np.uint8)).resize((160, 160), Image.Resampling.BICUBIC)
    return _tint(np.asarray(small, dtype=np.float32) / 255, rng)


def draw_fur(rng: np.random.Generator) -> Pixels:
    """Close-up of a cat's brown fur."""
    return _crop(_picture("chelsea"), rng, 0.2, 0.5)


def draw_texture(rng: np.random.Generator) -> Pixels:
    """Grey brick, grass or gravel."""
    return _crop(_picture(str(rng.choice(("brick", "grass", "gravel")))), rng)


def draw_skin_texture(rng: np.random.Generator) -> Pixels:
    """Brick, grass, gravel, coins or moon in a skin colour."""
    name = str(rng.choice(("brick", "grass", "gravel", "coins", "moon")))
    return _tint(_crop(_picture(name), rng)[..., 0].astype(np.float32) / 255, rng)


def draw_coins(rng: np.random.Generator) -> Pixels:
    """Coins: round, dark and light, in the middle or not."""
    return _crop(_picture("coins"), rng)


def draw_microscopy(rng: np.random.Generator) -> Pixels:
    """Stained tissue or cells."""
    return _crop(_picture(str(rng.choice(("immunohistochemistry", "cell")))), rng)


def draw_retina(rng: np.random.Generator) -> Pixels:
    """The back of an eye, orange in a round black frame, whole or a part."""
    return _crop(_picture("retina"), rng, 0.25, 1.0)


def draw_sky(rng: np.random.Generator) -> Pixels:
    """The moon or galaxies."""
    return _crop(_picture(str(rng.choice(("moon", "hubble_deep_field")))), rng)


def draw_graphic(rng: np.random.Generator) -> Pixels:
    """A logo, a colour wheel, a silhouette, a chessboard or a phantom."""
    names = ("logo", "colorwheel", "horse", "checkerboard", "phantom")
    return _crop(_picture(str(rng.choice(names))), rng, 0.6)


def draw_document(rng: np.random.Generator) -> Pixels:
    """Scanned or rendered text on white, cream or pink paper."""
    if rng.random() < 0.3:
        return _crop(_picture(str(rng.choice(("page", "text")))), rng, 0.5)
    paper = np.array(((255, 255, 255), (250, 240, 220), (248, 225, 215)))[rng.integers(3)]
    page = Image.new("RGB", (480, 620), tuple(paper.tolist()))
    pen = ImageDraw.Draw(page)
    size = int(rng.integers(11, 26))
    for top in range(30, 590, int(size * 1.5)):
        pen.text((30, top), _sentence(rng, 12), fill=(20, 20, 30), font=ImageFont.load_default(size))
    return _crop(np.asarray(page), rng, 0.35)


def draw_screen(rng: np.random.Generator) -> Pixels:
    """A screenshot: bars, buttons and text, light or dark, at times with a photograph in it."""
    dark = rng.random() < 0.4
    ground, text = ((32, 33, 38), (220, 220, 225)) if dark else ((246, 247, 249), (30, 32, 36))
    picture = Image.new("RGB", (640, 420), ground)
    pen = ImageDraw.Draw(picture)
    accent = tuple(rng.integers(30, 230, 3).tolist())
    pen.rectangle((0, 0, 640, 40), fill=accent)
    pen.rectangle((0, 40, int(rng.integers(60, 180)), 420), fill=tuple(int(0.9 * c) for c in ground))
    for _ in range(int(rng.integers(4, 14))):
        x, y = (int(v) for v in rng.uniform((190, 50), (520, 380)))
        if rng.random() < 0.3:
            pen.rounded_rectangle((x, y, x + 90, y + 26), 6, fill=accent)
        pen.text((x + 6, y + 5), _sentence(rng, 4), fill=text, font=ImageFont.load_default(14))
    if rng.random() < 0.4:
        picture.paste(Image.fromarray(draw_photo(rng)).resize((220, 180)), (200, 120))
    return _crop(np.asarray(picture), rng, 0.6)


def draw_chart(rng: np.random.Generator) -> Pixels:
    """Bars or a curve with axes."""
    picture = Image.new("RGB", (480, 360), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    pen.line([(50, 20), (50, 320), (460, 320)], fill=(0, 0, 0), width=2)
    colour = tuple(rng.integers(0, 220, 3).tolist())
    if rng.random() < 0.5:
        for number in range(8):
            pen.rectangle((65 + 48 * number, int(rng.integers(40, 310)), 100 + 48 * number, 319), fill=colour)
    else:
        heights = 170 + 25 * np.cumsum(rng.normal(0, 1, 40))
        points = [(50 + 10 * x, float(y)) for x, y in enumerate(np.clip(heights, 20, 318))]
        pen.line(points, fill=colour, width=3)
    pen.text((180, 330), _sentence(rng, 3), fill=(0, 0, 0), font=ImageFont.load_default(16))
    return _crop(np.asarray(picture), rng, 0.7)


def draw_noise(rng: np.random.Generator) -> Pixels:
    """Noise: white or cloudy, grey, coloured or in a skin colour."""
    choice = rng.integers(4)
    if choice == 0:
        return rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    if choice == 1:
        return np.repeat(rng.integers(0, 256, (200, 200, 1), dtype=np.uint8), 3, axis=2)
    octaves = [(4 * 2**k, 0.25 * 2.0 ** (-k * rng.uniform(0.3, 1))) for k in range(5)]
    if choice == 2:
        clouds = [0.5 + smooth_noise(rng, (200, 200), octaves) for _ in range(3)]
        return (255 * np.clip(np.stack(clouds, axis=2), 0, 1)).astype(np.uint8)
    return _tint(np.clip(0.6 + smooth_noise(rng, (200, 200), octaves), 0, 1), rng)


def draw_gradient(rng: np.random.Generator) -> Pixels:
    """A skin colour with a fall of light and nothing on it, with or without a camera's noise."""
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3)
    light = 1 - strength * (np.cos(angle) * x + np.sin(angle) * y) - rng.uniform(0, 0.2) * (x * x + y * y)
    picture = _skin_colour(rng) * light[..., None]
    picture = picture + rng.normal(0, 4, picture.shape) * (rng.random() < 0.5)
    return np.asarray(np.clip(picture, 0, 255), dtype=np.uint8)


def draw_blank(rng: np.random.Generator) -> Pixels:
    """A black, white or plain frame, empty or with a disc on it."""
    ground = [(0, 0, 0), (255, 255, 255), tuple(rng.integers(0, 256, 3).tolist())][int(rng.integers(3))]
    picture = Image.new("RGB", (240, 240), ground)
    if rng.random() < 0.6:
        radius = rng.uniform(10, 110)
        disc = tuple(rng.integers(0, 256, 3).tolist())
        ImageDraw.Draw(picture).ellipse((120 - radius, 120 - radius, 120 + radius, 120 + radius), fill=disc)
    noise = rng.normal(0, 3, (240, 240, 3)) * (rng.random() < 0.3)
    return np.asarray(np.clip(np.asarray(picture) + noise, 0, 255), dtype=np.uint8)


def draw_framed(rng: np.random.Generator) -> Pixels:
    """Another kind's picture seen through a dermatoscope's round black frame."""
    kinds = (draw_photo, draw_fur, draw_skin_texture, draw_microscopy, draw_document, draw_screen, draw_face)
    return add_round_frame(kinds[int(rng.integers(len(kinds)))](rng), rng)


def draw_collage(rng: np.random.Generator) -> Pixels:
    """Four pictures side by side."""
    kinds = (
        draw_photo,
        draw_grey_photo,
        draw_document,
        draw_screen,
        draw_coins,
        draw_retina,
        draw_face,
        draw_chart,
    )
    tiles = [Image.fromarray(kinds[int(rng.integers(len(kinds)))](rng)).resize((150, 150)) for _ in range(4)]
    page = Image.new("RGB", (310, 310), (255, 255, 255) if rng.random() < 0.5 else (0, 0, 0))
    for number, tile in enumerate(tiles):
        page.paste(tile, (160 * (number % 2), 160 * (number // 2)))
    return np.asarray(page)


KINDS: Final[Mapping[str, Drawing]] = MappingProxyType(
    {
        "photo": draw_photo,
        "grey photo": draw_grey_photo,
        "face": draw_face,
        "fur": draw_fur,
        "texture": draw_texture,
        "texture, skin-coloured": draw_skin_texture,
        "coins": draw_coins,
        "microscopy": draw_microscopy,
        "retina": draw_retina,
        "moon and galaxies": draw_sky,
        "graphic": draw_graphic,
        "document": draw_document,
        "screen": draw_screen,
        "chart": draw_chart,
        "noise": draw_noise,
        "skin gradient": draw_gradient,
        "blank or disc": draw_blank,
        "round-framed picture": draw_framed,
        "collage": draw_collage,
    }
)


@cache
def _picture(name: str) -> Pixels:
    """A picture of one of the libraries, RGB uint8; transparency is laid over white."""
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


def _crop(picture: Pixels, rng: np.random.Generator, least: float = 0.3, most: float = 1.0) -> Pixels:
    """A square or 4:3 part, turned by a multiple of 90 degrees; `least`, `most`: shares of the shorter side."""
    height, width = picture.shape[:2]
    side = min(height, width) * rng.uniform(least, most)
    h, w = int(side * rng.choice((1.0, 0.75))), int(side)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    part = np.rot90(picture[top : top + h, left : left + w], int(rng.integers(4)))
    scale = max(1.0, 96 / min(part.shape[:2]))
    size = (round(part.shape[1] * scale), round(part.shape[0] * scale))
    return np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BICUBIC))


def _tint(grey: Floats, rng: np.random.Generator) -> Pixels:
    """Grey (h, w) in [0, 1] as light on a skin colour, darker parts redder as pigment makes them."""
    depth = rng.uniform(0.4, 1) * (1 - grey[..., None]) * np.array((0.8, 1.1, 1.3))
    return np.asarray(np.clip(_skin_colour(rng) * np.exp(-depth), 0, 255), dtype=np.uint8)


def _skin_colour(rng: np.random.Generator) -> NDArray[np.float64]:
    light, dark = np.array(LIGHT_SKIN, dtype=np.float64), np.array(DARK_SKIN, dtype=np.float64)
    share = rng.beta(1, 2)
    return np.asarray(light * (1 - share) + dark * share + rng.normal(0, 6, 3))


def _sentence(rng: np.random.Generator, words: int) -> str:
    return " ".join(str(word) for word in rng.choice(WORDS, words))

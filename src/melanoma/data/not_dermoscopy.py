"""Pictures that are no dermoscopy, by kind, to measure how many of them the domain check refuses.

Crops and composites of what ships with scikit-image, scikit-learn and matplotlib, and rendered documents, screens,
charts, noise and frames. The hard ones have the colours of skin, a dark blob or a round black frame. Clinical
photographs of skin are missing: no library ships any.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from melanoma.data import photographs
from melanoma.data.artefacts import add_round_frame, smooth_noise
from melanoma.data.photographs import Pixels, Rng, crop, draw_part, draw_skin_colour, load_picture, tint_skin

Names = Set[str]

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


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind is drawn, given the names of the pictures that may be shown, and the pictures that it can show."""

    draw: Callable[[Rng, Names], Pixels]
    pictures: tuple[str, ...] = ()

    def is_possible(self, allowed: Names) -> bool:
        """Whether it can be drawn from these pictures."""
        return not self.pictures or not allowed.isdisjoint(self.pictures)


def draw_all(each: int, seed: int = 0, folds: int = 1) -> Iterator[tuple[str, int, Pixels]]:
    """`each` pictures of every kind, as (kind, fold, RGB uint8 (h, w, 3)); sides from 96 to 640 pixels.

    A picture of one fold shows only photographs of `deal(folds, seed)[fold]`.
    """
    parts = deal(folds, seed)
    for number, (name, kind) in enumerate(KINDS.items()):
        possible = [fold for fold, part in enumerate(parts) if kind.is_possible(part)]
        for index in range(each):
            fold = possible[index % len(possible)]
            yield name, fold, kind.draw(np.random.default_rng([seed, number, index]), parts[fold])


def deal(folds: int, seed: int = 0) -> list[frozenset[str]]:
    """The photographs' names, dealt to folds."""
    names = np.random.default_rng(seed).permutation(photographs.NAMES).tolist()
    return [frozenset(names[fold::folds]) for fold in range(folds)]


def _choose(rng: Rng, names: tuple[str, ...], allowed: Names) -> str:
    return str(rng.choice([name for name in names if name in allowed]))


def draw_photo(rng: Rng, allowed: Names) -> Pixels:
    """Part of a colour photograph: people, a cat, a cup, a rocket, a motorcycle, a flower, a palace."""
    return draw_part(_choose(rng, photographs.COLOURED, allowed), rng)


def draw_grey_photo(rng: Rng, allowed: Names) -> Pixels:
    """Part of a photograph without colour."""
    return draw_part(_choose(rng, photographs.GREY, allowed), rng)


def draw_face(rng: Rng, allowed: Names) -> Pixels:
    """A face: two in colour, and small grey ones of LFW tinted in a skin colour."""
    name = _choose(rng, photographs.FACES, allowed)
    if name == "astronaut":
        return crop(load_picture(name)[10:200, 150:300], rng, 0.5)
    if name == "grace_hopper.jpg":
        return crop(load_picture(name)[40:330, 140:370], rng, 0.5)
    return tint_skin(draw_part(name, rng)[..., 0].astype(np.float32) / 255, rng)


def draw_fur(rng: Rng, _: Names) -> Pixels:
    """Close-up of a cat's brown fur."""
    return draw_part("chelsea", rng, 0.2, 0.5)


def draw_texture(rng: Rng, allowed: Names) -> Pixels:
    """Grey brick, grass or gravel."""
    return draw_part(_choose(rng, photographs.TEXTURES, allowed), rng)


def draw_skin_texture(rng: Rng, allowed: Names) -> Pixels:
    """Brick, grass, gravel, coins or moon in a skin colour."""
    name = _choose(rng, (*photographs.TEXTURES, "coins", "moon"), allowed)
    return tint_skin(draw_part(name, rng)[..., 0].astype(np.float32) / 255, rng)


def draw_coins(rng: Rng, _: Names) -> Pixels:
    """Coins: round, dark and light, in the middle or not."""
    return draw_part("coins", rng)


def draw_microscopy(rng: Rng, allowed: Names) -> Pixels:
    """Stained tissue or cells."""
    return draw_part(_choose(rng, photographs.TISSUES, allowed), rng)


def draw_retina(rng: Rng, _: Names) -> Pixels:
    """The back of an eye, orange in a round black frame, whole or a part."""
    return draw_part("retina", rng, 0.25, 1.0)


def draw_sky(rng: Rng, allowed: Names) -> Pixels:
    """The moon or galaxies."""
    return draw_part(_choose(rng, photographs.SKIES, allowed), rng)


def draw_graphic(rng: Rng, allowed: Names) -> Pixels:
    """A logo, a colour wheel, a silhouette, a chessboard or a phantom."""
    return draw_part(_choose(rng, photographs.GRAPHICS, allowed), rng, 0.6)


def draw_document(rng: Rng, allowed: Names) -> Pixels:
    """Scanned or rendered text on white, cream or pink paper."""
    if rng.random() < 0.3 and not allowed.isdisjoint(photographs.PAGES):
        return draw_part(_choose(rng, photographs.PAGES, allowed), rng, 0.5)
    paper = np.array(((255, 255, 255), (250, 240, 220), (248, 225, 215)))[rng.integers(3)]
    page = Image.new("RGB", (480, 620), tuple(paper.tolist()))
    pen = ImageDraw.Draw(page)
    size = int(rng.integers(11, 26))
    for top in range(30, 590, int(size * 1.5)):
        pen.text((30, top), _sentence(rng, 12), fill=(20, 20, 30), font=ImageFont.load_default(size))
    return crop(np.asarray(page), rng, 0.35)


def draw_screen(rng: Rng, allowed: Names) -> Pixels:
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
    if rng.random() < 0.4 and KINDS["photo"].is_possible(allowed):
        picture.paste(Image.fromarray(draw_photo(rng, allowed)).resize((220, 180)), (200, 120))
    return crop(np.asarray(picture), rng, 0.6)


def draw_chart(rng: Rng, _: Names) -> Pixels:
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
    return crop(np.asarray(picture), rng, 0.7)


def draw_noise(rng: Rng, _: Names) -> Pixels:
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
    return tint_skin(np.clip(0.6 + smooth_noise(rng, (200, 200), octaves), 0, 1), rng)


def draw_gradient(rng: Rng, _: Names) -> Pixels:
    """A skin colour with a fall of light and nothing on it, with or without a camera's noise."""
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3)
    light = 1 - strength * (np.cos(angle) * x + np.sin(angle) * y) - rng.uniform(0, 0.2) * (x * x + y * y)
    picture = draw_skin_colour(rng) * light[..., None]
    picture = picture + rng.normal(0, 4, picture.shape) * (rng.random() < 0.5)
    return np.asarray(np.clip(picture, 0, 255), dtype=np.uint8)


def draw_blank(rng: Rng, _: Names) -> Pixels:
    """A black, white or plain frame, empty or with a disc on it."""
    ground = [(0, 0, 0), (255, 255, 255), tuple(rng.integers(0, 256, 3).tolist())][int(rng.integers(3))]
    picture = Image.new("RGB", (240, 240), ground)
    if rng.random() < 0.6:
        radius = rng.uniform(10, 110)
        disc = tuple(rng.integers(0, 256, 3).tolist())
        ImageDraw.Draw(picture).ellipse((120 - radius, 120 - radius, 120 + radius, 120 + radius), fill=disc)
    noise = rng.normal(0, 3, (240, 240, 3)) * (rng.random() < 0.3)
    return np.asarray(np.clip(np.asarray(picture) + noise, 0, 255), dtype=np.uint8)


def draw_framed(rng: Rng, allowed: Names) -> Pixels:
    """Another kind's picture seen through a dermatoscope's round black frame."""
    names = ("photo", "fur", "texture, skin-coloured", "microscopy", "document", "screen", "face")
    return add_round_frame(_draw_one(names, rng, allowed), rng)


def draw_collage(rng: Rng, allowed: Names) -> Pixels:
    """Four pictures side by side."""
    names = ("photo", "grey photo", "document", "screen", "coins", "retina", "face", "chart")
    tiles = [Image.fromarray(_draw_one(names, rng, allowed)).resize((150, 150)) for _ in range(4)]
    page = Image.new("RGB", (310, 310), (255, 255, 255) if rng.random() < 0.5 else (0, 0, 0))
    for number, tile in enumerate(tiles):
        page.paste(tile, (160 * (number % 2), 160 * (number // 2)))
    return np.asarray(page)


def _draw_one(names: tuple[str, ...], rng: Rng, allowed: Names) -> Pixels:
    possible = [name for name in names if KINDS[name].is_possible(allowed)]
    return KINDS[str(rng.choice(possible))].draw(rng, allowed)


def _sentence(rng: Rng, words: int) -> str:
    return " ".join(str(word) for word in rng.choice(WORDS, words))


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "photo": Kind(draw_photo, photographs.COLOURED),
        "grey photo": Kind(draw_grey_photo, photographs.GREY),
        "face": Kind(draw_face, photographs.FACES),
        "fur": Kind(draw_fur, ("chelsea",)),
        "texture": Kind(draw_texture, photographs.TEXTURES),
        "texture, skin-coloured": Kind(draw_skin_texture, (*photographs.TEXTURES, "coins", "moon")),
        "coins": Kind(draw_coins, ("coins",)),
        "microscopy": Kind(draw_microscopy, photographs.TISSUES),
        "retina": Kind(draw_retina, ("retina",)),
        "moon and galaxies": Kind(draw_sky, photographs.SKIES),
        "graphic": Kind(draw_graphic, photographs.GRAPHICS),
        "document": Kind(draw_document),
        "screen": Kind(draw_screen),
        "chart": Kind(draw_chart),
        "noise": Kind(draw_noise),
        "skin gradient": Kind(draw_gradient),
        "blank or disc": Kind(draw_blank),
        "round-framed picture": Kind(draw_framed),
        "collage": Kind(draw_collage),
    }
)

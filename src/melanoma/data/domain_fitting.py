"""Fits the domain check on images: theirs, altered copies of theirs, and drawn counterexamples."""

from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from melanoma.data import counterexamples
from melanoma.data.artefacts import Pixels, add_hair, add_ink, add_round_frame
from melanoma.inference.description import describe
from melanoma.inference.domain import MIN_IMAGES, Domain, fit_domain

MAX_IMAGES = 3000  # more make it slower and no better


def fit(
    images: Iterable[Pixels], *, seed: int = 0, progress: Callable[[int], None] | None = None
) -> Domain | None:
    """A domain check fitted on prepared dermoscopic images; None for fewer than 100, too few to fit it on.

    `images`: RGB uint8 (h, w, 3), as `preprocessing.prepare` gives them, not the ones that it will be judged on; give
    at most `MAX_IMAGES`. `progress` is called with the number of images done.
    """
    described, altered = [], []
    for number, image in enumerate(images):
        described.append(describe(image))
        altered.append(describe(alter(image, np.random.default_rng([seed, number]))))
        if progress is not None:
            progress(number + 1)
    if len(described) < MIN_IMAGES:
        return None
    return fit_domain(np.stack(described), np.stack(altered), counterexamples.load(), seed=seed)


def alter(image: Pixels, rng: np.random.Generator) -> Pixels:
    """The image as another clinic might have taken it: crop, exposure, cast, blur or noise, things in view."""
    changed = _recolour(_crop(image, rng) if rng.random() < 0.6 else image, rng)
    if rng.random() < 0.15:
        changed = _add_sticker(changed, rng)
    choice = rng.random()
    if choice < 0.25:
        blurred = Image.fromarray(changed).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
        changed = np.asarray(blurred, dtype=np.uint8)
    elif choice < 0.35:
        noise = rng.normal(0, rng.uniform(1, 5), changed.shape)
        changed = np.clip(changed + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.12:
        changed = add_hair(changed, rng, count=int(rng.integers(10, 80)))
    if rng.random() < 0.08:
        changed = add_ink(changed, rng)
    return add_round_frame(changed, rng) if rng.random() < 0.1 else changed


def _crop(image: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = image.shape[:2]
    share = rng.uniform(0.5, 1)
    h, w = max(8, int(height * share * rng.uniform(0.8, 1))), max(8, int(width * share * rng.uniform(0.8, 1)))
    top, left = int(rng.integers(max(1, height - h + 1))), int(rng.integers(max(1, width - w + 1)))
    return np.ascontiguousarray(image[top : top + h, left : left + w])


def _recolour(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Other gamma, exposure, white balance and saturation."""
    values = 255 * (image.astype(np.float32) / 255) ** np.exp(rng.normal(0, 0.17))
    exposure = min(
        rng.normal(-0.1, 0.25), 0.15
    )  # paper and screens are white, an overexposed lesion is not judged
    values = values * np.exp(rng.normal(0, 0.08, 3) + exposure)
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * np.exp(rng.normal(-0.05, 0.22))
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)


def _add_sticker(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A coloured disc that comes in from the rim, as beside many lesions of children."""
    picture = Image.fromarray(image)
    half = np.array(picture.size) / 2
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.15)
    radius = float(rng.uniform(0.3, 0.7) * half.min())
    x, y = (half + distance * half * (np.cos(angle), np.sin(angle))).tolist()
    red, green, blue = rng.integers(0, 256, 3).tolist()
    pen = ImageDraw.Draw(picture)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(red, green, blue))
    return np.asarray(picture, dtype=np.uint8)

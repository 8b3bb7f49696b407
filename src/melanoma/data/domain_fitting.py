"""Fits the domain check on images: theirs, altered copies of theirs, and pictures that are no dermoscopy."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from melanoma.data import counterexamples
from melanoma.data.artefacts import Pixels, add_hair, add_ink, add_round_frame
from melanoma.errors import ImageError
from melanoma.inference import images
from melanoma.inference.description import describe
from melanoma.inference.domain import MIN_IMAGES, VIEW, Domain, fit_domain
from melanoma.inference.preprocessing import prepare

MAX_IMAGES = 3000  # more make it slower and no better


def fit_files(
    paths: Sequence[str], *, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Domain | None:
    """A domain check fitted on image files, at most `MAX_IMAGES` of them; None where fewer than 100 can be read.

    `progress` is called with (images done, images in all).
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(paths))[:MAX_IMAGES])

    def read() -> Iterator[Pixels]:
        for done, row in enumerate(drawn):
            try:
                yield images.load(paths[row])
            except ImageError:
                continue  # whoever runs the network on them says so
            finally:
                if progress is not None:
                    progress(done + 1, len(drawn))

    return fit(read(), seed=seed)


def fit(pictures: Iterable[Pixels], *, seed: int = 0) -> Domain | None:
    """A domain check fitted on dermoscopic images, RGB uint8 (h, w, 3) of any size; None for fewer than 100.

    Give at most `MAX_IMAGES`, not the ones that it will be judged on.
    """
    described, altered = [], []
    for number, picture in enumerate(pictures):
        view = prepare(picture, VIEW)
        described.append(describe(view))
        altered.append(describe(alter(view, np.random.default_rng([seed, number]))))
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

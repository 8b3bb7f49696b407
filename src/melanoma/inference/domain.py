"""Is this a dermoscopic image like those that the model knows?

A kernel machine over the numbers of `description.describe`, fitted on dermoscopic images and on pictures that are
none. Its score is near 1 where dermoscopic images lie and falls to 0 elsewhere, also far from everything that it
was fitted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.errors import BundleError, CalibrationError
from melanoma.inference.description import FEATURES, RGB, describe
from melanoma.inference.preprocessing import Preprocessing, prepare

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

DESCRIPTION: Final = 1  # which definition of the features; raise it when `describe` changes
VIEW: Final = Preprocessing(
    150
)  # whatever the network's own preprocessing: balanced colours would hide a cast
MIN_IMAGES: Final = 100
MAX_LANDMARKS: Final = 1800  # half of them dermoscopic
CLIP: Final = 6.0  # standardised features, so that no single one decides by itself
GAMMA: Final = 0.01
RIDGE: Final = 0.1
FOLDS: Final = 3
HIGHEST_LIMIT: Final = 0.55  # chosen on sources left out of the fitting: docs/decisions/0010-domain-check.md
REFUSED_OF_FITTED: Final = 0.015

REASON: Final = "this does not look like a dermoscopic image"
_KINDS: Final = (
    ("colours unlike skin", ("red_", "green_", "blue_", "fine_", "distinct_")),
    ("light unlike a dermatoscope's", ("light_", "coarse_", "dark")),
    ("large plain or white areas", ("white", "plain")),
    ("edges and texture unlike skin", ("edge_", "straight_", "octave_")),
    ("no skin around a lesion", ("middle_", "rim_")),
)


@dataclass(frozen=True, eq=False)
class Domain:
    """What dermoscopic images look like.

    `centre`, `spread` float32 (d,): median and deviation of each feature over the dermoscopic images. `landmarks`
    float32 (m, d), standardised, with `weights` float32 (m,). An image whose score is below `limit` is refused.
    `n`: dermoscopic images it was fitted on.
    """

    centre: Floats
    spread: Floats
    landmarks: Floats
    weights: Floats
    limit: float
    n: int

    def score(self, features: Floats) -> Doubles:
        """How dermoscopic, float64 (n,), mostly in [0, 1], of features (n, d)."""
        kernel = _kernel(_standardise(features, self.centre, self.spread), self._landmarks)
        return np.asarray(kernel @ self.weights, dtype=np.float64)

    @cached_property
    def _landmarks(self) -> Doubles:
        return self.landmarks.astype(np.float64)

    def refuse(self, image: RGB | Image.Image) -> str:
        """Why an image is not judged, in one phrase; '' when it is. `image` RGB uint8 (h, w, 3) of any size."""
        features = describe(prepare(image, VIEW))
        if self.score(features[None])[0] >= self.limit:
            return ""
        unusual = np.abs(_standardise(features, self.centre, self.spread))
        mean = {text: np.mean(unusual[_rows_of(starts)]) for text, starts in _KINDS}
        return f"{REASON}: {max(mean, key=lambda text: mean[text])}"

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All values, as `numpy.savez` takes them."""
        return {
            "centre": self.centre,
            "spread": self.spread,
            "landmarks": self.landmarks,
            "weights": self.weights,
            "numbers": np.array((DESCRIPTION, self.limit, self.n), dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `to_arrays`. Raises BundleError when it was fitted on another description, KeyError."""
        description, limit, n = arrays["numbers"].tolist()
        centre, spread, landmarks, weights = (
            np.asarray(arrays[name], dtype=np.float32)
            for name in ("centre", "spread", "landmarks", "weights")
        )
        if description != DESCRIPTION or landmarks.shape != (len(weights), len(FEATURES)):
            raise BundleError("the domain check was fitted for another version of melanoma; calibrate again")
        return cls(centre, spread, landmarks, weights, float(limit), int(n))


def check_enough(count: int) -> None:
    """Raise CalibrationError for fewer than `MIN_IMAGES` images."""
    if count < MIN_IMAGES:
        raise CalibrationError(f"the domain check needs at least {MIN_IMAGES} images, got {count}; give more")


def fit_domain(features: Floats, altered: Floats, counterexamples: Floats, *, seed: int = 0) -> Domain:
    """Fit on dermoscopic images, altered copies of the same, and pictures that are none.

    `features` float (n, d); `altered` float (n, d), row by row the same image under another camera, with hair, in a
    frame, and so on; `counterexamples` float (k, d). The limit refuses at most `REFUSED_OF_FITTED` of the images
    when they are left out of the fitting, and is never above `HIGHEST_LIMIT`. Kernel ridge regression on landmarks
    (Williams and Seeger 2001, "Using the Nyström method to speed up kernel machines"). Raises CalibrationError for
    fewer than `MIN_IMAGES` images.
    """
    check_enough(len(features))
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(features)) % FOLDS
    left_out = np.empty(len(features))
    for number in range(FOLDS):
        kept = fold != number
        machine = _fit(features[kept], altered[kept], counterexamples, rng)
        left_out[~kept] = machine.score(features[~kept])
    limit = min(HIGHEST_LIMIT, float(np.quantile(left_out, REFUSED_OF_FITTED)))
    whole = _fit(features, altered, counterexamples, rng)
    return Domain(whole.centre, whole.spread, whole.landmarks, whole.weights, limit, len(features))


def _fit(features: Floats, altered: Floats, counterexamples: Floats, rng: np.random.Generator) -> Domain:
    """The machine without its limit; both sides weigh the same, however many there are."""
    low, centre, high = np.quantile(features, (0.1, 0.5, 0.9), axis=0).astype(np.float32)
    spread = (high - low) / np.float32(2.56) + np.float32(1e-3)  # of a normal distribution, its deviation
    positive = _standardise(np.concatenate((features, altered)), centre, spread)
    negative = _standardise(counterexamples, centre, spread)
    landmarks = np.concatenate([_draw(side, MAX_LANDMARKS // 2, rng) for side in (positive, negative)])
    normal = RIDGE * _kernel(landmarks, landmarks) + 1e-6 * np.eye(len(landmarks))
    right = np.zeros(len(landmarks))
    n = len(positive) + len(negative)
    for side, target in ((positive, 1.0), (negative, 0.0)):
        kernel, weight = _kernel(side, landmarks), n / (2 * len(side))
        normal += weight * (kernel.T @ kernel)
        right += weight * target * kernel.sum(axis=0)
    weights = np.linalg.solve(normal, right).astype(np.float32)
    return Domain(centre, spread, landmarks, weights, 0.0, len(features))


def _standardise(features: Floats, centre: Floats, spread: Floats) -> Floats:
    return np.asarray(np.clip((features - centre) / spread, -CLIP, CLIP), dtype=np.float32)


def _rows_of(starts: tuple[str, ...]) -> list[int]:
    return [row for row, name in enumerate(FEATURES) if name.startswith(starts)]


def _kernel(first: Floats | Doubles, second: Floats | Doubles) -> Doubles:
    """exp(-GAMMA * squared distance), float64 (n, m)."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    squared = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)[None] - 2 * a @ b.T
    return np.asarray(np.exp(-GAMMA * np.maximum(squared, 0)))


def _draw(rows: Floats, count: int, rng: np.random.Generator) -> Floats:
    return rows[np.sort(rng.permutation(len(rows))[:count])]

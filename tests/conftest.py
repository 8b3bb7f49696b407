import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def require_or_skip(reason: str) -> None:
    """A missing extra or data set is a failure in CI and a skip, with the reason, on a user's machine."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; CI must have it")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the real image collections."""
    root = os.environ.get("MELANOMA_DATA")
    if not root or not Path(root).is_dir():
        require_or_skip("MELANOMA_DATA names no folder of real images")
    return Path(root)


@pytest.fixture
def draw_image() -> Callable[..., np.ndarray]:
    """A function that draws a smooth RGB image with a darker blob, different for each seed."""

    def draw(seed: int = 0, height: int = 64, width: int = 64, melanoma: bool = False) -> np.ndarray:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width] / max(height, width) - 0.5
        blob = np.exp(-(x**2 + y**2) / (0.08 if melanoma else 0.02))[..., None]
        skin = np.array([220, 180, 160]) + rng.normal(0, 8, 3)
        image = skin * (1 - blob) + np.array([70, 45, 40]) * blob + rng.normal(0, 4, (height, width, 3))
        return np.clip(image, 0, 255).astype(np.uint8)

    return draw


@pytest.fixture
def image_folder(tmp_path: Path, draw_image: Callable[..., np.ndarray]) -> Path:
    """Class folders with 48 training and 16 test images, learnable at a glance."""
    root = tmp_path / "images"
    for split, n in (("train", 24), ("test", 8)):
        for label, melanoma in (("benign", False), ("malignant", True)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(n):
                seed = number + 1000 * melanoma + 100_000 * (split == "test")
                Image.fromarray(draw_image(seed, melanoma=melanoma)).save(folder / f"image_{number}.png")
    return root

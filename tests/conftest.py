import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests that take minutes each, too")


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


def require_extra(module: str, extra: str) -> None:
    """Skip, or in CI fail, when an optional part of the package is not installed. For the top of a module."""
    if importlib.util.find_spec(module) is None:
        reason = f"{module} is not installed: pip install 'melanoma[{extra}]'"
        if os.environ.get("CI"):
            raise RuntimeError(reason)
        pytest.skip(reason, allow_module_level=True)


def draw(seed: int = 0, height: int = 64, width: int = 64, melanoma: bool = False) -> np.ndarray:
    """A smooth RGB image with a darker blob, larger in a melanoma, different for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width) - 0.5
    blob = np.exp(-(x**2 + y**2) / (0.08 if melanoma else 0.02))[..., None]
    skin = np.array([220, 180, 160]) + rng.normal(0, 8, 3)
    image = skin * (1 - blob) + np.array([70, 45, 40]) * blob + rng.normal(0, 4, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def write_images(root: Path, train: int = 24, test: int = 8) -> Path:
    """Class folders with so many images of each class, learnable at a glance."""
    for split, n in (("train", train), ("test", test)):
        for label, melanoma in (("benign", False), ("malignant", True)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(n):
                seed = number + 1000 * melanoma + 100_000 * (split == "test")
                Image.fromarray(draw(seed, melanoma=melanoma)).save(folder / f"image_{number}.png")
    return root


@pytest.fixture(scope="session")
def draw_image() -> Callable[..., np.ndarray]:
    """The function `draw`."""
    return draw


@pytest.fixture(scope="session")
def image_folder_of() -> Callable[..., Path]:
    """The function `write_images`."""
    return write_images


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Class folders with 48 training and 16 test images."""
    return write_images(tmp_path / "images")


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    """A small old bundle, trained once on drawn images and kept for ever: every version must read it."""
    return Path(__file__).parent / "fixtures" / "bundle-v1"


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle in a folder that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def image_files(tmp_path: Path) -> list[Path]:
    """Six images of different shapes, three of them PNG and three JPEG."""
    folder = tmp_path / "six"
    folder.mkdir()
    paths = [folder / f"lesion {number}{'.png' if number % 2 else '.jpg'}" for number in range(6)]
    for number, path in enumerate(paths):
        Image.fromarray(draw(number, 64 + 9 * number, 80, melanoma=number > 2)).save(path)
    return paths


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by Playwright, in whose time this thread cannot run asyncio: hence a module at most."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        require_or_skip("no browser: scripts/install_browser brings it")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        yield playwright.chromium.launch(executable_path=chromium, args=options)


@pytest.fixture
def run_melanoma(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """A function that runs the `melanoma` command in this process: exit code, standard output, standard error."""
    from melanoma.cli.main import run

    def run_here(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["melanoma", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run()
        return (end.value.code, *capsys.readouterr())

    return run_here


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests first, so that the other worker has all the rest to do beside them; long ones on request."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if not config.getoption("--long"):
        skip = pytest.mark.skip(reason="takes minutes: pytest --long runs it")
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(skip)

"""Write the pictures of the web page in docs/images anew, from drawn images. Needs scripts/install_browser."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from melanoma.data.synthetic import render

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
SERVE = [sys.executable, "-c", "from melanoma.cli.main import run; run()", "serve", "--port", "0"]
SEEDS = {"left forearm.png": 1, "back 1.png": 134, "back 2.png": 130, "shoulder.png": 0}  # odd: a melanoma


def main() -> None:
    """Serve, look, and write what was seen."""
    FOLDER.mkdir(exist_ok=True)
    server = subprocess.Popen(SERVE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        said = server.stderr.readline() if server.stderr else ""
        url = next(iter(re.findall(r"http://\S+:\d+", said)), "") or sys.exit(said)
        with tempfile.TemporaryDirectory() as folder:
            look(url, draw(Path(folder)))
    finally:
        server.terminate()


def draw(folder: Path) -> list[Path]:
    """The drawn images as files."""
    for name, seed in SEEDS.items():
        difficulty = 0.3 if seed % 2 else 0.0
        drawn = render(seed % 2, np.random.default_rng(seed), size=512, difficulty=difficulty)
        Image.fromarray(drawn.image).save(folder / name)
    return [folder / name for name in SEEDS]


def look(url: str, images: list[Path]) -> None:
    """Cards and table, as on a desktop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1120}, locale="en-US")
        page.goto(url)
        page.wait_for_selector("#model:not(:empty)")
        page.set_input_files("#files", images)
        page.locator(".with-heat").nth(len(images) - 1).wait_for()
        page.screenshot(path=FOLDER / "page-cards.jpg", quality=82)
        page.check("[name=view][value=table]")
        page.locator("#rows tr").nth(len(images) - 1).wait_for()
        page.set_viewport_size({"width": 1440, "height": 860})
        page.screenshot(path=FOLDER / "page-table.jpg", quality=82)


if __name__ == "__main__":
    main()

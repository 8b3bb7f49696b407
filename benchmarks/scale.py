"""How long the bench takes with 100,000 images: reading them as a manifest, splitting, saving, intervals.

    python benchmarks/scale.py [--images 100000]

The images are copies of one small PNG with a number behind it, so that each has a digest of its own; none is decoded.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from melanoma.data import manifest as manifests
from melanoma.data import splits as splitting
from melanoma.evaluation.metrics import Outcomes, estimate_figures


def write_images(folder: Path, count: int) -> None:
    """Class folders with `count` files in all."""
    file = io.BytesIO()
    Image.fromarray(np.full((40, 40, 3), 160, np.uint8)).save(file, "PNG")
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
        for number in range(count // 2):
            (folder / label / f"{number:06}.png").write_bytes(file.getvalue() + f"{label} {number}".encode())


def draw_outcomes(count: int) -> Outcomes:
    """What a fairly good model might say of so many images, one in ten a melanoma."""
    rng = np.random.default_rng(0)
    y_true = (rng.random(count) < 0.1).astype(np.int64)
    y_prob = np.clip(rng.beta(2, 8, count) + 0.3 * y_true * rng.random(count), 0, 1)
    return Outcomes(y_true, y_prob, y_prob > 0.2, np.ones(count, np.bool_), np.arange(count))


Result = TypeVar("Result")


def clock(name: str, step: Callable[[], Result]) -> Result:
    """Run one step and say how long it took."""
    began = time.perf_counter()
    result = step()
    print(f"| {name} | {time.perf_counter() - began:.1f} s |")
    return result


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "many", count)
        print(f"| {count:,} images | |\n|---|---|")
        manifest = clock("list, label and hash", lambda: manifests.load([str(folder / "many")]))
        splits = clock(
            "split", lambda: splitting.assign(manifest, val=0.1, calibration=0.1, test=0.1, seed=1)
        )
        clock("save the splits", lambda: splitting.save(splits, folder / "splits.csv"))
        clock("read and check them", lambda: splitting.load(folder / "splits.csv", manifest))
    outcomes = draw_outcomes(count)
    clock("13 figures, 1,000 resamples", lambda: estimate_figures(outcomes))


if __name__ == "__main__":
    main()

"""Time and memory of the search for repeats against the number of images, from 5,000 to 100,000.

    python benchmarks/audit_scaling.py [images ...]

The images are drawn: each is a mixture of three of 1,000 renderings, each cut out at random in size and place, so that
hardly two are the same picture though all look alike. Decoding is not part of it. Each size runs in its own process.
"""

import json
import resource
import subprocess
import sys
import time

import cv2
import numpy as np
from numpy.typing import NDArray

from melanoma.audit.duplicates import find_pairs
from melanoma.data.synthetic import render

SIZES = (5_000, 10_000, 20_000, 50_000, 100_000)
BASES = 1_000


def draw_bases() -> NDArray[np.uint8]:
    """Renderings to mix, RGB uint8 (BASES, 192, 192, 3)."""
    return np.stack([render(seed % 2, np.random.default_rng(seed)).image for seed in range(BASES)])


def mix(bases: NDArray[np.uint8], count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`count` images as brightness (n, 128, 128) and colours (n, 32, 32, 3)."""
    rng = np.random.default_rng(1)
    grey = np.empty((count, 128, 128), np.uint8)
    colour = np.empty((count, 32, 32, 3), np.uint8)
    for row in range(count):
        image = np.zeros((128, 128, 3), np.float32)
        for base, weight in zip(bases[rng.integers(len(bases), size=3)], (0.4, 0.3, 0.3), strict=True):
            side = int(rng.integers(80, 161))
            top, left = rng.integers(0, 192 - side, size=2)
            part = np.rot90(base[top : top + side, left : left + side], int(rng.integers(4)))
            image += weight * cv2.resize(np.ascontiguousarray(part), (128, 128)).astype(np.float32)
        mixed = image.astype(np.uint8)
        grey[row] = cv2.cvtColor(mixed, cv2.COLOR_RGB2GRAY)
        colour[row] = cv2.resize(mixed, (32, 32), interpolation=cv2.INTER_AREA)
    return grey, colour


def measure(count: int) -> dict[str, float]:
    """Seconds for `count` images, pairs found, and memory at the peak."""
    cv2.setNumThreads(1)
    grey, colour = mix(draw_bases(), count)
    names = [str(row) for row in range(count)]
    began = time.monotonic()
    pairs, _ = find_pairs(grey, colour, names, names)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images": count, "seconds": seconds, "pairs": len(pairs), "peak_mb": peak}


def main() -> None:
    """Measure each size in a fresh process and print a table."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
        return
    sizes = [int(text) for text in sys.argv[1:]] or SIZES
    print("images   seconds   ms/image   pairs   peak MB")
    for size in sizes:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(size)], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        each = 1000 * found["seconds"] / size
        print(
            f"{size:7,} {found['seconds']:9.1f} {each:10.2f} {found['pairs']:7,} {found['peak_mb']:9,.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""How long one image takes with several bundles, one thread, all in the same run.

python benchmarks/latency.py FOLDER BUNDLE [BUNDLE ...]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from melanoma import load_predictor
from melanoma.inference import images
from melanoma.inference.predictor import Predictor
from melanoma.inference.preprocessing import prepare

IMAGES, PASSES = 60, 7


def measure(steps: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """Milliseconds an image of each step: all steps in turn, the best of the passes."""
    best = dict.fromkeys(steps, np.inf)
    for _ in range(PASSES):
        for name, step in steps.items():
            began = time.perf_counter()
            for number in range(IMAGES):
                step(number)
            best[name] = min(best[name], 1000 * (time.perf_counter() - began) / IMAGES)
    return best


def time_bundle(
    predictor: Predictor, files: list[bytes], decoded: list[NDArray[np.uint8]]
) -> dict[str, float]:
    """The parts of one prediction and the whole of it, from a file's bytes."""
    spec = predictor.bundle.preprocessing
    bare = load_predictor(predictor.bundle.folder, domain_check=False)
    return measure(
        {
            "decode": lambda n: images.decode(files[n]),
            "prepare": lambda n: prepare(decoded[n], spec),
            "prepare and network": lambda n: predictor.run(decoded[n]),
            "prediction without the domain check": lambda n: bare.predict(files[n]),
            "prediction": lambda n: predictor.predict(files[n]),
        }
    )


def main() -> None:
    """Print one table."""
    folder, bundles = Path(sys.argv[1]), sys.argv[2:]
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".png"})[:IMAGES]
    files = [path.read_bytes() for path in paths]
    decoded = [images.decode(data) for data in files]
    columns = {}
    for bundle in bundles:
        predictor = load_predictor(bundle)
        megabytes = sum(file.stat().st_size for file in Path(bundle).iterdir()) / 1e6
        columns[bundle] = {"MB on disk": megabytes, **time_bundle(predictor, files, decoded)}
    print(f"| ms an image | {' | '.join(bundles)} |\n|---|{'---|' * len(bundles)}")
    for row in columns[bundles[0]]:
        print(f"| {row} | {' | '.join(f'{columns[bundle][row]:.2f}' for bundle in bundles)} |")


if __name__ == "__main__":
    main()

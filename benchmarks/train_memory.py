"""Resident memory while training: TensorFlow's own, and a whole run's on so many rows.

    MELANOMA_DATA=... python benchmarks/train_memory.py [--times 1 10] [--batches 60]

Each case is a process of its own that starts a run of the original recipe as `melanoma train` does and stops
after some batches; reading and decoding the images count too. `--times 10` lists every image ten times. The
baseline trains the same network on one batch.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.config import load_recipe

RECIPE = load_recipe("original_cnn")


class EnoughError(Exception):
    """Stops a run after some batches."""


def most_resident() -> int:
    """Most bytes of this process in memory since it began, whatever it did then. Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_baseline(batches: int) -> int:
    """Most bytes resident while the network trains on one batch over and over."""
    from melanoma.training.fit import make_deterministic
    from melanoma.training.models import create_model
    from melanoma.training.step import compile_model

    make_deterministic(0)
    model = create_model(RECIPE.model, RECIPE.input)
    compile_model(model, RECIPE, steps_per_epoch=100)
    size = RECIPE.input.size
    pixels = np.zeros((RECIPE.training.batch_size, size, size, 3), dtype=np.float32)
    y_true = (np.arange(RECIPE.training.batch_size) % 2).astype(np.float32)[:, None]
    for _ in range(batches):
        model.train_on_batch(pixels, y_true)
    return most_resident()


def measure_run(table: Path, folder: Path, batches: int) -> int:
    """Most bytes resident from the start of a run to its `batches`-th batch."""
    from melanoma import runs
    from melanoma.listener import Listener
    from melanoma.run_images import Request

    class Watch(Listener):
        def on_batch(self, epoch: int, step: int, steps: int, row: dict[str, float]) -> None:  # noqa: ARG002
            if step == batches:
                raise EnoughError

    try:
        runs.start(Request(sources=[f"images={table}"]), RECIPE, folder, Watch())
    except EnoughError:
        return most_resident()
    raise RuntimeError("the run ended early; give more images")


def write_table(target: Path, times: int) -> int:
    """List every training image `times` times; the number of rows."""
    root = Path(os.environ["MELANOMA_DATA"]) / "melanoma10k" / "train"
    paths = sorted(root.glob("*/*.jpg"))
    rows = [
        {"path": str(path), "label": path.parent.name, "image_id": f"{path.parent.name}-{path.stem}-{n}"}
        for n in range(times)
        for path in paths
    ]
    pd.DataFrame(rows).to_csv(target, index=False)
    return len(rows)


def run_case(times: int, batches: int, workplace: Path) -> dict[str, int]:
    """One case in a process of its own."""
    command = [sys.executable, __file__, "--case", str(times), "--batches", str(batches)]
    done = subprocess.run(command, cwd=workplace, check=True, capture_output=True, text=True)
    result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure and print, as text and as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case == 0:
        print(json.dumps({"rows": 0, "bytes": measure_baseline(arguments.batches)}))
    elif arguments.case:
        os.environ["MELANOMA_CACHE"] = str(Path.cwd() / f"cache-{arguments.case}")
        rows = write_table(Path(f"images-{arguments.case}.csv"), arguments.case)
        table, folder = Path(f"images-{arguments.case}.csv"), Path(f"run-{arguments.case}")
        print(json.dumps({"rows": rows, "bytes": measure_run(table, folder, arguments.batches)}))
    else:
        with tempfile.TemporaryDirectory() as workplace:
            results = [run_case(n, arguments.batches, Path(workplace)) for n in (0, *arguments.times)]
        for result in results:
            above = (result["bytes"] - results[0]["bytes"]) / 1e6
            print(f"{result['rows']:8,} rows: {result['bytes'] / 1e6:7.0f} MB resident, {above:+.0f} MB")
        print(json.dumps(results))


if __name__ == "__main__":
    main()

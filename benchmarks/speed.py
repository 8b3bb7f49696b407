"""How fast prediction is, as ratios inside one run, against the usual Keras way with the same network.

    python benchmarks/speed.py [--images FOLDER] [-o FILE]

Measures the bundle that ships: one image in a process of its own; one image in a running process; a folder; overlays;
memory. The usual way is: import TensorFlow, `load_model`, Keras' image utilities, `predict`. What else the machine does
hits both alike, so what counts are the ratios. `benchmarks/speed_guard.py` keeps the results.
"""

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from melanoma import load_predictor
from melanoma.data.synthetic import write_collection
from melanoma.inference import images
from melanoma.inference.preprocessing import as_picture, prepare, scale
from melanoma.version import __version__

CORES = os.cpu_count() or 1
REPORT = """
import os, resource, sys
def report(processes=0, status="/proc/self/status"):
    try:
        own = int(open(status).read().partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):
        own = 0
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    sys.stderr.write(str(own + processes * largest))  # as if all of a pool were the largest
"""
OURS = f"""{REPORT}
from melanoma.cli.main import run
try:
    run()
finally:
    sys.stderr.write("\\n")
    report(os.cpu_count())
"""
COMMAND = [sys.executable, "-c", OURS, "predict"]
KERAS_WAY = f"""{REPORT}
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
model_path, how, *paths = sys.argv[1:]
import numpy as np
import keras
model = keras.models.load_model(model_path)
size = model.input_shape[1]
def read(path):
    image = keras.utils.load_img(path, target_size=(size, size), interpolation="bilinear")
    return keras.utils.img_to_array(image) / 127.5 - 1
if how == "one":
    print(model.predict(read(paths[0])[None], verbose=0)[0])
    report()
    sys.exit()
paths = open(paths[0]).read().splitlines()
step = 32 if how == "batches" else 1
model.predict(np.stack([read(path) for path in paths[:step]]), verbose=0)  # the first call compiles
began = time.perf_counter()
for start in range(0, len(paths), step):
    model.predict(np.stack([read(path) for path in paths[start:start + step]]), verbose=0)
print(json.dumps(dict(rate=len(paths) / (time.perf_counter() - began))))
report()
"""
MAKE_KERAS = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
from keras import ops
from melanoma.config import InputConfig, ModelConfig
from melanoma.training.models import create_model
name, size, scale, views, target = sys.argv[1:]
model = create_model(ModelConfig(name=name, weights="shipped"), InputConfig(size=int(size), fit="crop", scale=scale))
image = keras.Input((int(size), int(size), 3))
turned = [image, ops.flip(image, 2), ops.flip(image, 1), ops.flip(image, (1, 2))][:int(views)]
logit = ops.mean(ops.stack([model(one) for one in turned]), axis=0)
keras.Model(image, ops.sigmoid(logit)).save(target)
"""


@dataclass(frozen=True)
class Used:
    """What a process took: seconds on the clock and on processors, most memory in MB, and what it printed."""

    wall: float
    cpu: float
    mb: float
    said: str


def run(command: Sequence[str]) -> Used:
    """Run a command to its end. Raises RuntimeError when it fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{command[3:]} ended with {done.returncode}: {done.stderr[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    last = done.stderr.splitlines()[-1:]
    return Used(wall, cpu, int(last[0]) / 1024 if last and last[0].isdigit() else 0.0, done.stdout)


def measure_cold(image: str, keras_model: Path, times: int) -> dict[str, float]:
    """One image, a whole process each, in turn; medians. The disk's cache is warm: both have been imported before."""
    keras_one = [sys.executable, "-c", KERAS_WAY, str(keras_model), "one", image]
    run([*COMMAND, image])
    ours, theirs = [], []
    for _ in range(times):
        ours.append(run([*COMMAND, image]))
        theirs.append(run(keras_one))
    wall, keras_wall = median(one.wall for one in ours), median(one.wall for one in theirs)
    return {
        "seconds": wall,
        "Keras, seconds": keras_wall,
        "share of Keras": wall / keras_wall,
        "MB": max(one.mb for one in ours),
        "Keras, MB": max(one.mb for one in theirs),
    }


def measure_parts(
    paths: Sequence[str], passes: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Milliseconds an image on one thread of each part alone and of the whole; of every image the best pass."""
    predictor = load_predictor()
    spec, network = predictor.bundle.preprocessing, predictor._network
    files = [Path(path).read_bytes() for path in paths]
    decoded = [images.decode(data) for data in files]
    inputs = [scale(prepare(image, spec)[None], spec) for image in decoded]
    bare = load_predictor(domain_check=False)
    steps: dict[str, Callable[[int], object]] = {
        "decode": lambda n: images.decode(files[n]),
        "prepare": lambda n: scale(prepare(as_picture(decoded[n]), spec)[None], spec),
        "network": lambda n: network.run(inputs[n]),
        "whole": lambda n: predictor.predict(files[n]),
        "whole without domain check": lambda n: bare.predict(files[n]),
    }
    best = {name: np.full(len(paths), np.inf) for name in steps}
    for _ in range(passes):
        for name, step in steps.items():
            for number in range(len(paths)):
                began = clock()
                step(number)
                best[name][number] = min(best[name][number], clock() - began)
    return {name: 1000 * float(np.mean(seconds)) for name, seconds in best.items()}


def measure_warm(parts: dict[str, float]) -> dict[str, float]:
    """From a file's bytes to the decision, against the sum of what cannot be avoided."""
    least = parts["decode"] + parts["prepare"] + parts["network"]
    return {
        **{f"{name}, ms": value for name, value in parts.items()},
        "whole to its parts": parts["whole"] / least,
        "without the domain check": parts["whole without domain check"] / least,
    }


def measure_folder(
    folder: Path, paths: Sequence[str], keras_model: Path, parts: dict[str, float], workplace: Path
) -> dict[str, float]:
    """A folder by the command, start of the process included; Keras without its start, which flatters it."""
    listed = workplace / "listed.txt"
    found: dict[str, float] = {"images": len(paths)}
    for name, options in (("", []), ("no domain check, ", ["--no-domain-check"])):
        used = run([*COMMAND, str(folder), "--format", "csv", "-o", str(workplace / "rows.csv"), *options])
        with (workplace / "rows.csv").open(encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == len(paths)
        rate = len(paths) / used.wall
        least = parts["decode"] + parts["prepare"] + parts["network"]
        found |= {
            f"{name}images a second": rate,
            f"{name}share of the ceiling": rate / (1000 * CORES / least),
            f"{name}cores busy": used.cpu / used.wall / CORES,
            f"{name}MB": used.mb,
        }
    for how, some in (("batches", paths), ("one by one", paths[: max(len(paths) // 8, 32)])):
        listed.write_text("\n".join(some))
        said = run([sys.executable, "-c", KERAS_WAY, str(keras_model), how, str(listed)]).said
        rate = float(json.loads(said)["rate"])
        found |= {
            f"Keras, {how}, images a second": rate,
            f"times Keras, {how}": found["images a second"] / rate,
        }
    return found


def measure_explanation(folder: Path, workplace: Path) -> dict[str, float]:
    """The same folder with an overlay of every image."""
    output = ["--format", "csv", "-o", str(workplace / "rows.csv")]
    plain = run([*COMMAND, str(folder), *output]).wall
    explained = run([*COMMAND, str(folder), *output, "--explain", str(workplace / "seen")]).wall
    return {"times the plain cost": explained / plain}


def measure_memory(path: str, workplace: Path, counts: Sequence[int]) -> dict[str, float]:
    """Most memory of the command, by how many images (links to one) there are."""
    found = {}
    for count in counts:
        folder = workplace / f"links-{count}"
        folder.mkdir()
        for number in range(count):
            (folder / f"{number:06}{Path(path).suffix}").symlink_to(path)
        used = run([*COMMAND, str(folder), "--format", "csv", "-o", str(workplace / "rows.csv")])
        found[f"MB, {count:,} images"] = used.mb
    return found


def link_images(source: Path, folder: Path, count: int) -> list[str]:
    """So many images of a folder, spread over it, as links in one folder."""
    every = sorted(path for path in source.rglob("*") if path.suffix.lower() in images.SUFFIXES)
    folder.mkdir()
    for path in every[:: max(len(every) // count, 1)][:count]:
        (folder / f"{path.parent.name}-{path.name}").symlink_to(path)
    return sorted(str(path) for path in folder.iterdir())


def find_images(asked: Path | None, workplace: Path) -> Path:
    """Real images where there are some, drawn ones elsewhere."""
    if asked is not None:
        return asked
    if os.environ.get("MELANOMA_DATA"):
        return Path(os.environ["MELANOMA_DATA"]) / "melanoma10k" / "test"
    return write_collection(workplace / "drawn", n=400, seed=0)


def make_keras_model(target: Path) -> None:
    """The network that ships, as a Keras file."""
    predictor = load_predictor()
    spec, model = predictor.bundle.preprocessing, predictor.bundle.facts["recipe"]
    views = model["export"]["views"]
    run(
        [
            sys.executable,
            "-c",
            MAKE_KERAS,
            model["model"]["name"],
            str(spec.size),
            spec.scale,
            str(views),
            str(target),
        ]
    )


def measure(asked: Path | None) -> dict[str, Any]:
    """All of it."""
    with tempfile.TemporaryDirectory() as name:
        workplace = Path(name)
        keras_model = workplace / "model.keras"
        make_keras_model(keras_model)
        paths = link_images(find_images(asked, workplace), workplace / "images", 1000)
        parts = measure_parts(paths[:: max(len(paths) // 60, 1)][:60], 7)
        return {
            "cold": measure_cold(paths[0], keras_model, 7),
            "warm": measure_warm(parts),
            "folder": measure_folder(workplace / "images", paths, keras_model, parts, workplace),
            "explanation": measure_explanation(workplace / "images", workplace),
            "memory": measure_memory(paths[0], workplace, (1000, 4000)),
        }


def name_machine() -> str:
    """Processor, cores, system and Python."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    return f"{model}, {CORES} cores, {platform.system()}, Python {platform.python_version()}"


def describe() -> dict[str, Any]:
    """What was measured, and where."""
    return {"machine": name_machine(), "version": __version__, "bundle": load_predictor().digest}


def main() -> None:
    """Measure, print, and write the file if asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    text = json.dumps({**describe(), **measure(asked.images)}, indent=1)
    print(text)
    if asked.output:
        asked.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Images per second in training the original's network: our way, the original's way, and the step alone.

    python benchmarks/train_throughput.py [--batches 40] [--rounds 3]

The original's way is `model.fit` on Keras' `ImageDataGenerator`. All run in turn, several rounds, in one
process on the same images, so that what else the machine does hits them alike; the figures are medians over
the rounds, and what counts are their ratios. Ours reads images that were decoded once before, as in a run; how
long that takes is printed. The arithmetic limit is what a large matrix product reaches in the same round,
divided by the operations of one step. Without MELANOMA_DATA the images are drawn.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from melanoma.ahead import prefetch
from melanoma.config import load_recipe
from melanoma.data import manifest as manifests
from melanoma.data.synthetic import write_collection
from melanoma.inference.preprocessing import Preprocessing, scale
from melanoma.training.cache import open_cache
from melanoma.training.fit import make_deterministic
from melanoma.training.models import create_model
from melanoma.training.pipeline import Batch, ImageSet, training_batches
from melanoma.training.step import compile_model

RECIPE = load_recipe("original_cnn")
BATCH = RECIPE.training.batch_size
IMAGES = 2560


def find_images(folder: Path) -> Path:
    """The training folder of real images, or of drawn ones."""
    root = os.environ.get("MELANOMA_DATA")
    if root:
        return Path(root) / "melanoma10k" / "train"
    return write_collection(folder / "drawn", n=IMAGES, seed=0, test_share=0.0) / "train"


def choose_images(folder: Path, workplace: Path) -> Path:
    """Class folders with links to the images that every way trains on."""
    table = manifests.load([str(folder)]).table
    for path in table["path"].sample(min(IMAGES, len(table)), random_state=0):
        link = workplace / "chosen" / Path(path).parent.name / Path(path).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return workplace / "chosen"


def open_images(folder: Path, workplace: Path) -> ImageSet:
    """The images behind our decoded cache."""
    table = manifests.load([str(folder)]).table
    spec = Preprocessing(**RECIPE.input.model_dump())
    cache = open_cache(
        table["path"].tolist(), table["content_digest"].tolist(), spec, folder=workplace / "cache"
    )
    rows = np.arange(len(table))
    return ImageSet(cache, rows, table["y_true"].to_numpy(np.float32), spec, 0 * rows, 0 * rows)


def original_batches(folder: Path) -> Any:
    """The original's way: `ImageDataGenerator` reads, decodes and changes each image in Python."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        rescale=1 / 255, width_shift_range=0.2, height_shift_range=0.2, shear_range=0.2, zoom_range=0.2,
        rotation_range=20, horizontal_flip=True, fill_mode="nearest",
    )  # fmt: skip
    size = (RECIPE.input.size, RECIPE.input.size)
    with contextlib.redirect_stdout(io.StringIO()):
        return generator.flow_from_directory(str(folder), size, batch_size=BATCH, class_mode="binary", seed=0)


def our_batches(images: ImageSet) -> Iterator[Batch]:
    """Our way: epoch after epoch without end."""
    epoch = 0
    while True:
        for pixels, y_true, _ in training_batches(images, RECIPE, seed=0, epoch=epoch):
            yield pixels, y_true
        epoch += 1


def create_network() -> Any:
    """The original's network, ready to train."""
    make_deterministic(0)
    model = create_model(RECIPE.model, RECIPE.input)
    compile_model(model, RECIPE, steps_per_epoch=100)
    return model


def measure(action: Callable[[], None]) -> float:
    """Seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def run_round(folder: Path, images: ImageSet, model: Any, batches: int) -> dict[str, float]:
    """Images per second of each way, once."""
    pixels, y_true = images.batch(np.arange(BATCH))
    fixed = scale(pixels, images.spec), y_true
    original = original_batches(folder)

    def ours() -> None:
        with prefetch(our_batches(images)) as items:
            train(islice(items, batches), model)

    ways: dict[str, Callable[[], None]] = {
        "step alone": lambda: train(repeat(fixed, batches), model),
        "ours": ours,
        "original": lambda: model.fit(original, steps_per_epoch=batches, verbose=0),
        "our pipeline alone": lambda: exhaust(islice(our_batches(images), batches)),
        "original generator alone": lambda: exhaust(islice(iter(original), batches)),
    }
    speed = {name: batches * BATCH / measure(action) for name, action in ways.items()}
    return {**speed, "arithmetic limit": measure_peak() / count_flops()}


def train(items: Iterable[Batch], model: Any) -> None:
    """One step a batch, as our loop does it."""
    for pixels, y_true in items:
        model.train_on_batch(pixels, y_true, return_dict=True)


def exhaust(items: Iterable[Any]) -> None:
    """Make every item and drop it."""
    deque(items, maxlen=0)


def count_flops() -> float:
    """Floating-point operations of one training step an image.

    Forward, and backward once for the weights and once for the layer's input; the image needs no gradient.
    """
    sizes = [(148, 27, 32), (72, 9 * 32, 64), (34, 9 * 64, 128)]
    multiplications = sum(side**2 * inputs * filters for side, inputs, filters in sizes) + 36_992 * 128
    return 2.0 * (3 * multiplications - sizes[0][0] ** 2 * sizes[0][1] * sizes[0][2])


def measure_peak() -> float:
    """What the cores reach in a large float32 matrix product, operations per second."""
    import tensorflow as tf

    n = 2048
    matrix = tf.random.normal((n, n))
    tf.matmul(matrix, matrix)
    return max(2 * n**3 / measure(lambda: tf.matmul(matrix, matrix).numpy()) for _ in range(5))


def main() -> None:
    """Measure and print, as text and as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as workplace:
        folder = choose_images(find_images(Path(workplace)), Path(workplace))
        decoding = time.perf_counter()
        images = open_images(folder, Path(workplace))
        decoding = time.perf_counter() - decoding
        model = create_network()
        run_round(folder, images, model, 2)
        rounds = [run_round(folder, images, model, arguments.batches) for _ in range(arguments.rounds)]
        images.cache.close()
    speed = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    ratios = {
        "ours / original": statistics.median(one["ours"] / one["original"] for one in rounds),
        "ours / step alone": statistics.median(one["ours"] / one["step alone"] for one in rounds),
        "step alone / arithmetic limit": statistics.median(
            one["step alone"] / one["arithmetic limit"] for one in rounds
        ),
    }
    for name, value in speed.items():
        print(f"{name:26} {value:7.1f} images/s")
    for name, value in ratios.items():
        print(f"{name:30} {value:6.2f}")
    print(
        f"reading and decoding {len(images):,} images once, which ours does before the first epoch: {decoding:.1f} s"
    )
    print(json.dumps({"images_per_second": speed, "ratios": ratios, "rounds": rounds}))


if __name__ == "__main__":
    main()

"""Where the seconds of a training epoch go: the whole, the steps alone, the input alone.

    python benchmarks/train_epoch.py [--recipe default] [--batches 60] [--rounds 3] [--set KEY=VALUE]...

The steps alone train on one batch over and over; the input alone makes batches that nobody takes. All in turn, several
rounds, medians; the ratios count. With MELANOMA_DATA the images are the real ones, else drawn. Weights are random:
they change no time.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from melanoma.ahead import prefetch
from melanoma.config import Recipe, load_recipe
from melanoma.data import manifest as manifests
from melanoma.data.diagnoses import number_diagnoses
from melanoma.data.synthetic import write_collection
from melanoma.inference.preprocessing import Preprocessing
from melanoma.training import fit
from melanoma.training.cache import open_cache
from melanoma.training.models import add_diagnosis_head, create_model
from melanoma.training.pipeline import ImageSet, TrainingBatch, training_batches
from melanoma.training.step import Alone, compile_model

IMAGES = 3000


def open_images(recipe: Recipe, workplace: Path) -> ImageSet:
    """Decoded images of up to three collections."""
    root = os.environ.get("MELANOMA_DATA")
    folders = [str(Path(root, name)) for name in ("melanoma10k", "ham10000", "isic2017")] if root else []
    manifest = manifests.load(folders or [str(write_collection(workplace / "drawn", n=IMAGES, seed=0))])
    table = manifest.table.sample(min(IMAGES, len(manifest.table)), random_state=0)
    spec = Preprocessing(**recipe.input.model_dump())
    larger = replace(spec, size=spec.size + recipe.augmentation.margin)
    cache = open_cache(
        table["path"].tolist(), table["content_digest"].tolist(), larger, folder=workplace / "cache"
    )
    source = np.unique(table["source"], return_inverse=True)[1]
    y_true = table["y_true"].to_numpy(np.float32)
    return ImageSet(cache, np.arange(len(table)), y_true, spec, source, number_diagnoses(table))


def endless(images: ImageSet, recipe: Recipe) -> Iterator[TrainingBatch]:
    """Epoch after epoch."""
    epoch = 0
    while True:
        yield from training_batches(images, recipe, seed=0, epoch=epoch)
        epoch += 1


def create(recipe: Recipe) -> Any:
    """The recipe's network, ready to train."""
    fit.make_deterministic(0)
    model = create_model(recipe.model.model_copy(update={"weights": "none"}), recipe.input)
    if recipe.training.diagnosis_loss:
        model = add_diagnosis_head(model)
    compile_model(model, recipe, 100)
    return model


def measure(recipe: Recipe, images: ImageSet, batches: int, rounds: int) -> dict[str, float]:
    """Median images a second of each way."""
    model = create(recipe)
    one = next(iter(training_batches(images, recipe, seed=0, epoch=0)))

    def whole() -> None:
        with prefetch(islice(endless(images, recipe), batches)) as made:
            for batch in made:
                Alone().train(model, batch)

    def steps() -> None:
        for _ in range(batches):
            Alone().train(model, one)

    def made() -> None:
        for _ in islice(endless(images, recipe), batches):
            pass

    ways: dict[str, Callable[[], None]] = {"whole": whole, "steps alone": steps, "input alone": made}
    Alone().train(model, one)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return {name: batches * len(one[1]) / statistics.median(taken) for name, taken in seconds.items()}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    asked = parser.parse_args()
    recipe = load_recipe(asked.recipe, asked.overrides)
    with tempfile.TemporaryDirectory() as name:
        images = open_images(recipe, Path(name))
        rates = measure(recipe, images, asked.batches, asked.rounds)
        images.cache.close()
    print(f"| {recipe.model.name}, {recipe.input.size} px | images/s |\n|---|---|")
    for way, rate in rates.items():
        print(f"| {way} | {rate:.0f} |")
    print(f"| an epoch to its steps alone | {rates['steps alone'] / rates['whole']:.2f} |")


if __name__ == "__main__":
    main()

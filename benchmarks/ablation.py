"""What each option of the preprocessing is worth, at home and on a source left out of training.

    python benchmarks/ablation.py --weights WEIGHTS --groups audit/groups.csv -o DIR HOME OTHER...

Each option is measured with logistic regression on frozen ImageNet features (MobileNetV2, 160 pixels, mean over the
places), a stand-in that trains in seconds. `home`: the first collection with its own test folder; the rest: folds of
`leave_source_out`. The strength of the penalty is chosen on validation images. Differences are to the plain
preprocessing on the same images, with 95 % bootstrap intervals over groups. Features are kept in DIR.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from melanoma.data import folds, manifest, splits
from melanoma.data.workers import open_pool
from melanoma.evaluation.metrics import Estimate, Ranking, draw_weights, estimate
from melanoma.files import replacing
from melanoma.inference import images
from melanoma.inference.preprocessing import Preprocessing, prepare, scale

SIZE, CHUNK, SEED = 160, 256, 1
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
OPTIONS: dict[str, dict[str, str]] = {
    "plain": {},
    "frame cropped": {"frame": "crop"},
    "hair removed": {"hair": "remove"},
    "shades of grey": {"colour": "shades_of_grey"},
    "centre of the width": {},
}
Floats = NDArray[np.float32]
Split = dict[str, NDArray[np.int64]]


def load_prepared(job: tuple[str, str]) -> NDArray[np.uint8]:
    """One image as the option prepares it, uint8 (160, 160, 3)."""
    path, option = job
    image = images.load(path)
    if option == "centre of the width" and image.shape[0] == image.shape[1]:
        # These collections were squashed from 4:3 (but HAM10000's were cut): this is what a centre crop leaves.
        edge = image.shape[1] // 8
        image = image[:, edge:-edge]
    return prepare(image, Preprocessing(SIZE, scale="minus_one_one", **OPTIONS[option]))  # type: ignore[arg-type]


def build_network(weights: Path) -> Any:
    """MobileNetV2 without its top, pooled."""
    import keras

    network = keras.applications.MobileNetV2(
        input_shape=(SIZE, SIZE, 3), include_top=False, weights=None, pooling="avg"
    )
    network.load_weights(weights)
    return network


def read_features(paths: Sequence[str], option: str, weights: Path, folder: Path) -> Floats:
    """Features (n, 1280), from the folder if an earlier run left them whole."""
    key = hashlib.sha256(json.dumps([option, OPTIONS[option], list(paths)]).encode()).hexdigest()[:16]
    kept = folder / f"{key}.npy"
    if kept.is_file():
        return np.asarray(np.load(kept))
    network = build_network(weights)
    parts = []
    with open_pool(len(paths)) as pool:
        stream = pool.map(load_prepared, [(path, option) for path in paths], chunksize=32)
        for batch in gather(stream):
            parts.append(network.predict_on_batch(scale(batch, Preprocessing(SIZE, scale="minus_one_one"))))
            print(f"\r{option}: {len(parts) * CHUNK:,} of {len(paths):,}", end="", flush=True)
    print()
    features = np.concatenate(parts)
    with replacing(kept) as temporary, temporary.open("wb") as file:
        np.save(file, features)
    return features


def gather(stream: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Batches of CHUNK images."""
    batch: list[NDArray[np.uint8]] = []
    for image in stream:
        batch.append(image)
        if len(batch) == CHUNK:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def list_splits(args: argparse.Namespace) -> dict[str, tuple[manifest.Manifest, Split]]:
    """`home`, and one for each source left out, as rows of their manifest."""
    groups = splits.load_groups(args.groups)
    home, every = manifest.load(args.data[:1]), manifest.load(args.data)
    found = {"home": (home, take_rows(splits.assign(home, seed=SEED, groups=groups)))}
    for fold in folds.leave_source_out(every, seed=SEED, groups=groups):
        found[f"{fold.source} left out"] = (every, take_rows(fold.splits))
    return found


def take_rows(made: splits.Splits) -> Split:
    """Row numbers of training, validation and test; calibration images train too."""
    name = made.table["split"].to_numpy()
    return {
        "train": np.flatnonzero((name == "train") | (name == "calibration")),
        "val": np.flatnonzero(name == "val"),
        "test": np.flatnonzero(name == "test"),
    }


def fit(x: Floats, y_true: NDArray[np.int64], source: NDArray[np.str_], rows: Split) -> Any:
    """The model with the penalty that validation chose, classes weighing the same within each source."""
    train = rows["train"]
    strata = np.char.add(source[train], y_true[train].astype(str))
    _, code, count = np.unique(strata, return_inverse=True, return_counts=True)
    weight = len(train) / (len(count) * count[code])
    best: tuple[float, Any] = (0.0, None)
    for penalty in PENALTIES:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=2000))
        model.fit(x[train], y_true[train], logisticregression__sample_weight=weight)
        told = roc_auc_score(y_true[rows["val"]], model.decision_function(x[rows["val"]]))
        best = max(best, (float(told), model), key=lambda pair: pair[0])
    return best[1]


def compare(
    y_true: NDArray[np.int64], scores: dict[str, NDArray[np.float64]], group: NDArray[np.int64]
) -> dict[str, tuple[Estimate, Estimate]]:
    """AUROC of each option, and its difference to the plain one on the same draws."""
    rankings = {name: Ranking.of(y_true, told) for name, told in scores.items()}
    once = {name: float(r.auroc(np.ones((1, len(y_true))))[0]) for name, r in rankings.items()}
    parts = [
        {name: r.auroc(weights) for name, r in rankings.items()}
        for weights in draw_weights(group, 1000, SEED)
    ]
    drawn = {name: np.concatenate([part[name] for part in parts]) for name in rankings}
    return {
        name: (
            estimate(once[name], drawn[name]),
            estimate(once[name] - once["plain"], drawn[name] - drawn["plain"]),
        )
        for name in rankings
    }


def main() -> None:
    """Print one table a split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--groups", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    cut = list_splits(args)
    paths = sorted({path for table, _ in cut.values() for path in table.table["path"]})
    place = {path: row for row, path in enumerate(paths)}
    features = {option: read_features(paths, option, args.weights, args.output) for option in OPTIONS}
    for name, (held, rows) in cut.items():
        here = held.table["path"].map(place).to_numpy()
        y_true, source = held.table["y_true"].to_numpy(np.int64), held.table["source"].to_numpy(np.str_)
        groups = splits.find_groups(held, splits.load_groups(args.groups)).to_numpy()[rows["test"]]
        scores = {
            option: fit(x[here], y_true, source, rows).predict_proba(x[here[rows["test"]]])[:, 1]
            for option, x in features.items()
        }
        found = compare(y_true[rows["test"]], scores, np.unique(groups, return_inverse=True)[1])
        print(
            f"\n{name}: {len(rows['test']):,} test images\n\n| option | AUROC | difference |\n|---|---|---|"
        )
        for option, (auroc, gain) in found.items():
            change = "" if option == "plain" else f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
            print(f"| {option} | {auroc} | {change} |", flush=True)


if __name__ == "__main__":
    main()

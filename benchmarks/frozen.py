"""Logistic regression on frozen ImageNet features, judged like any other model.

    python benchmarks/frozen.py --weights WEIGHTS --splits splits.csv -o DIR DATA...
    melanoma evaluate DATA... --splits splits.csv --split test --predictions DIR/predictions.csv

Features and model are those of `ablation.py`'s plain row. Trained on train, the penalty chosen on val, calibrated on
calibration, where the threshold is set as the shipped network's is. Features are kept in DIR.
"""

import argparse
from pathlib import Path

import ablation
import numpy as np

from melanoma.config import load_recipe
from melanoma.data import manifest, splits
from melanoma.data.tables import write_table
from melanoma.inference.calibration import fit_calibration
from melanoma.inference.decision import fit_operating_point


def main() -> None:
    """Write DIR/predictions.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    held = manifest.load(args.data)
    table, name = held.table, splits.load(args.splits, held).table["split"].to_numpy()
    x = ablation.read_features(table["path"].tolist(), "plain", args.weights, args.output)
    y_true, source = table["y_true"].to_numpy(np.int64), table["source"].to_numpy(np.str_)
    rows = {split: np.flatnonzero(name == split) for split in ("train", "val", "calibration")}
    logit = ablation.fit(x, y_true, source, rows).decision_function(x)
    chosen = rows["calibration"]
    calibration = fit_calibration(logit[chosen], y_true[chosen])
    y_prob = calibration.transform(logit)
    point = fit_operating_point(
        y_prob[chosen],
        y_true[chosen],
        load_recipe("default").evaluation.target_sensitivity,
        np.unique(source, return_inverse=True)[1][chosen],
    )
    write_table(
        table[["source", "image_id", "path"]].assign(split=name, y_prob=y_prob, threshold=point.threshold),
        args.output / "predictions.csv",
    )


if __name__ == "__main__":
    main()

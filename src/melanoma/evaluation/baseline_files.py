"""The files that a baseline leaves: what it is, and what it says of every image."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from melanoma.data import splits as splitting
from melanoma.data.manifest import Manifest
from melanoma.data.splits import Splits
from melanoma.data.tables import write_table
from melanoma.evaluation import importance
from melanoma.evaluation.abcd.features import FAMILIES, VERSION
from melanoma.evaluation.abcd.table import NAME as FEATURES
from melanoma.evaluation.baseline import Baseline
from melanoma.files import write_text
from melanoma.inference.decision import Decision
from melanoma.version import __version__

FORMAT_VERSION: Final = 1
ABOUT: Final = "baseline.json"
PREDICTIONS: Final = "predictions.csv"
SPLITS: Final = "splits.csv"
NAMES: Final = (FEATURES, PREDICTIONS, SPLITS, ABOUT)
UNREADABLE: Final = "the image cannot be read"
_LIBRARIES = ("numpy", "opencv-python-headless", "pandas", "pillow", "scikit-image", "scikit-learn", "scipy")


def save(
    baseline: Baseline, manifest: Manifest, splits: Splits, table: pd.DataFrame, folder: Path, *, seed: int
) -> None:
    """Write `predictions.csv`, `splits.csv` and `baseline.json`. Raises OutputError.

    `melanoma evaluate --predictions` reads the first, `--splits` of any command the second.
    """
    write_table(tabulate(baseline, manifest, splits, table), folder / PREDICTIONS)
    splitting.save(splits, folder / SPLITS)
    about = describe(baseline, manifest, splits, seed)
    write_text(folder / ABOUT, json.dumps(about, indent=1, allow_nan=False) + "\n")


def tabulate(baseline: Baseline, manifest: Manifest, splits: Splits, table: pd.DataFrame) -> pd.DataFrame:
    """One row an image: `source, image_id, path, split, y_true, y_prob, threshold, decision, reason, error`."""
    threshold = baseline.operating_point.threshold
    decision = np.where(baseline.y_prob >= threshold, Decision.REFER, Decision.NO_SIGN).astype(object)
    decision[np.isnan(baseline.y_prob)] = Decision.CANNOT_ASSESS
    error = table["error"].to_numpy(dtype=object)
    return manifest.table[["source", "image_id", "path"]].assign(
        split=splits.table["split"].to_numpy(dtype=object),
        y_true=manifest.table["y_true"],
        y_prob=baseline.y_prob,
        threshold=threshold,
        decision=[str(word) for word in decision],
        reason=np.where(error != "", UNREADABLE, "").astype(object),
        error=error,
    )


def describe(baseline: Baseline, manifest: Manifest, splits: Splits, seed: int) -> dict[str, Any]:
    """What `baseline.json` holds; nothing in it depends on the time or the place."""
    return {
        "format_version": FORMAT_VERSION,
        "melanoma_version": __version__,
        "method": "features of the ABCD rule and gradient-boosted trees",
        "seed": seed,
        "sources": [source.name for source in manifest.sources],
        "manifest_digest": manifest.digest,
        "splits_digest": splits.digest,
        "features_version": VERSION,
        "features_meaning": {family: dict(meanings) for family, meanings in FAMILIES.items()},
        **baseline.to_dict(),
        "importance_method": importance.METHOD,
        "versions": {name: version(name) for name in _LIBRARIES},
        "use": "Research only; not a medical device.",
    }

"""Manifests without any file."""

from pathlib import Path

import pandas as pd

from melanoma.data import manifest


def make_manifest(rows, root="/data"):
    """A manifest of rows (dicts) without any file: what is not given is unique or empty."""
    records = []
    for number, values in enumerate(rows):
        record = dict.fromkeys(manifest.COLUMNS, "") | {"source": "a", "age_approx": float("nan")} | values
        record["image_id"] = f"{number:04}"
        record["path"] = f"{root}/{record['source']}/{number:04}.jpg"
        record["content_digest"] = record["content_digest"] or str(number)
        records.append(record)
    table = pd.DataFrame(records).sort_values(["source", "image_id"], kind="stable").reset_index(drop=True)
    sources = tuple(
        manifest.Source(name, Path(root, name), "test", 0) for name in sorted(table["source"].unique())
    )
    return manifest.Manifest(table, "digest", {}, (), sources)


def many(n_other=40, n_melanoma=20, **values):
    return [{"y_true": int(number < n_melanoma), **values} for number in range(n_other + n_melanoma)]

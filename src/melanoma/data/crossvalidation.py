"""K folds: every image is tested once, by a network that has seen nothing of its group."""

import pandas as pd

from melanoma.data import dealing
from melanoma.data.manifest import Manifest
from melanoma.data.splits import Splits, build, find_groups
from melanoma.errors import SplitError


def cross_validate(
    manifest: Manifest,
    folds: int,
    *,
    val: float = 0.1,
    calibration: float = 0.1,
    seed: int,
    groups: pd.DataFrame | None = None,
) -> list[Splits]:
    """One set of splits a fold; its images are `test`, the others train, choose (`val`) and calibrate.

    Groups are dealt whole, so that each fold gets its share of each class of each source. Given test images, and what
    shares a group with them, are excluded from every fold: they stay for the end. `val` and `calibration` are shares of
    what a fold does not test. Raises SplitError.
    """
    if folds < 2:
        raise SplitError(f"{folds} folds leave nothing to train on; give at least 2")
    table, group = manifest.table, find_groups(manifest, groups)
    kept_apart = group.isin(group[table["given_split"] == "test"])
    pool, pool_group = table[~kept_apart].assign(given_split=""), group[~kept_apart]
    fold = dealing.deal_folds(pool, pool_group, folds, seed)
    made = []
    for number in range(folds):
        given = pool.assign(given_split=pool["given_split"].mask(fold == number, "test"))
        split = dealing.deal(given, pool_group, {"val": val, "calibration": calibration, "test": 0.0}, seed)
        made.append(build(manifest, group, split.reindex(table.index, fill_value="excluded")))
    return made

"""Which image is for what: train, val, calibration and test, with groups that never cross."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from melanoma.data import dealing
from melanoma.data.manifest import Manifest
from melanoma.data.tables import read_table, write_table
from melanoma.errors import SplitError

SPLITS = ("train", "val", "calibration", "test", "excluded")
COLUMNS = ("source", "image_id", "path", "group_id", "split")
_KEY = ["source", "image_id"]
_PUBLISHED_ID = r"(?:IP|IL|ISIC|HAM)_\d{5,}"


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """One row an image, aligned with the manifest's rows.

    `table` has COLUMNS; `split` is one of SPLITS, `excluded` being images that would carry a group across, such
    as those whose group touches a given test folder. `digest`: sha256 over source, image_id and split.
    """

    table: pd.DataFrame
    digest: str


def assign(
    manifest: Manifest,
    *,
    val: float = 0.1,
    calibration: float = 0.1,
    test: float = 0.15,
    seed: int,
    groups: pd.DataFrame | None = None,
) -> Splits:
    """Deal the groups of every source, stratified by melanoma, so that each split gets its share of images.

    Shares in [0, 1), the rest is train. A source that brings test (or val) images keeps them and gives no
    further share to that split. A group is what shares a patient or lesion within a source, or the same bytes
    anywhere, or a `group_id` in `groups` (see `load_groups`). The same for the same seed, whatever the order
    of the rows. Raises SplitError.
    """
    group = find_groups(manifest, groups)
    shares = {"val": val, "calibration": calibration, "test": test}
    return build(manifest, group, dealing.deal(manifest.table, group, shares, seed))


def build(manifest: Manifest, group: "pd.Series[str]", split: "pd.Series[str]") -> Splits:
    """Splits from the group and the split of every row.

    Raises AssertionError, our own failure, when a group crosses splits or a given test image is misused.
    """
    rows = _tabulate(manifest, group, split)
    problem = _find_misuse(rows, manifest.table["given_split"])
    if problem:
        raise AssertionError(f"the dealing {problem}")
    return Splits(rows, _digest(rows))


def load_groups(path: Path) -> pd.DataFrame:
    """Groups of near-duplicates: columns `source`, `group_id`, and `image_id` or `path`, all text.

    A path is absolute or relative to its source's folder. Raises SplitError.
    """
    table = read_table(path, error=SplitError)
    missing = [name for name in ("source", "group_id") if name not in table]
    if not {"image_id", "path"} & set(table.columns):
        missing.append("image_id or path")
    if missing:
        raise SplitError(f"{path} lacks columns: {', '.join(missing)}; found: {', '.join(table.columns)}")
    return table


def save(splits: Splits, path: Path) -> None:
    """Write the splits as CSV. Raises OutputError."""
    write_table(splits.table, path)


def load(path: Path, manifest: Manifest) -> Splits:
    """Read saved splits and check that they fit the manifest.

    Raises SplitError when an image is missing, foreign or repeated, a split's name is unknown, a group
    crosses splits, or a given test image is used for anything else.
    """
    table = read_table(path, error=SplitError)
    missing = [name for name in (*_KEY, "split") if name not in table]
    if missing:
        raise SplitError(f"{path} lacks columns: {', '.join(missing)}; found: {', '.join(table.columns)}")
    rows = _align(table, manifest.table, path)
    group = find_groups(manifest, rows if "group_id" in rows else None)
    rows = _tabulate(manifest, group, rows["split"])
    problem = _find_misuse(rows, manifest.table["given_split"])
    if problem:
        raise SplitError(f"{path} {problem}; split again")
    return Splits(rows, _digest(rows))


def find_groups(manifest: Manifest, groups: pd.DataFrame | None = None) -> "pd.Series[str]":
    """The group of every row, named after the first image in it; see `assign` for what makes a group."""
    table = manifest.table
    keys = [scope_ids(table, "patient_id"), scope_ids(table, "lesion_id"), table["content_digest"]]
    if groups is not None:
        keys.append(_match_groups(manifest, groups))
    component = find_components(len(table), np.concatenate([link(key) for key in keys]))
    names = table["source"] + "/" + table["image_id"]
    return names.groupby(component).transform("min")


def link(key: "pd.Series[str]") -> NDArray[np.int64]:
    """Row number pairs (n, 2) that tie the first row with a key to each row that has it; '' is no key."""
    rows = pd.Series(np.arange(len(key)), index=key.index)[key != ""]
    first = rows.groupby(key[key != ""]).transform("first")
    return np.stack([first, rows], axis=1).astype(np.int64)


def find_components(count: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the connected component of each of `count` nodes (count,), from edges (m, 2)."""
    weights = np.ones(len(edges), dtype=np.int8)
    graph = coo_array((weights, (edges[:, 0], edges[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def scope_ids(table: pd.DataFrame, name: str) -> "pd.Series[str]":
    """Patient or lesion ids such that equal ones mean the same, '' where unknown.

    The ISIC Archive's and HAM10000's own ids mean the same in every source, all others only within theirs.
    """
    scoped = (table["source"] + "\0" + table[name]).mask(
        table[name].str.fullmatch(_PUBLISHED_ID), table[name]
    )
    return scoped.where(table[name] != "", "")


def _match_groups(manifest: Manifest, groups: pd.DataFrame) -> "pd.Series[str]":
    """Each manifest row's `group_id` in the groups table, '' where it has none.

    Rows of sources that the manifest lacks are passed over. Raises SplitError for other strangers.
    """
    table = manifest.table
    groups = groups[groups["source"].isin(table["source"].unique()) & (groups["group_id"] != "")]
    if groups.empty:
        raise SplitError(
            f"the groups name none of the sources {', '.join(map(repr, table['source'].unique()))};"
            " give each folder the name that it has there, as NAME=PATH"
        )
    by_id = "image_id" in groups
    names = groups["image_id"].tolist() if by_id else _absolute(groups, manifest)
    keys = pd.MultiIndex.from_arrays([groups["source"], names])
    known = pd.MultiIndex.from_frame(table[["source", "image_id" if by_id else "path"]])
    strangers = ~keys.isin(known)
    if strangers.any():
        source, name = keys[int(strangers.argmax())]
        raise SplitError(f"the groups name {name!r} of {source!r}, which is not among the images")
    found = pd.Series(groups["group_id"].to_numpy(), index=keys)
    if (found.groupby(level=[0, 1]).nunique() > 1).any():
        raise SplitError("the groups put one image into two groups; join these groups")
    group_of = found[~keys.duplicated()].to_dict()
    return pd.Series([group_of.get(key, "") for key in known], index=table.index, dtype=object)


def _absolute(groups: pd.DataFrame, manifest: Manifest) -> list[str]:
    """Paths as the manifest has them."""
    roots = {source.name: source.root for source in manifest.sources}
    pairs = zip(groups["source"], groups["path"], strict=True)
    return [os.path.normpath(roots[source] / path) for source, path in pairs]


def _align(rows: pd.DataFrame, table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The file's rows in the manifest's order. Raises SplitError unless each image is there exactly once."""
    unknown = rows.loc[~rows["split"].isin(SPLITS), "split"]
    if len(unknown):
        raise SplitError(f"{path} has the split {unknown.iloc[0]!r}; use one of {', '.join(SPLITS)}")
    found, wanted = pd.MultiIndex.from_frame(rows[_KEY]), pd.MultiIndex.from_frame(table[_KEY])
    for what, strangers in (
        ("names twice", found[found.duplicated()]),
        ("does not name", wanted.difference(found)),
        ("names an image that the data lack:", found.difference(wanted)),
    ):
        if len(strangers):
            source, image_id = strangers[0]
            raise SplitError(
                f"{path} does not fit the data: it {what} {image_id!r} of {source!r}; split again"
            )
    aligned = rows.iloc[found.get_indexer(wanted)]
    return aligned.set_index(table.index)


def _tabulate(manifest: Manifest, group: "pd.Series[str]", split: "pd.Series[str]") -> pd.DataFrame:
    rows = manifest.table[["source", "image_id", "path"]].assign(group_id=group, split=split.astype(str))
    return rows[list(COLUMNS)]


def _find_misuse(rows: pd.DataFrame, given_split: "pd.Series[str]") -> str:
    """What is wrong when a group lies in two splits or a given test image is not kept for testing, else ''."""
    used = rows[rows["split"] != "excluded"]
    crossing = used.groupby("group_id")["split"].nunique() > 1
    if crossing.any():
        group = used[used["group_id"] == crossing.idxmax()].drop_duplicates("split")
        (one, first), (two, second) = group[["image_id", "split"]].iloc[:2].to_numpy()
        return f"puts one patient, lesion or picture into two splits: {one!r} in {first}, {two!r} in {second}"
    misused = rows[(given_split == "test") & ~rows["split"].isin(["test", "excluded"])]
    if len(misused):
        return f"uses the given test image {misused['image_id'].iloc[0]!r} for {misused['split'].iloc[0]}"
    return ""


def _digest(rows: pd.DataFrame) -> str:
    lines = [json.dumps(row) for row in zip(rows["source"], rows["image_id"], rows["split"], strict=True)]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

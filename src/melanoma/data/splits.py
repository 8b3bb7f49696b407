"""Which image is for what: train, val, calibration and test, with groups that never cross."""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from melanoma.data.manifest import Manifest
from melanoma.data.tables import read_table, write_table
from melanoma.errors import SplitError

SPLITS = ("train", "val", "calibration", "test", "excluded")
COLUMNS = ("source", "image_id", "path", "group_id", "split")
_KEY = ["source", "image_id"]


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """One row an image, aligned with the manifest's rows.

    `table` has COLUMNS; `split` is one of SPLITS, `excluded` being images whose group touches a given test
    folder. `digest`: sha256 over source, image_id and split.
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
    shares = _check_shares({"val": val, "calibration": calibration, "test": test})
    table = manifest.table
    group = find_groups(manifest, groups)
    split = _fix_given(table, group)
    dealt = _summarise(table, group, split)
    dealt["split"] = _deal(dealt, shares, seed)
    asked = [name for name, share in shares.items() if share > 0]
    dealt = _fill_empty(dealt, asked, set(zip(split, table["y_true"], strict=True)))
    split = split.where(split != "", group.map(dealt.set_index("group_id")["split"]))
    if not (split == "train").any():
        raise SplitError("no image is left for training: every group touches the given test or val images")
    rows = table[["source", "image_id", "path"]].assign(group_id=group, split=split.astype(str))
    return Splits(rows[list(COLUMNS)], _digest(rows))


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
    rows = manifest.table[["source", "image_id", "path"]].assign(group_id=group, split=rows["split"])
    _check_crossing(rows, manifest.table["given_split"], path)
    return Splits(rows[list(COLUMNS)], _digest(rows))


def find_groups(manifest: Manifest, groups: pd.DataFrame | None = None) -> "pd.Series[str]":
    """The group of every row, named after the first image in it; see `assign` for what makes a group."""
    table = manifest.table
    keys = [_key(table, "patient_id"), _key(table, "lesion_id"), table["content_digest"]]
    if groups is not None:
        keys.append(_match_groups(manifest, groups))
    edges = np.concatenate([_links(key) for key in keys], axis=1)
    weights = np.ones(edges.shape[1], dtype=np.int8)
    graph = coo_array((weights, (edges[0], edges[1])), shape=(len(table), len(table)))
    component = pd.Series(connected_components(graph, directed=False)[1], index=table.index)
    names = table["source"] + "/" + table["image_id"]
    return names.groupby(component).transform("min")


def _check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Train's share is what the others leave."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise SplitError(f"the share of {name} is {share:g}; use a number from 0 to below 1")
    total = sum(shares.values())
    if total >= 1:
        raise SplitError(f"val, calibration and test take {total:g} of the images; leave some for train")
    return {"train": 1 - total, **shares}


def _key(table: pd.DataFrame, name: str) -> "pd.Series[str]":
    """Ids that mean something only within their source, '' where unknown."""
    return (table["source"] + "\0" + table[name]).where(table[name] != "", "")


def _links(key: "pd.Series[str]") -> NDArray[np.int64]:
    """Row number pairs (2, n) that tie each row with a key to the first row that has it."""
    rows = pd.Series(np.arange(len(key)), index=key.index)[key != ""]
    return np.stack([rows.to_numpy(), rows.groupby(key[key != ""]).transform("first").to_numpy()])


def _match_groups(manifest: Manifest, groups: pd.DataFrame) -> "pd.Series[str]":
    """Each manifest row's `group_id` in the groups table, '' where it has none.

    Rows of sources that the manifest lacks are passed over. Raises SplitError for other strangers.
    """
    table = manifest.table
    groups = groups[groups["source"].isin(table["source"]) & (groups["group_id"] != "")]
    if groups.empty:
        raise SplitError(
            f"the groups name none of the sources {', '.join(map(repr, table['source'].unique()))}"
        )
    by_id = "image_id" in groups
    index = pd.MultiIndex.from_frame(table[["source", "image_id" if by_id else "path"]])
    names = groups["image_id"] if by_id else _absolute(groups, manifest)
    wanted = pd.MultiIndex.from_arrays([groups["source"], names])
    rows = index.get_indexer(wanted)
    if (rows < 0).any():
        source, name = wanted[int((rows < 0).argmax())]
        raise SplitError(f"the groups name {name!r} of {source!r}, which is not among the images")
    matched = pd.DataFrame({"row": rows, "group_id": groups["group_id"].to_numpy()})
    if (matched.groupby("row")["group_id"].nunique() > 1).any():
        raise SplitError("the groups put one image into two groups; join these groups")
    found = matched.drop_duplicates("row").set_index("row")["group_id"]
    return pd.Series(found.reindex(range(len(table))).fillna("").to_numpy(), index=table.index)


def _absolute(groups: pd.DataFrame, manifest: Manifest) -> list[str]:
    """Paths as the manifest has them."""
    roots = {source.name: source.root for source in manifest.sources}
    pairs = zip(groups["source"], groups["path"], strict=True)
    return [os.path.normpath(roots[source] / path) for source, path in pairs]


def _fix_given(table: pd.DataFrame, group: "pd.Series[str]") -> "pd.Series[str]":
    """Splits that the folders decide: given test, what its groups drag along, given val; else ''."""
    given = table["given_split"]
    touches_test = group.isin(group[given == "test"])
    touches_val = group.isin(group[given == "val"])
    split = pd.Series("", index=table.index, dtype=object)
    split[touches_val] = "val"
    split[touches_test] = "excluded"
    split[given == "test"] = "test"
    return split


def _summarise(table: pd.DataFrame, group: "pd.Series[str]", split: "pd.Series[str]") -> pd.DataFrame:
    """The groups still to be dealt: source, size in images, melanoma, and which splits it may not go to.

    A group over several sources belongs to one that brings its own test or val images, if there is one, so
    that such a source never gets a further share.
    """
    brings = {name: set(table.loc[table["given_split"] == name, "source"]) for name in ("test", "val")}
    rows = table[["source", "y_true"]].assign(group_id=group)[split == ""]
    for name, sources in brings.items():
        rows[f"no_{name}"] = rows["source"].isin(sources)
    found = rows.groupby("group_id", sort=True).agg(
        source=("source", "min"),
        size=("y_true", "size"),
        melanoma=("y_true", "max"),
        no_test=("no_test", "max"),
        no_val=("no_val", "max"),
    )
    return found.reset_index()


def _deal(groups: pd.DataFrame, shares: Mapping[str, float], seed: int) -> "pd.Series[str]":
    """A split for every group, stratum by stratum."""
    split = pd.Series("", index=groups.index, dtype=object)
    for key, stratum in groups.groupby(["source", "melanoma", "no_test", "no_val"]):
        source, melanoma, no_test, no_val = cast("tuple[str, int, bool, bool]", key)
        rng = np.random.default_rng([seed, zlib.crc32(source.encode()), int(melanoma)])
        order = stratum.index.to_numpy()[rng.permutation(len(stratum))]
        order = order[np.argsort(-groups.loc[order, "size"].to_numpy(), kind="stable")]
        closed = {name for name, shut in (("test", no_test), ("val", no_val)) if shut}
        dealt = _deal_stratum(groups.loc[order, "size"].tolist(), shares, closed)
        split[order] = np.array(dealt, dtype=object)
    return split


def _deal_stratum(sizes: Sequence[int], shares: Mapping[str, float], closed: set[str]) -> list[str]:
    """Largest group first, each to the split that it leaves least full, measured by the split's share.

    What a closed split would have got goes to train.
    """
    names = [name for name, share in shares.items() if share > 0 and name not in closed]
    share = np.array([shares[name] for name in names])
    share[0] = 1 - share[1:].sum()  # train
    dealt = np.zeros(len(names))
    result = []
    for size in sizes:
        best = int(np.argmin((dealt + size) / share))
        dealt[best] += size
        result.append(names[best])
    return result


def _fill_empty(groups: pd.DataFrame, asked: Sequence[str], given: set[tuple[str, int]]) -> pd.DataFrame:
    """Move the smallest group of a class into each asked split that has none.

    `given`: the (split, class) pairs that given images fill. Raises SplitError on too few groups.
    """
    groups = groups.copy()
    for melanoma, meaning in ((1, "melanoma"), (0, "other")):
        own = groups[groups["melanoma"] == melanoma]
        needed = [name for name in asked if (name, melanoma) not in given and _is_open(groups, name).any()]
        for split in needed:
            counts = groups.loc[own.index, "split"].value_counts()
            if counts.get(split, 0):
                continue
            spare = own[(groups.loc[own.index, "split"].map(counts) > 1) & _is_open(own, split)]
            if spare.empty:
                raise SplitError(
                    f"{len(own)} groups of {meaning} images cannot fill {len(needed)} splits"
                    f" ({', '.join(needed)}); add images or set a share to 0"
                )
            groups.loc[spare["size"].idxmin(), "split"] = split
    return groups


def _is_open(groups: pd.DataFrame, split: str) -> "pd.Series[bool]":
    """Whether a group's sources leave it free to go to a split."""
    return ~groups[f"no_{split}"] if f"no_{split}" in groups else pd.Series(True, index=groups.index)


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


def _check_crossing(rows: pd.DataFrame, given_split: "pd.Series[str]", path: Path) -> None:
    """Raise SplitError when a group lies in two splits or a given test image is misused."""
    used = rows[rows["split"] != "excluded"]
    crossing = used.groupby("group_id")["split"].nunique() > 1
    if crossing.any():
        group = used[used["group_id"] == crossing.idxmax()].drop_duplicates("split")
        (one, first), (two, second) = group[["image_id", "split"]].iloc[:2].to_numpy()
        raise SplitError(
            f"{path} puts one patient, lesion or picture into two splits: {one!r} in {first},"
            f" {two!r} in {second}; split again"
        )
    misused = rows[(given_split == "test") & ~rows["split"].isin(["test", "excluded"])]
    if len(misused):
        raise SplitError(
            f"{path} uses the given test image {misused['image_id'].iloc[0]!r} for"
            f" {misused['split'].iloc[0]}; split again"
        )


def _digest(rows: pd.DataFrame) -> str:
    lines = [json.dumps(row) for row in zip(rows["source"], rows["image_id"], rows["split"], strict=True)]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

"""Which group goes to which split: shares held a source and class, groups dealt whole."""

import zlib
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd

from melanoma.errors import SplitError


def deal(
    table: pd.DataFrame, group: "pd.Series[str]", shares: Mapping[str, float], seed: int
) -> "pd.Series[str]":
    """The split of every row of a manifest's table; see `splits.assign` for the rules.

    `group` (n,), aligned with the table; `shares` of val, calibration and test. Raises SplitError.
    """
    shares = check_shares(shares)
    split = _fix_given(table, group)
    dealt = _summarise(table, group, split)
    dealt["split"] = _deal_strata(dealt, shares, seed)
    asked = [name for name, share in shares.items() if share > 0]
    dealt = _fill_empty(dealt, asked, set(zip(split, table["y_true"], strict=True)))
    split = split.where(split != "", group.map(dealt.set_index("group_id")["split"]))
    if not (split == "train").any():
        raise SplitError("no image is left for training: every group touches the given test or val images")
    return split.astype(str)


def deal_folds(table: pd.DataFrame, group: "pd.Series[str]", folds: int, seed: int) -> "pd.Series[int]":
    """The fold of every row, 0 to folds - 1: equal shares of each class of each source, groups whole.

    Raises SplitError when a class has too few groups to be in every fold.
    """
    dealt = _summarise(table, group, pd.Series("", index=table.index))
    for melanoma, meaning in ((1, "melanoma"), (0, "other")):
        count = int((dealt["melanoma"] == melanoma).sum())
        if count < folds:
            raise SplitError(
                f"{count} groups of {meaning} images cannot fill {folds} folds; give fewer --folds"
            )
    names = {str(number): 1 / folds for number in range(folds)}
    dealt["fold"] = _deal_strata(dealt, names, seed).astype(int)
    return group.map(dealt.set_index("group_id")["fold"]).astype(int)


def check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """The shares with train first, which gets what the others leave. Raises SplitError."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise SplitError(f"the share of {name} is {share:g}; use a number from 0 to below 1")
    total = sum(shares.values())
    if total >= 1:
        raise SplitError(f"val, calibration and test take {total:g} of the images; leave some for train")
    return {"train": 1 - total, **shares}


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


def _deal_strata(groups: pd.DataFrame, shares: Mapping[str, float], seed: int) -> "pd.Series[str]":
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

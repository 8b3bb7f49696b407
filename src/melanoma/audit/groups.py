"""Groups of images that must stay together, made of pairs without letting a chain of weak links run away."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.data.splits import find_components

Ints = NDArray[np.int64]

SURE = 0.84  # score from which one pair alone joins two groups
_SUPPORT = 1 / 3  # share of the pairs between two groups that must have been found when each is weaker
_SMALL = 4  # images of two groups together up to which any pair joins them


def join(count: int, pairs: pd.DataFrame) -> Ints:
    """Group number of each of `count` images (count,) from `pairs` with `first, second, score`.

    Sure pairs always join. Weaker ones, the best first, join two groups only if enough of the pairs between
    them were found, so that look-alikes do not chain strangers together.
    """
    ordered = pairs.sort_values("score", ascending=False, kind="stable")
    edges = ordered[["first", "second"]].to_numpy(dtype=np.int64).reshape(-1, 2)
    sure = ordered["score"].to_numpy(dtype=np.float64) >= SURE
    group = find_components(count, edges[sure])
    members = _list_members(group)
    linked: dict[int, set[int]] = {}
    for first, second in edges.tolist():
        linked.setdefault(first, set()).add(second)
        linked.setdefault(second, set()).add(first)
    for first, second in edges[~sure].tolist():
        ours, theirs = int(group[first]), int(group[second])
        if ours == theirs or not _is_supported(members[ours], members[theirs], linked):
            continue
        group[members[theirs]] = ours
        members[ours] += members.pop(theirs)
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def _list_members(group: Ints) -> dict[int, list[int]]:
    rows = pd.Series(np.arange(len(group))).groupby(group).agg(list)
    return {int(number): list(found) for number, found in rows.items()}  # type: ignore[call-overload]


def _is_supported(ours: list[int], theirs: list[int], linked: dict[int, set[int]]) -> bool:
    if len(ours) + len(theirs) <= _SMALL:
        return True
    found = sum(len(linked.get(row, set()).intersection(theirs)) for row in ours)
    return found >= _SUPPORT * len(ours) * len(theirs)

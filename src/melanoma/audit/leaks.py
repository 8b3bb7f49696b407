"""What repeats where it should not: across splits, across sources, across labels."""

from collections.abc import Iterator, Sequence
from itertools import combinations, combinations_with_replacement

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.audit.duplicates import VIEW
from melanoma.audit.result import Leak, Overlap
from melanoma.data.splits import find_components, link, scope_ids

EXAMPLES = 8
_LABELS = {0: "other", 1: "melanoma"}
_ORDER = {"train": 1, "val": 2, "test": 3}

Ints = NDArray[np.int64]


def find_overlaps(images: pd.DataFrame, pairs: pd.DataFrame, joined: Ints) -> tuple[Overlap, ...]:
    """What each source repeats of itself and of every other; see `Audit` for the tables.

    `joined` (n,): the number of each image's group, made of pairs alone (see `groups.join`). An image takes part
    when its group holds one of the other source, or a second one of its own.
    """
    source = images["source"].to_numpy()
    melanoma = images["y_true"].fillna(0).to_numpy() == 1
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    found = []
    for one, other in combinations_with_replacement(sorted(set(source)), 2):
        ordered = (source[first] == one) & (source[second] == other)
        swapped = (source[first] == other) & (source[second] == one)
        chosen = ordered | swapped
        needed = 2 if one == other else 1
        met = [pd.Series(source == name).groupby(joined).transform("sum").to_numpy() for name in (one, other)]
        tied = (met[0] >= needed) & (met[1] >= needed)
        ours, theirs = (tied & (source == name) for name in (one, other))
        views = int((pairs["kind"].to_numpy()[chosen] == VIEW).sum())
        numbers = (int(chosen.sum()) - views, views, int(ours.sum()), int(theirs.sum()))
        found.append(
            Overlap(one, other, *numbers, int((melanoma & ours).sum()), int((melanoma & theirs).sum()))
        )
    return tuple(found)


def find_leaks(images: pd.DataFrame, pairs: pd.DataFrame) -> tuple[Leak, ...]:
    """Every tie that crosses given splits, sources or labels; see `Audit` for the tables.

    A looser tie that crosses no more than the one before it is left out.
    """
    label = images["y_true"].map(_LABELS).fillna("")
    sides = (("splits", images["given_split"]), ("sources", images["source"]), ("labels", label))
    leaks: dict[tuple[str, str, str], list[Leak]] = {}
    for by, tied in _tie(images, pairs):
        component = find_components(len(images), tied)
        for across, side in sides:
            for leak in _find_crossing(across, by, component, side):
                known = leaks.setdefault((across, leak.first, leak.second), [])
                if not known or known[-1].images < leak.images:
                    known.append(leak)
    return tuple(leak for found in leaks.values() for leak in found)


def _tie(images: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[tuple[str, Ints]]:
    """Edges (m, 2) between images of one photograph, one lesion, one patient."""
    copies = pairs.loc[pairs["kind"] != VIEW, ["first", "second"]].to_numpy(dtype=np.int64)
    every = pairs[["first", "second"]].to_numpy(dtype=np.int64)
    yield "photograph", copies
    lesions = np.concatenate([every, _tie_by_id(images, "lesion_id")])
    yield "lesion", lesions
    yield "patient", np.concatenate([lesions, _tie_by_id(images, "patient_id")])


def _tie_by_id(images: pd.DataFrame, column: str) -> Ints:
    return link(scope_ids(images.astype({column: str}), column))


def _find_crossing(across: str, by: str, component: Ints, side: "pd.Series[str]") -> list[Leak]:
    """Pairs of sides that one component has images on; images without a side are passed over."""
    table = pd.DataFrame({"component": component, "side": side.to_numpy()})
    table = table[table["side"] != ""]
    crossing = table.groupby("component")["side"].nunique()
    table = table[table["component"].isin(crossing.index[crossing > 1])].reset_index(names="row")
    first = table.groupby(["component", "side"], sort=True)["row"].agg(["first", "size"]).reset_index()
    found: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for _, rows in first.groupby("component"):
        sides: list[tuple[str, int, int]] = list(zip(rows["side"], rows["first"], rows["size"], strict=True))
        sides.sort(key=lambda side: (_ORDER.get(side[0], 0), side[0]))
        for (one, row, size), (other, other_row, other_size) in combinations(sides, 2):
            found.setdefault((one, other), []).append((int(row), int(other_row), int(size + other_size)))
    return [_make_leak(across, by, pair, groups) for pair, groups in sorted(found.items())]


def _make_leak(across: str, by: str, sides: tuple[str, str], groups: Sequence[tuple[int, int, int]]) -> Leak:
    examples = tuple((first, second) for first, second, _ in groups[:EXAMPLES])
    return Leak(across, by, *sides, len(groups), sum(size for *_, size in groups), examples)

"""Images that show the same photograph, and photographs that show the same lesion.

Equal pixels are found by their digest, everything else by candidates that a registration confirms. A pair is a
*copy* when one image is the other, resized, squashed, cropped, turned, mirrored, compressed or recoloured; it
is another *view* when the same lesion was photographed again.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.audit import matcher
from melanoma.audit.candidates import align, find_candidates
from melanoma.audit.matcher import Found
from melanoma.audit.registration import is_plain, prepare
from melanoma.data.splits import find_components

SAME_BYTES, SAME_PIXELS, COPY, VIEW = "same_bytes", "same_pixels", "copy", "view"
COLUMNS = ("first", "second", "kind", "score", "change")
_TYPES = {"first": "int64", "second": "int64", "kind": "object", "score": "float64", "change": "object"}

COPY_SCORE = 0.84  # of images that lie on each other without turning or shearing
COPY_SCORE_ANYHOW = 0.93  # whatever the registration did
VIEW_SCORE = 0.62
_STRAIGHT = 1.0  # pixels of skew that rounding may bring
_WHOLE = 0.97  # share of a side from which a crop counts as none
_RECOLOURED = 12.0  # grey levels between mean colours from which they count as another
_LISTED = 6  # images of equal content up to which all their pairs are listed
_COMPLETED = 12  # images of a component up to which all their pairs are compared
_TURNS = (
    "",
    "mirrored",
    "mirrored",
    "half turn",
    "mirrored, quarter turn",
    "quarter turn",
    "quarter turn",
    "mirrored, quarter turn",
)

Progress = Callable[[str, int, int], None]


def find_pairs(
    grey: NDArray[np.uint8],
    colour: NDArray[np.uint8],
    content: Sequence[str],
    pixels: Sequence[str],
    *,
    work: Path | None = None,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, int]:
    """Every pair that was found among n images, and how many images are too plain to be recognised.

    `grey` uint8 (n, 128, 128); `colour` uint8 (n, 32, 32, 3), the frame filled in; `content` and `pixels`:
    digests of the file's bytes and of the decoded pixels, (n,). The table has COLUMNS: row numbers with
    `first` < `second`; `score` in 0..1, 1 for equal pixels; `change` says in words what was done to one of
    them. What processes share lies in a folder below `work` meanwhile. `progress` is called with a stage, the
    number done and of all.
    """
    tell = progress or (lambda *_: None)
    family = pd.factorize(np.asarray(pixels, dtype=object))[0]
    leaders = np.unique(family, return_index=True)[1]
    levels = prepare(grey, leaders)
    plain = is_plain(levels)
    found: list[Found] = []
    rich = np.flatnonzero(~plain)
    if len(rich) > 1:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            matcher.keep(Path(folder), grey, leaders, levels)
            found = _search(Path(folder), colour[leaders[rich]], rich, tell)
    members = pd.Series(np.arange(len(family))).groupby(family).agg(list).tolist()
    rows = [*_list_equal(content, members), *_list_found(found, members, colour)]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(_TYPES)
    return table.sort_values(["first", "second"], ignore_index=True), int(plain[family].sum())


def _search(folder: Path, colour: NDArray[np.uint8], rich: NDArray[np.int64], tell: Progress) -> list[Found]:
    """Pairs among the images `rich` of those kept in `folder`, `colour` being theirs."""
    near = find_candidates(colour, progress=lambda *count: tell("looking for pairs", *count))
    found = _keep(matcher.compare(folder, near, rich, lambda *count: tell("comparing pairs", *count)))
    missing = align(colour, _list_missing(found, rich))
    return found + _keep(
        matcher.compare(folder, missing, rich, lambda *count: tell("completing groups", *count))
    )


def _classify(found: Found) -> str:
    """Copy, another view, or '' when it is neither."""
    straight = found.match.skew <= _STRAIGHT
    if found.match.score >= (COPY_SCORE if straight else COPY_SCORE_ANYHOW):
        return COPY
    return VIEW if found.match.score >= VIEW_SCORE else ""


def _keep(found: Sequence[Found]) -> list[Found]:
    return [pair for pair in found if _classify(pair)]


def _list_missing(found: Sequence[Found], rich: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs (m, 2) of positions in `rich` that small components hold and that were not found."""
    pairs = {(min(pair.first, pair.second), max(pair.first, pair.second)) for pair in found}
    component = find_components(int(rich.max()) + 1, np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2))
    sizes = np.bincount(component)
    chosen = np.flatnonzero((sizes[component] > 2) & (sizes[component] <= _COMPLETED))
    groups = pd.Series(chosen).groupby(component[chosen]).agg(list)
    missing = [pair for group in groups for pair in combinations(group, 2) if pair not in pairs]
    return np.searchsorted(rich, np.array(missing, dtype=np.int64).reshape(-1, 2))


def _list_equal(
    content: Sequence[str], members: Sequence[list[int]]
) -> Iterator[tuple[int, int, str, float, str]]:
    """Images of equal pixels: each with each, or, where they are many, each with the first."""
    for family in members:
        many = len(family) > _LISTED
        for first, second in product(family[:1], family[1:]) if many else combinations(family, 2):
            same = content[first] == content[second]
            yield first, second, SAME_BYTES if same else SAME_PIXELS, 1.0, ""


def _list_found(
    found: Sequence[Found], members: Sequence[list[int]], colour: NDArray[np.uint8]
) -> Iterator[tuple[int, int, str, float, str]]:
    """What was found of the first of each family, said of all its members."""
    for pair in found:
        kind, change = _classify(pair), _describe(pair, members, colour)
        ours, theirs = members[pair.first], members[pair.second]
        if len(ours) * len(theirs) > _LISTED**2:
            ours, theirs = ours[:1], theirs[:1]
        for one, other in product(ours, theirs):
            yield min(one, other), max(one, other), kind, round(pair.match.score, 4), change


def _describe(pair: Found, members: Sequence[list[int]], colour: NDArray[np.uint8]) -> str:
    """What was done to one of the two, in words."""
    words = [_TURNS[pair.turn]]
    width, height = pair.match.scale
    if min(width, height) < _WHOLE or max(width, height) > 1 / _WHOLE:
        words.append(f"cropped to {min(width, 1 / width):.0%} x {min(height, 1 / height):.0%}")
    first, second = (colour[members[row][0]].mean(axis=(0, 1)) for row in (pair.first, pair.second))
    if np.abs(first - second).max() > _RECOLOURED:
        words.append("recoloured")
    return ", ".join(word for word in words if word)

"""Folds that hold out one source, or all but one: how good is a network on images from elsewhere?"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from melanoma.data import dealing
from melanoma.data.manifest import Manifest
from melanoma.data.splits import Splits, build, find_groups
from melanoma.data.tables import write_table
from melanoma.errors import SplitError
from melanoma.files import replacing

MIN_TRAIN = 100
Left = Literal["training", "held_out", "neither"]
_MAX_NAME = 40
_CONDITION: dict[Left, str] = {
    "training": "if the images it shares leave training, ",
    "held_out": "if they leave it, ",
    "neither": "",
}


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One source held out for testing.

    `left`: the side that gave up its images of groups that lie on both, `neither` where there are none;
    `n_left`: how many, by `y_true`. `reason` (n,), aligned with the rows of `splits`, why an image is
    excluded: `left training`, `left held_out`, `given test` (another source's own test image, or one of its
    group), else ''.
    """

    source: str
    splits: Splits
    left: Left
    n_left: dict[int, int]
    reason: "pd.Series[str]"


def leave_source_out(
    manifest: Manifest,
    *,
    val: float = 0.1,
    calibration: float = 0.1,
    seed: int,
    groups: pd.DataFrame | None = None,
    min_train: int = MIN_TRAIN,
    tell: Callable[[str], None] | None = None,
) -> list[Fold]:
    """One fold a source, in alphabetical order, in which that source is `test` and the others are the rest.

    All images of the held-out source are for testing, whatever folder they were given in. The others are
    dealt into train, val and calibration as `splits.assign` does it, except for their own test images and
    what shares a group with these: nothing may be trained on them or chosen with them, and this fold tests
    on another source, so they are excluded.

    Images that share a group with an image on the other side leave training. Where that leaves under
    `min_train` images of a class in train, they stay, and the held-out source's images of these groups are
    excluded instead; one decision a fold, for both classes. Where that leaves nothing to test on, the first
    way is taken with what training has.

    A source cannot be held out when train, val (if its share is above 0), calibration (so too) or test would
    lack a class; `tell` hears of it, and the other folds are made. Raises SplitError when none can be, when
    there is one source only, or one folder under two names.
    """
    _check_sources(manifest)
    shares = {"val": val, "calibration": calibration, "test": 0.0}
    dealing.check_shares(shares)
    group = find_groups(manifest, groups)
    names = sorted(manifest.table["source"].unique())
    folds, problems = [], []
    for source in names:
        try:
            folds.append(_hold_out(manifest, source, group, shares=shares, seed=seed, min_train=min_train))
        except SplitError as error:
            problems.append(error)
    if not folds:
        raise problems[0]
    for problem in problems:
        (tell or _ignore)(str(problem))
    return folds


def train_on(
    manifest: Manifest,
    source: str,
    *,
    val: float = 0.1,
    calibration: float = 0.1,
    test: float = 0.15,
    seed: int,
    groups: pd.DataFrame | None = None,
) -> Splits:
    """One source is dealt as `splits.assign` deals it alone; of the others every image is for testing.

    What shares a group with an image of that source that is not for testing is excluded from the others: no
    network that left the source's test images alone has seen it. Raises SplitError.
    """
    table = manifest.table
    home = table["source"] == source
    if not home.any():
        raise SplitError(
            f"no source is called {source!r}; there are {', '.join(sorted(set(table['source'])))}"
        )
    if home.all():
        raise SplitError("training on one source needs others to test on; name several: NAME=PATH NAME=PATH")
    _check_sources(manifest)
    group = find_groups(manifest, groups)
    names = (table["source"] + "/" + table["image_id"])[home]
    own = names.groupby(group[home]).transform("min")  # as they are called without the other sources
    shares = {"val": val, "calibration": calibration, "test": test}
    split = pd.Series("test", index=table.index, dtype=object)
    split[home] = dealing.deal(table[home], own, shares, seed)
    split[~home & group.isin(group[home & (split != "test")])] = "excluded"
    return build(manifest, group, split)


def _ignore(_: str) -> None:
    """Nobody wants to hear."""


def describe(fold: Fold, manifest: Manifest) -> str:
    """Counts of the splits and which side gave up what, as one line."""
    parts = []
    for name in ("train", "val", "calibration", "test"):
        counts = _count(manifest.table[fold.splits.table["split"] == name])
        parts.append(f"{name} {counts[0] + counts[1]:,} ({counts[1]:,} melanoma)")
    n_left = f"{fold.n_left[0] + fold.n_left[1]:,} shared images ({fold.n_left[1]:,} melanoma)"
    outcome = {
        "training": f"{n_left} left training",
        "held_out": f"{n_left} left the held-out side",
        "neither": "no image is shared with the others",
    }
    return f"{fold.source} held out: {', '.join(parts)}; {outcome[fold.left]}"


def name_files(folds: Sequence[Fold], output: Path) -> list[Path]:
    """`STEM-SOURCE.csv` beside `output` for every fold, whatever characters a source's name has."""
    taken: set[str] = set()
    paths = []
    for fold in folds:
        name = plain = re.sub(r"[^\w.-]+", "_", fold.source)[:_MAX_NAME]
        number = 2
        while name.casefold() in taken:  # some file systems do not tell cases apart
            name, number = f"{plain}-{number}", number + 1
        taken.add(name.casefold())
        paths.append(output.with_name(f"{output.stem}-{name}.csv"))
    return paths


def save(folds: Sequence[Fold], paths: Sequence[Path]) -> None:
    """Write every fold as splits that `splits.load` reads, with a column `reason`; all files or none.

    Raises OutputError.
    """
    with ExitStack() as stack:
        temporaries = [stack.enter_context(replacing(path)) for path in paths]
        for fold, temporary in zip(folds, temporaries, strict=True):
            write_table(fold.splits.table.assign(reason=fold.reason), temporary)


def _check_sources(manifest: Manifest) -> None:
    if manifest.table["source"].nunique() < 2:
        raise SplitError("holding out a source needs at least two; name several: NAME=PATH NAME=PATH")
    seen: dict[Path, str] = {}
    for source in manifest.sources:
        path = source.path.resolve()
        if path in seen:
            raise SplitError(f"{seen[path]!r} and {source.name!r} are the same data; name them once")
        seen[path] = source.name


def _hold_out(
    manifest: Manifest,
    source: str,
    group: "pd.Series[str]",
    *,
    shares: Mapping[str, float],
    seed: int,
    min_train: int,
) -> Fold:
    """The fold of one source, in the first way to part shared images that leaves enough to train on."""
    table = manifest.table
    held = table["source"] == source
    given = ~held & group.isin(group[~held & (table["given_split"] == "test")])
    shared = group.isin(group[held]) & group.isin(group[~held & ~given])
    ways: dict[Left, pd.Series[bool]] = {"training": shared & ~held, "held_out": shared & held}
    if not shared.any():
        ways = {"neither": shared}
    made: dict[Left, pd.Series[str]] = {}
    problems = []
    for left, gone in ways.items():
        try:
            made[left] = _split(table, group, held, given | gone, shares=shares, seed=seed)
        except SplitError as error:
            problems.append(f"{_CONDITION[left]}{error}")
            continue
        if min(_count(table[made[left] == "train"]).values()) >= min_train:
            break
    if not made:
        raise SplitError(f"{source!r} cannot be held out: {'; '.join(problems)}")
    left = list(made)[-1]  # the first is passed over only when it leaves training too little
    reason = pd.Series("", index=table.index).mask(given, "given test").mask(ways[left], f"left {left}")
    return _fold(manifest, source, group, split=made[left], left=left, reason=reason)


def _split(
    table: pd.DataFrame,
    group: "pd.Series[str]",
    held: "pd.Series[bool]",
    excluded: "pd.Series[bool]",
    *,
    shares: Mapping[str, float],
    seed: int,
) -> "pd.Series[str]":
    """The split of every row. Raises SplitError when a split that is asked for lacks a class."""
    split = pd.Series("excluded", index=table.index).mask(held & ~excluded, "test")
    split = split.mask(~held & ~excluded, "train")
    _check_classes(table, split, ["test", "train"])
    rest = split == "train"
    split[rest] = dealing.deal(table[rest], group[rest], shares, seed)
    _check_classes(table, split, [name for name, share in shares.items() if share > 0])
    return split


def _check_classes(table: pd.DataFrame, split: "pd.Series[str]", names: Iterable[str]) -> None:
    for name in names:
        counts = _count(table[split == name])
        for y_true, meaning in ((1, "melanoma"), (0, "other")):
            if not counts[y_true]:
                raise SplitError(f"no image of class {meaning} is left for {name}")


def _fold(
    manifest: Manifest,
    source: str,
    group: "pd.Series[str]",
    *,
    split: "pd.Series[str]",
    left: Left,
    reason: "pd.Series[str]",
) -> Fold:
    """A checked fold. Raises AssertionError when an image of the one side lies on the other."""
    held = manifest.table["source"] == source
    if not (split[held].isin(["test", "excluded"]).all() and (split[~held] != "test").all()):
        raise AssertionError(f"an image is on the wrong side of the fold that holds out {source!r}")
    n_left = _count(manifest.table[reason == f"left {left}"])
    return Fold(source, build(manifest, group, split), left, n_left, reason)


def _count(table: pd.DataFrame) -> dict[int, int]:
    """Images by `y_true`."""
    return {y_true: int((table["y_true"] == y_true).sum()) for y_true in (0, 1)}

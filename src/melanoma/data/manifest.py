"""Labelled images from folders and CSVs as one table that a digest identifies."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.data.labels import known_labels, names_melanoma, normalise
from melanoma.data.layouts import Listing, is_text, list_source, list_unlabelled
from melanoma.data.tables import write_table
from melanoma.errors import ManifestError, UnlabelledError

COLUMNS = (
    "source",
    "path",
    "image_id",
    "y_true",
    "label",
    "given_split",
    "content_digest",
    "diagnosis",
    "patient_id",
    "lesion_id",
    "age_approx",
    "sex",
    "anatom_site_general",
)
UNLABELLED = -1
_IDENTITY = ["source", "image_id", "content_digest", "y_true", "given_split", "patient_id", "lesion_id"]
_HASHING_THREADS = 4
_HASHED_AT_ONCE = 32  # small files take less time than handing them to a thread does


@dataclass(frozen=True, slots=True)
class Source:
    """Where a part of a manifest came from.

    `path`: the folder or CSV as it was given, absolute; `ignored`: the number of files left aside.
    """

    name: str
    path: Path
    layout: str
    ignored: int

    @property
    def root(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.parent if self.path.is_file() else self.path


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """Labelled images of one or more sources.

    `table` has COLUMNS, sorted by source and image_id: `path` absolute, `y_true` int64 (1 melanoma, 0
    anything else, and UNLABELLED in what `load_leniently` read), `given_split` one of '', train, val, test,
    `content_digest` sha256 of the file's bytes, `age_approx` float years (NaN unknown), other texts '' when
    unknown. `digest`: sha256 over content, labels and what splitting uses, whatever folder the images lie in.
    `label_map`: label text to `y_true`. `skipped`: pairs of path and reason. `contradictions`: source, path and
    what is contradictory, of images of which `load_leniently` kept the first row.
    """

    table: pd.DataFrame
    digest: str
    label_map: dict[str, int]
    skipped: tuple[tuple[str, str], ...]
    sources: tuple[Source, ...]
    contradictions: tuple[tuple[str, str, str], ...] = ()

    def subset(self, rows: NDArray[np.bool_] | Sequence[int]) -> "Manifest":
        """The manifest of some rows only, by mask (n,) or by row numbers, with its own digest."""
        is_mask = np.asarray(rows).dtype == np.bool_
        numbers = np.flatnonzero(rows) if is_mask else np.asarray(rows, dtype=np.int64)
        table = _in_order(self.table.iloc[numbers])
        return replace(self, table=table, digest=_digest(table))

    def save(self, path: Path) -> None:
        """Write the table as CSV. Raises OutputError."""
        write_table(self.table, path)


def load(
    sources: Sequence[str],
    *,
    labels: Mapping[str, int] | None = None,
    require_both: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Read every `PATH` or `NAME=PATH` into one manifest.

    `labels` overrides what a label text means (1 melanoma, 0 anything else). `require_both` refuses a
    manifest of one class. `progress` is called with the number of files hashed and of all.
    Raises ManifestError.
    """
    return _load(sources, labels or {}, progress, require_both=require_both, lenient=False)


def load_leniently(
    sources: Sequence[str],
    *,
    labels: Mapping[str, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """As `load`, for looking at data and not for training: folders without labels and contradictions pass.

    Raises ManifestError.
    """
    return _load(sources, labels or {}, progress, require_both=False, lenient=True)


def _load(
    sources: Sequence[str],
    labels: Mapping[str, int],
    progress: Callable[[int, int], None] | None,
    *,
    require_both: bool,
    lenient: bool,
) -> Manifest:
    known = known_labels(labels)
    listings = {name: (root, _list(root, known, lenient)) for name, root in _name_sources(sources).items()}
    parts = [_label(listing, known).assign(source=name) for name, (_, listing) in listings.items()]
    table = pd.concat(parts, ignore_index=True)
    _check_overrides(labels, table["label"])
    skipped = [pair for _, listing in listings.values() for pair in listing.skipped]
    table, unreadable = _add_digests(table, progress)
    contradictions = _find_contradictions(table)
    if contradictions and not lenient:
        raise ManifestError(contradictions[0][2])
    table = table.drop_duplicates(["source", "image_id"])
    skipped += unreadable
    _check_classes(table, listings, skipped, require_both)
    table = _finish(table)
    return Manifest(
        table=table,
        digest=_digest(table),
        label_map=dict(sorted(dict(zip(table["label"], table["y_true"].tolist(), strict=True)).items())),
        skipped=tuple(sorted(skipped)),
        sources=tuple(
            Source(name, path, found.layout, found.ignored) for name, (path, found) in listings.items()
        ),
        contradictions=tuple(contradictions),
    )


def describe(manifest: Manifest) -> str:
    """Counts a source, what each label was taken for, and what was skipped, as lines of text."""
    lines = []
    for source in manifest.sources:
        rows = manifest.table[manifest.table["source"] == source.name]
        if rows.empty:  # of a subset
            continue
        melanoma, other = (int((rows["y_true"] == y_true).sum()) for y_true in (1, 0))
        given = rows.loc[rows["given_split"] != "", "given_split"].value_counts().sort_index()
        splits = "".join(f", given {split} {count:,}" for split, count in given.items())
        lines.append(
            f"{source.name}: {len(rows):,} images ({source.layout}), {melanoma:,} melanoma,"
            f" {other:,} other{splits}; {source.ignored:,} other files left aside"
        )
    for y_true, meaning in ((1, "melanoma"), (0, "other")):
        named = [label for label, value in manifest.label_map.items() if value == y_true]
        lines.append(f"counted as {meaning}: {', '.join(named) or 'nothing'}")
    lines += [f"skipped {path}: {reason}" for path, reason in manifest.skipped[:5]]
    if len(manifest.skipped) > 5:
        lines.append(f"skipped {len(manifest.skipped) - 5:,} more")
    return "\n".join(lines)


def _name_sources(sources: Sequence[str]) -> dict[str, Path]:
    """Name and absolute path of every source, in order. Raises ManifestError on a repeated name."""
    named: dict[str, Path] = {}
    for source in sources:
        name, path = name_source(source)
        if name in named:
            raise ManifestError(f"two sources are called {name!r}; name one of them: NAME=PATH")
        named[name] = path
    if not named:
        raise ManifestError("no data given; name a folder or a CSV")
    return named


def name_source(source: str) -> tuple[str, Path]:
    """Name and absolute path of a source, given as PATH or NAME=PATH. Raises ManifestError when it is not there."""
    name, equals, rest = source.partition("=")
    whole = not equals
    try:
        whole = whole or Path(source).exists()
        path = Path(os.path.abspath(Path(source if whole else rest).expanduser()))  # noqa: PTH100, keeps links
        if not (source if whole else rest) or not path.exists():
            raise ManifestError(f"no such folder or file: {source if whole else rest}")
    except OSError as problem:
        raise ManifestError(f"cannot read {source}: {problem.strerror}") from problem
    except RuntimeError as problem:  # a home folder of nobody
        raise ManifestError(f"no such folder or file: {source if whole else rest}") from problem
    if not whole and not name:
        raise ManifestError(f"{source!r} has no name before the =; use NAME=PATH")
    default = path.name if path.is_dir() else path.stem
    chosen = (default or "data") if whole else name
    if not is_text(chosen):
        raise ManifestError(f"the name {os.fsencode(chosen)!r} is not UTF-8; name the source: NAME=PATH")
    return chosen, path


def _list(root: Path, known: Mapping[str, int], lenient: bool) -> Listing:
    try:
        listing = list_source(root, known)
    except UnlabelledError as error:
        if not lenient:
            raise
        listing = list_unlabelled(root, str(error))
    listing.table["where"] = f"{root}: " + listing.table["where"]
    return listing


def _label(listing: Listing, known: Mapping[str, int]) -> pd.DataFrame:
    """Add `y_true`. Raises ManifestError for a label that is not known."""
    meaning = {label: known.get(normalise(label)) for label in listing.table["label"].unique()}
    for label, y_true in meaning.items():
        if not label:  # only lists of images without labels have it
            meaning[label] = UNLABELLED
        elif y_true is None and listing.free_text:
            meaning[label] = int(names_melanoma(label))
        elif y_true is None:
            where = listing.table.loc[listing.table["label"] == label, "where"].iloc[0]
            raise ManifestError(
                f"{where} has the unknown label {label!r}; map it with --label '{label}=0' or =1"
            )
    return listing.table.assign(y_true=listing.table["label"].map(meaning).astype("int64"))


def _check_overrides(labels: Mapping[str, int], found: "pd.Series[str]") -> None:
    """A mapping that fits no label is most likely misspelt."""
    present = {normalise(label): label for label in found.unique()}
    for label in labels:
        if normalise(label) not in present:
            names = ", ".join(sorted(present.values()))
            raise ManifestError(f"--label {label!r} matches no label in the data; found: {names}")


def _add_digests(
    table: pd.DataFrame, progress: Callable[[int, int], None] | None
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Hash every file; rows whose file is empty or unreadable are left out and listed with the reason."""
    paths = sorted(table["path"].unique())
    found: dict[str, tuple[str, str]] = {}
    parts = [paths[start : start + _HASHED_AT_ONCE] for start in range(0, len(paths), _HASHED_AT_ONCE)]
    with ThreadPoolExecutor(_HASHING_THREADS) as pool:
        for part, results in zip(parts, pool.map(_hash_files, parts), strict=True):
            found |= zip(part, results, strict=True)
            if progress is not None:
                progress(len(found), len(paths))
    unreadable = [(path, reason) for path, (_, reason) in found.items() if reason]
    digests = table["path"].map({path: digest for path, (digest, _) in found.items()})
    return table.assign(content_digest=digests)[digests != ""], unreadable


def _hash_files(paths: Sequence[str]) -> list[tuple[str, str]]:
    return [_hash_file(path) for path in paths]


def _hash_file(path: str) -> tuple[str, str]:
    """The sha256 of a file's bytes, or '' and the reason why there is none."""
    try:
        with Path(path).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return "", "zero bytes"
            return hashlib.file_digest(file, "sha256").hexdigest(), ""
    except OSError as problem:
        return "", f"cannot be read: {problem.strerror}"


def _find_contradictions(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Source, path and a line for every image id that has two labels, files or given splits."""
    key = ["source", "image_id"]
    repeated = table[table.duplicated(key, keep=False)]
    found = []
    for column, what in (("label", "labels"), ("content_digest", "files"), ("given_split", "splits")):
        counts = repeated.groupby(key)[column].nunique()
        for source, image_id in counts.index[counts > 1]:
            rows = repeated[(repeated["source"] == source) & (repeated["image_id"] == image_id)]
            values = " and ".join(
                repr(value) for value in rows["path" if what == "files" else column].unique()[:2]
            )
            line = f"{rows['where'].iloc[0]}: image {image_id!r} has two {what}: {values}; keep one"
            found.append((source, rows["path"].iloc[0], line))
    return found


def _check_classes(
    table: pd.DataFrame,
    listings: Mapping[str, tuple[Path, Listing]],
    skipped: Sequence[tuple[str, str]],
    require_both: bool,
) -> None:
    for name, (root, _) in listings.items():
        if not (table["source"] == name).any():
            here = [pair for pair in skipped if Path(pair[0]).is_relative_to(root)] or skipped
            path, reason = here[0] if here else (str(root), "nothing listed")
            raise ManifestError(
                f"{root} holds no image that can be used; the first problem: {path}: {reason}"
            )
    if require_both and table["y_true"].nunique() < 2:
        labels = ", ".join(map(repr, sorted(table["label"].unique())))
        found, other = ("melanoma", "other") if table["y_true"].iloc[0] == 1 else ("other", "melanoma")
        raise ManifestError(f"all {len(table):,} images are {found} (labels: {labels}); add {other} images")


def _finish(table: pd.DataFrame) -> pd.DataFrame:
    """Columns in their types and rows in their order."""
    sex = table["sex"].str.lower()
    site = table["anatom_site_general"]
    table = table.assign(
        age_approx=pd.to_numeric(table["age_approx"], errors="coerce").astype("float64"),
        sex=sex.where(sex != "unknown", ""),
        anatom_site_general=site.where(site.str.lower() != "unknown", ""),
    )
    return _in_order(table[list(COLUMNS)])


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(["source", "image_id"], kind="stable").reset_index(drop=True)


def _digest(table: pd.DataFrame) -> str:
    rows: Iterable[tuple[object, ...]] = zip(*(table[name].tolist() for name in _IDENTITY), strict=True)
    return hashlib.sha256("\n".join(sorted(json.dumps(row) for row in rows)).encode()).hexdigest()

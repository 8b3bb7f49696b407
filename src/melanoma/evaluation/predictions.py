"""Any model's predictions, read from a CSV and judged as if a bundle had made them."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.data.manifest import Manifest
from melanoma.data.tables import read_table
from melanoma.errors import ConfigError, ManifestError
from melanoma.inference.decision import Decision, OperatingPoint
from melanoma.inference.prediction import Prediction

_DECISIONS = {str(decision): decision for decision in Decision} | {
    "1": Decision.REFER,
    "0": Decision.NO_SIGN,
}
_AMBIGUOUS, _FOREIGN = -2, -1


@dataclass(frozen=True, slots=True, eq=False)
class SavedPredictions:
    """What a CSV says, as a `Scorer`.

    `digest`: sha256 of the file. `operating_point`: the one threshold behind the decisions, its counts 0
    because it is not known on which images it was chosen; None when no one threshold explains them.
    """

    digest: str
    operating_point: OperatingPoint | None
    by_path: dict[str, Prediction]

    def score(self, paths: Sequence[str]) -> Iterator[Prediction]:
        """The prediction of each path, in the order given. Raises KeyError for a path that `load` was not given."""
        return (self.by_path[path] for path in paths)


def load(
    path: Path, judged: Manifest, known: Manifest | None = None, *, threshold: float | None = None
) -> SavedPredictions:
    """Read `y_prob` of every judged image; `path` or `image_id` (with `source`) says whose it is.

    A path is absolute, or relative to the current folder or to its source's. `known`: all images of the data,
    of which more may be in the CSV than are judged. A decision is `threshold` applied to `y_prob`, else the
    column `decision` (refer, no_sign, cannot_assess, or 1 and 0), else the column `threshold` applied.
    `y_prob` may be empty only where the decision is cannot_assess. Raises ManifestError when the CSV does not
    fit, ConfigError when nothing says what is referred.
    """
    table = read_table(path)
    _check_columns(table, path, threshold)
    known = known or judged
    row_of = _match(table, known, judged, path)
    table = table.assign(found=known.table["path"].to_numpy(dtype=object)[row_of])
    table = table[table["found"].isin(judged.table["path"])].reset_index(names="row")
    decisions = _read_decisions(table, path) if "decision" in table else None
    y_prob = _read_shares(table, "y_prob", path, may_lack=decisions == Decision.CANNOT_ASSESS)
    decisions, point = _decide(table, y_prob, decisions, threshold, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return SavedPredictions(digest, point, _predict(table, y_prob, decisions, digest))


def _check_columns(table: pd.DataFrame, path: Path, threshold: float | None) -> None:
    wanted = [] if {"path", "image_id"} & set(table.columns) else ["path or image_id"]
    wanted += [] if "y_prob" in table else ["y_prob"]
    if wanted:
        found = ", ".join(table.columns) or "none"
        raise ManifestError(f"{path} lacks columns: {' and '.join(wanted)}; found: {found}")
    if threshold is None and not {"decision", "threshold"} & set(table.columns):
        raise ConfigError(
            f"{path} does not say what is referred: give --threshold, or a column decision or threshold"
        )


def _match(table: pd.DataFrame, known: Manifest, judged: Manifest, path: Path) -> NDArray[np.int64]:
    """Row number in `known` of each row of the CSV, by path if any path is known, else by image id."""
    found = np.full(len(table), _FOREIGN)
    for column in ("path", "image_id"):
        if column in table and (found == _FOREIGN).all():
            found = _locate(table, column, known)
    names = table["path" if "path" in table else "image_id"]
    _complain(path, "name an image of several sources (add a column source)", names[found == _AMBIGUOUS])
    _complain(path, "name no image of the data", names[found == _FOREIGN])
    _complain(path, "repeat an image", names[pd.Series(found).duplicated().to_numpy()])
    missing = ~judged.table["path"].isin(known.table["path"].to_numpy(dtype=object)[found])
    if missing.any():
        first = judged.table.loc[missing, "path"].iloc[0]
        raise ManifestError(f"{path} lacks {missing.sum():,} of {len(missing):,} images, first {first}")
    return found


def _locate(table: pd.DataFrame, column: str, known: Manifest) -> NDArray[np.int64]:
    places: dict[str, list[int]] = {}
    for number, name in enumerate(known.table[column]):
        places.setdefault(name, []).append(number)
    sources = known.table["source"].tolist()
    roots = [Path.cwd(), *(source.root for source in known.sources)]
    stated = table["source"] if "source" in table else [""] * len(table)
    found = []
    for name, source in zip(table[column], stated, strict=True):
        names = _absolute(name, roots) if column == "path" else [name]
        rows = {row for one in names for row in places.get(one, [])}
        rows = {row for row in rows if source in ("", sources[row]) or Path(name).is_absolute()}
        found.append(_FOREIGN if not rows else _AMBIGUOUS if len(rows) > 1 else rows.pop())
    return np.array(found, dtype=np.int64)


def _absolute(name: str, roots: Sequence[Path]) -> list[str]:
    return list(dict.fromkeys(os.path.normpath(root / name) for root in roots))


def _read_decisions(table: pd.DataFrame, path: Path) -> NDArray[np.object_]:
    words = table["decision"].str.strip()
    _complain(
        path,
        f"have a decision other than {', '.join(Decision)}",
        table["decision"][~words.isin(_DECISIONS)],
        table,
    )
    return words.map(_DECISIONS).to_numpy(dtype=object)


def _read_shares(
    table: pd.DataFrame, column: str, path: Path, may_lack: NDArray[np.bool_] | bool = False
) -> NDArray[np.float64]:
    """Numbers in [0, 1], NaN only where they may lack."""
    text = table[column].str.strip()
    values = pd.to_numeric(text.where(text.str.lower() != "nan", ""), errors="coerce").astype("float64")
    wrong = ~values.between(0, 1) & ~((text == "") & may_lack)
    _complain(path, f"have a {column} that is no number from 0 to 1", table[column][wrong], table)
    return np.asarray(values, dtype=np.float64)


def _decide(
    table: pd.DataFrame,
    y_prob: NDArray[np.float64],
    stated: NDArray[np.object_] | None,
    threshold: float | None,
    path: Path,
) -> tuple[NDArray[np.object_], OperatingPoint | None]:
    """A decision for every row, and the one threshold behind them if there is one."""
    if threshold is None and stated is not None:
        return stated, _find_point(table, y_prob, stated)
    limits = (
        np.full(len(table), threshold) if threshold is not None else _read_shares(table, "threshold", path)
    )
    decisions = np.where(y_prob >= limits, Decision.REFER, Decision.NO_SIGN).astype(object)
    if stated is not None:
        decisions[stated == Decision.CANNOT_ASSESS] = Decision.CANNOT_ASSESS
    one = len(np.unique(limits)) == 1
    return decisions, OperatingPoint(float(limits[0]), 0.0, 0.0, 0.0, 0, 0) if one else None


def _find_point(
    table: pd.DataFrame, y_prob: NDArray[np.float64], stated: NDArray[np.object_]
) -> OperatingPoint | None:
    """The column `threshold`, when it says the same in each row and explains every stated decision."""
    limits = pd.to_numeric(table.get("threshold", pd.Series([], dtype=float)), errors="coerce").unique()
    if len(limits) != 1 or not 0 <= limits[0] <= 1:
        return None
    explained = (stated == Decision.REFER) == (y_prob >= limits[0])
    if not (explained | (stated == Decision.CANNOT_ASSESS)).all():
        return None
    return OperatingPoint(float(limits[0]), 0.0, 0.0, 0.0, 0, 0)


def _predict(
    table: pd.DataFrame, y_prob: NDArray[np.float64], decisions: NDArray[np.object_], digest: str
) -> dict[str, Prediction]:
    texts = {
        name: table[name].tolist() if name in table else [""] * len(table) for name in ("reason", "error")
    }
    shares = [None if np.isnan(share) else share for share in y_prob.tolist()]
    columns = zip(table["found"], shares, decisions, texts["reason"], texts["error"], strict=True)
    return {
        found: Prediction("", found, Path(found).stem, share, decision, reason, error, digest)
        for found, share, decision, reason, error in columns
    }


def _complain(path: Path, what: str, wrong: "pd.Series[str]", table: pd.DataFrame | None = None) -> None:
    """Raise ManifestError when there is a wrong row: how many, and the first one."""
    if len(wrong):
        row = wrong.index[0] if table is None else table.loc[wrong.index[0], "row"]
        first = repr(wrong.iloc[0]) if wrong.iloc[0] else "empty"
        raise ManifestError(
            f"{path} does not fit: rows that {what}: {len(wrong):,}, first line {row + 2} ({first})"
        )

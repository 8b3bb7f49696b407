"""Features of many images as one table; what was described once is kept on disk and not described again."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from melanoma.data.manifest import Manifest
from melanoma.data.tables import read_table, write_table
from melanoma.data.workers import open_pool
from melanoma.errors import ImageError, ManifestError
from melanoma.evaluation.abcd.features import NAMES, VERSION, describe
from melanoma.inference import images

NAME: Final = "features.csv"
WORK: Final = ".features"
KNOWN: Final = ("content_digest", "features_version", "problem", "error")
_CHUNK = 64

Progress = Callable[[int, int], None]


def measure(
    manifest: Manifest, folder: Path, earlier: Iterable[Path] = (), progress: Progress | None = None
) -> pd.DataFrame:
    """Write `features.csv` into a folder and give it back: one row an image, in the manifest's order.

    Columns `source, image_id, path`, KNOWN and `features.NAMES`. `problem`: why there are no features, `error`:
    why the file could not be read, both '' as a rule. Images whose bytes are found in the folder's own or in
    an `earlier` features.csv are not described again, and a run that was stopped goes on. Large sets use
    processes of their own, so in a script call it below `if __name__ == "__main__":`. `progress` is called
    with (images done, images in all). Raises ManifestError when an `earlier` file is no such table, and
    OutputError.
    """
    table = manifest.table
    wanted = table.drop_duplicates("content_digest")
    known = _recall(wanted["content_digest"], folder, earlier)
    missing = wanted[~wanted["content_digest"].isin(known["content_digest"])]
    found = _describe_all(missing, folder / WORK, len(wanted), progress)
    rows = pd.concat([known, *found]).set_index("content_digest")
    rows = rows.reindex(table["content_digest"]).reset_index()
    rows = pd.concat([table[["source", "image_id", "path"]], rows], axis=1)
    write_table(rows, folder / NAME)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return rows


def load(path: Path) -> pd.DataFrame:
    """Read the columns KNOWN and `features.NAMES` of a features.csv. Raises ManifestError when it is none."""
    table = read_table(path)
    lacking = [name for name in (*KNOWN, *NAMES) if name not in table]
    if lacking:
        raise ManifestError(f"{path} is no features.csv of this version: it lacks the column {lacking[0]!r}")
    table = table[[*KNOWN, *NAMES]]
    try:
        numbers = table[list(NAMES)].replace("", "nan").astype("float64")
    except ValueError as problem:
        raise ManifestError(f"{path} holds a feature that is no number: {problem}") from problem
    version = pd.to_numeric(table["features_version"], errors="coerce").fillna(0).astype("int64")
    return pd.concat([table[["content_digest"]], version, table[["problem", "error"]], numbers], axis=1)


def _recall(wanted: "pd.Series[str]", folder: Path, earlier: Iterable[Path]) -> pd.DataFrame:
    """What is known of these images by content: from a stopped run, from an earlier one, from given files."""
    own = [*sorted((folder / WORK).glob("*.csv")), *filter(Path.is_file, [folder / NAME])]
    tables = [_frame([]), *(load(path) for path in earlier)]
    for path in own:
        try:
            tables.append(load(path))
        except ManifestError:  # of an older version: described anew
            continue
    known = pd.concat(tables, ignore_index=True)
    # an image that could not be read may be whole again
    usable = (
        known["content_digest"].isin(wanted) & (known["features_version"] == VERSION) & (known["error"] == "")
    )
    return known[usable].drop_duplicates("content_digest")


def _describe_all(
    missing: pd.DataFrame, work: Path, total: int, progress: Progress | None
) -> list[pd.DataFrame]:
    """The missing images, a chunk at a time, each chunk on disk as soon as it is done."""
    paths, digests = missing["path"].tolist(), missing["content_digest"].tolist()
    starts = range(0, len(paths), _CHUNK)
    done, found = total - len(paths), []
    with open_pool(len(starts)) as pool:
        jobs = [pool.submit(_describe_some, paths[s : s + _CHUNK], digests[s : s + _CHUNK]) for s in starts]
        for job in as_completed(jobs):
            part = job.result()
            write_table(part, work / f"{part['content_digest'].iloc[0]}.csv")
            found.append(part)
            done += len(part)
            if progress is not None:
                progress(done, total)
    return found


def _describe_some(paths: Sequence[str], digests: Sequence[str]) -> pd.DataFrame:
    return _frame([_describe_file(path, digest) for path, digest in zip(paths, digests, strict=True)])


def _describe_file(path: str, digest: str) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(NAMES, np.nan)
    row |= {"content_digest": digest, "features_version": VERSION, "problem": "", "error": ""}
    try:
        values, row["problem"] = describe(images.load(path))
    except ImageError as problem:
        row["error"] = str(problem)
        return row
    return row | values


def _frame(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[*KNOWN, *NAMES])
    texts: dict[str, type] = dict.fromkeys(("content_digest", "problem", "error"), object)
    return table.astype({**texts, "features_version": int, **dict.fromkeys(NAMES, float)})

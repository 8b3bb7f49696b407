"""What is wrong with single files and with what the metadata say."""

from pathlib import Path

import pandas as pd

from melanoma.audit.pictures import Pictures
from melanoma.audit.result import Problem
from melanoma.data.manifest import Manifest

TINY = 100  # pixels of the shorter side
LONG = 2.5  # longer side in shorter ones
USUAL = 0.9  # share of a source from which one size counts as its usual one
MAX_AGE = 110  # years
_AGREE = (
    ("lesion_id", "patient_id"),
    ("lesion_id", "y_true"),
    ("lesion_id", "anatom_site_general"),
    ("patient_id", "sex"),
)
_SKIPPED = {
    "zero bytes": "empty file",
    "no such image file": "missing file",
    "no label": "no label",
    "lies outside the class folders": "no label",
    "file name is not UTF-8": "file name",
}


def check_files(manifest: Manifest, pictures: Pictures) -> list[Problem]:
    """Files that were skipped, are broken, tiny, not plain RGB, or unlike the others of their source."""
    found = [_explain_skipped(manifest, path, reason) for path, reason in manifest.skipped]
    rows = manifest.table[["source", "path"]].assign(
        error=pictures.error, mode=pictures.mode, width=pictures.width, height=pictures.height
    )
    broken = rows[rows["error"] != ""]
    found += _list_problems("broken file", broken, broken["error"])
    whole = rows[rows["error"] == ""]
    odd = whole[whole["mode"] != "RGB"]
    found += _list_problems("not RGB", odd, "pixels are " + odd["mode"])
    return found + list(_check_sizes(whole))


def check_metadata(manifest: Manifest) -> list[Problem]:
    """Rows that contradict each other or cannot be true."""
    table = manifest.table
    found = [Problem("contradiction", *row) for row in manifest.contradictions]
    age = table["age_approx"]
    wrong = table[(age < 0) | (age > MAX_AGE)]
    found += _list_problems("age", wrong, wrong["age_approx"].map("age {:g} years".format))
    for key, column in _AGREE:
        found += _find_disputes(table, key, column)
    return found


def _explain_skipped(manifest: Manifest, path: str, reason: str) -> Problem:
    inside = [source for source in manifest.sources if Path(path).is_relative_to(source.root)]
    nearest = max(inside, key=lambda source: len(source.root.parts), default=None)
    check = _SKIPPED.get(reason, "broken file")
    return Problem(check, nearest.name if nearest else "", path, reason)


def _list_problems(check: str, rows: pd.DataFrame, details: "pd.Series[str]") -> list[Problem]:
    columns = zip(rows["source"], rows["path"], details, strict=True)
    return [Problem(check, source, path, detail) for source, path, detail in columns]


def _check_sizes(rows: pd.DataFrame) -> list[Problem]:
    size = rows["width"].astype(str) + " x " + rows["height"].astype(str)
    sides = rows[["width", "height"]]
    tiny = sides.min(axis=1) < TINY
    long = ~tiny & (sides.max(axis=1) > LONG * sides.min(axis=1))
    count = size.groupby([rows["source"], size]).transform("size")
    share = count / size.groupby(rows["source"]).transform("size")
    has_usual = (share >= USUAL).groupby(rows["source"]).transform("any")
    odd = ~tiny & ~long & has_usual & (share < USUAL)
    pixels = size + " pixels"
    return [
        *_list_problems("tiny", rows[tiny], pixels[tiny]),
        *_list_problems("odd shape", rows[long], pixels[long]),
        *_list_problems("odd size", rows[odd], pixels[odd] + ", unlike nearly all others"),
    ]


def _find_disputes(table: pd.DataFrame, key: str, column: str) -> list[Problem]:
    """Lesions or patients of which one thing is said in two ways."""
    stated = table[(table[key] != "") & ~table[column].isin(["", -1])]
    grouped = stated.groupby(["source", key], sort=True)[column]
    disputed = grouped.nunique()
    found = []
    for source, name in disputed.index[disputed > 1]:
        rows = stated[(stated["source"] == source) & (stated[key] == name)]
        values = " and ".join(map(str, sorted(rows[column].unique())[:3]))
        what = {"y_true": "melanoma and other", "patient_id": f"patients {values}"}.get(column, values)
        kind = key.removesuffix("_id")
        found.append(Problem("contradiction", source, rows["path"].iloc[0], f"{kind} {name}: {what}"))
    return found

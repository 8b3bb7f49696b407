"""What is stated of the images - age, sex, site, diagnosis, source, skin tone - as a few values each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from melanoma.evaluation.skin_tone import BANDS, name_bands

AGE_BANDS: Final = ("under 30", "30-49", "50-69", "70 and over")
MAX_AGE: Final = 120.0
MAX_VALUES: Final = 12
OTHER_VALUES: Final = "all other values"
NOT_STATED: Final = ""
_UNKNOWN = ("", "unknown", "unk", "n/a", "na", "nan", "none", "null", "not stated", "-", "?")
_SEX = {"m": "male", "f": "female"} | {name: name for name in ("male", "female", "other")}


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """One value an image.

    `values` text (n,), NOT_STATED where unknown or impossible; `order`: the values that occur, as shown;
    `n_impossible`: images whose value cannot be, such as an age of -5.
    """

    name: str
    values: "pd.Series[str]"
    order: list[str]
    n_impossible: int = 0


def list_attributes(rows: pd.DataFrame) -> Iterator[Attribute]:
    """Every attribute that judged images may have; `source` and skin tone only where they are known."""
    if rows["source"].nunique() > 1:
        yield _read_words("source", rows["source"])
    yield _read_age(_column(rows, "age_approx"))
    yield _read_sex(_normalise(_column(rows, "sex")))
    yield _read_words("site", _normalise(_column(rows, "anatom_site_general")))
    # Of the archive's levels ("Benign > Nevus > ...") the last one says most.
    levels = _column(rows, "diagnosis").astype(str).str.rsplit(" > ", n=1).str[-1]
    yield _read_words("diagnosis", _normalise(levels))
    if "ita" in rows:
        bands = pd.Series(name_bands(rows["ita"].to_numpy(np.float64)), index=rows.index, dtype="object")
        yield Attribute("skin tone", bands, _occurring(bands, BANDS))


def _column(rows: pd.DataFrame, name: str) -> "pd.Series[str]":
    return rows[name] if name in rows else pd.Series("", index=rows.index, dtype="object")


def _read_age(column: "pd.Series[str]") -> Attribute:
    age = pd.to_numeric(column, errors="coerce").astype("float64")
    possible = age.between(0, MAX_AGE)
    place = np.searchsorted((30, 50, 70), age.where(possible, 0), side="right")
    bands = pd.Series(np.array(AGE_BANDS, dtype=object)[place], index=age.index).where(possible, NOT_STATED)
    return Attribute("age", bands, _occurring(bands, AGE_BANDS), int((age.notna() & ~possible).sum()))


def _read_sex(column: "pd.Series[str]") -> Attribute:
    sex = column.map(_SEX).fillna(NOT_STATED)
    impossible = (column != NOT_STATED) & (sex == NOT_STATED)
    return Attribute("sex", sex, _occurring(sex, ("female", "male", "other")), int(impossible.sum()))


def _read_words(name: str, column: "pd.Series[str]") -> Attribute:
    """The most frequent values by themselves, the rest together."""
    stated = column[column != NOT_STATED]
    counts = stated.value_counts()
    if len(counts) <= MAX_VALUES:
        return Attribute(name, column, sorted(counts.index, key=lambda value: (-counts[value], value)))
    shown = sorted(counts.index, key=lambda value: (-counts[value], value))[: MAX_VALUES - 1]
    values = column.where(column.isin([*shown, NOT_STATED]), OTHER_VALUES)
    return Attribute(name, values, [*shown, OTHER_VALUES])


def _normalise(column: "pd.Series[str]") -> "pd.Series[str]":
    """Lower case, single spaces, and NOT_STATED for the words that say so."""
    text = column.fillna("").astype(str).str.lower().str.replace("_", " ").str.split().str.join(" ")
    return text.mask(text.isin(_UNKNOWN), NOT_STATED).astype("object")


def _occurring(values: "pd.Series[str]", order: tuple[str, ...]) -> list[str]:
    present = set(values)
    return [value for value in order if value in present]

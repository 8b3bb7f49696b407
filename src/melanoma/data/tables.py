"""CSV files in and out, every cell as text."""

import csv
from pathlib import Path

import pandas as pd

from melanoma.errors import ManifestError, UserError
from melanoma.files import replacing


def read_table(
    path: Path, *, rows: int | None = None, error: type[UserError] = ManifestError
) -> pd.DataFrame:
    """A UTF-8 CSV (with or without BOM) as text cells, column names stripped and in lower case.

    `rows` reads only so many, 0 only the column names. Raises `error` when it cannot be read as CSV.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", nrows=rows)
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8 text; save it as CSV UTF-8") from problem
    except pd.errors.EmptyDataError as problem:
        raise error(f"{path} is empty") from problem
    except pd.errors.ParserError as problem:
        raise error(f"{path} cannot be read as CSV: {' '.join(str(problem).split())}") from problem
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror}") from problem
    if len(table.columns) == 1 and ";" in str(table.columns[0]):
        raise error(
            f"{path} is separated by semicolons; save it with commas, and numbers with a decimal point"
        )
    if not isinstance(table.index, pd.RangeIndex):  # pandas took surplus cells for row names
        raise error(f"{path} has rows with more cells than its first line has columns")
    table.columns = pd.Index([str(column).strip().lower() for column in table.columns])
    if table.columns.has_duplicates:
        raise error(f"{path} has two columns called {table.columns[table.columns.duplicated()][0]!r}")
    return table.fillna("")


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a CSV; file names that are no UTF-8 as they are. Raises OutputError."""
    with replacing(path) as temporary:
        table.to_csv(
            temporary,
            index=False,
            lineterminator="\n",
            # Quoting only where needed leaves a carriage return in a file name bare, and the row breaks there.
            quoting=csv.QUOTE_NONNUMERIC,
            errors="surrogateescape",
        )

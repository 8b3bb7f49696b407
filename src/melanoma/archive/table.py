"""Result rows as an Arrow table."""

from collections.abc import Iterable
from dataclasses import fields

import pyarrow as pa

from melanoma.inference.prediction import Prediction

SCHEMA = pa.schema(
    [(one.name, pa.float64() if one.name == "y_prob" else pa.string()) for one in fields(Prediction)]
)


def to_table(rows: Iterable[Prediction]) -> pa.Table:
    """Rows in their order."""
    return pa.Table.from_pylist([_to_utf8(row.to_dict()) for row in rows], SCHEMA)


def _to_utf8(values: dict[str, str | float | None]) -> dict[str, str | float | None]:
    """Bytes of a file name that are no UTF-8 as backslash escapes: Parquet's text is UTF-8."""
    return {
        name: value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if isinstance(value, str)
        else value
        for name, value in values.items()
    }

"""The table of judged images, one row an image: put together, checked, read as arrays."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.errors import ManifestError
from melanoma.evaluation.metrics import Floats, Outcomes
from melanoma.inference.decision import Decision
from melanoma.inference.prediction import Prediction

COLUMNS = ("source", "path", "image_id", "y_true", "y_prob", "decision", "group")
METADATA = ("age_approx", "sex", "anatom_site_general", "diagnosis")


def join(
    table: pd.DataFrame,
    predictions: Sequence[Prediction],
    groups: Sequence[str] | None,
    ita: Floats | None,
) -> pd.DataFrame:
    """What the manifest knows of every image and what the scorer said.

    COLUMNS with `reason` and `error`, such of METADATA as the manifest has, and `ita` in degrees if given.
    """
    known = ["source", "path", "image_id", "y_true", *(name for name in METADATA if name in table)]
    rows = table[known].reset_index(drop=True)
    answers = [(p.y_prob, str(p.decision), p.reason, p.error) for p in predictions]
    said = pd.DataFrame(answers, columns=["y_prob", "decision", "reason", "error"], dtype="object")
    said["y_prob"] = said["y_prob"].astype("float64")
    ids = [str(number) for number in range(len(rows))] if groups is None else list(groups)
    for what, values in (("group ids", ids), ("angles", rows if ita is None else ita)):
        if len(values) != len(rows):
            raise ValueError(f"{len(values)} {what} for {len(rows)} images")
    joined = pd.concat([rows, said, pd.Series(ids, name="group", dtype="object")], axis=1)
    ordered = [*known[:4], "y_prob", "decision", "reason", "error", "group", *known[4:]]
    return joined[ordered] if ita is None else joined[ordered].assign(ita=np.asarray(ita, np.float64))


def check(rows: pd.DataFrame, name: str) -> None:
    """Raise ManifestError at the first thing that would make figures wrong."""
    missing = [column for column in COLUMNS if column not in rows.columns]
    if missing:
        raise ManifestError(f"{name}: the predictions lack the column {missing[0]}")
    if rows.empty:
        raise ManifestError(f"{name}: there is no image to evaluate")
    if not rows["y_true"].isin([0, 1]).all():
        raise ManifestError(f"{name}: y_true must be 0 or 1 in every row")
    if not rows["decision"].isin([str(decision) for decision in Decision]).all():
        raise ManifestError(f"{name}: decision must be one of {', '.join(Decision)} in every row")
    if not (rows["y_prob"].between(0, 1) | rows["y_prob"].isna()).all():
        raise ManifestError(f"{name}: y_prob must lie between 0 and 1")
    if (rows["y_prob"].isna() & (rows["decision"] != Decision.CANNOT_ASSESS)).any():
        raise ManifestError(f"{name}: a row without y_prob must have the decision {Decision.CANNOT_ASSESS}")


def read_outcomes(rows: pd.DataFrame) -> Outcomes:
    """The columns as arrays; an image without a group id is a group of its own."""
    return Outcomes(
        y_true=rows["y_true"].to_numpy(dtype=np.int64),
        y_prob=rows["y_prob"].to_numpy(dtype=np.float64),
        referred=(rows["decision"] != Decision.NO_SIGN).to_numpy(dtype=np.bool_),
        assessed=(rows["decision"] != Decision.CANNOT_ASSESS).to_numpy(dtype=np.bool_),
        group=number_groups(rows["group"]),
    )


def number_groups(ids: "pd.Series[str]") -> NDArray[np.int64]:
    """A number (n,) for each group; who has none is one alone."""
    codes, found = pd.factorize(ids)
    group = codes.astype(np.int64)
    alone = np.flatnonzero(group < 0)
    group[alone] = len(found) + np.arange(len(alone))
    return group

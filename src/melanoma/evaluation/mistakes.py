"""The worst errors: melanomas that the model is surest about not to be one, and the surest false alarms."""

from dataclasses import dataclass
from typing import Final

import pandas as pd

from melanoma.inference.decision import Decision

WORST: Final = 12  # of each kind


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong decision about one image: `missed` a melanoma that was not referred, else a false alarm."""

    source: str
    path: str
    image_id: str
    y_prob: float
    missed: bool
    diagnosis: str = ""


def find_worst(rows: pd.DataFrame, count: int = WORST) -> list[Mistake]:
    """At most `count` misses, the lowest `y_prob` first, then as many false alarms, the highest first.

    Of a group only its worst image; images that were not assessed are no errors of judgement. `rows` as for
    `evaluate.summarise`.
    """
    missed = rows[(rows["y_true"] == 1) & (rows["decision"] == Decision.NO_SIGN)].sort_values(
        ["y_prob", "path"], kind="stable"
    )
    alarms = rows[(rows["y_true"] == 0) & (rows["decision"] == Decision.REFER)].sort_values(
        ["y_prob", "path"], ascending=[False, True], kind="stable"
    )
    return [*_describe(missed, count), *_describe(alarms, count)]


def _describe(rows: pd.DataFrame, count: int) -> list[Mistake]:
    worst = rows[~rows["group"].duplicated() | rows["group"].isna()].head(count)
    diagnosis = worst["diagnosis"].fillna("") if "diagnosis" in worst else [""] * len(worst)
    columns = (worst[name] for name in ("source", "path", "image_id", "y_prob", "y_true"))
    return [
        Mistake(str(source), str(path), str(image_id), float(y_prob), bool(y_true), str(said))
        for source, path, image_id, y_prob, y_true, said in zip(*columns, diagnosis, strict=True)
    ]

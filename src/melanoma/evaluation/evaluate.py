"""A scorer and labelled images go in, an `EvaluationReport` comes out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd

from melanoma.errors import ManifestError
from melanoma.evaluation.metrics import (
    INTERVAL_METHOD,
    Bin,
    Estimate,
    Outcomes,
    Ranking,
    count_bins,
    estimate_figures,
    thin,
)
from melanoma.files import write_text
from melanoma.inference.decision import Decision, OperatingPoint
from melanoma.inference.prediction import Prediction

Points = list[tuple[float, float]]
HISTOGRAM_BINS = 20
_REASONS_SHOWN = 10
_COLUMNS = ("source", "path", "image_id", "y_true", "y_prob", "decision", "group")


class Scorer(Protocol):
    """Whatever judges images: a loaded bundle's predictor, above all."""

    @property
    def operating_point(self) -> OperatingPoint:
        """The frozen operating point behind the decisions."""
        ...

    @property
    def digest(self) -> str:
        """What identifies the model."""
        ...

    def score(self, paths: Sequence[str]) -> Iterator[Prediction]:
        """One prediction a path, in the order given."""
        ...


class LabelledImages(Protocol):
    """The part of a manifest that is needed here: `source, path, image_id, y_true` and a digest."""

    @property
    def table(self) -> pd.DataFrame:
        """One row an image."""
        ...

    @property
    def digest(self) -> str:
        """What identifies the images and labels."""
        ...


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of all images; a refused image counts as referred."""

    tp: int
    fp: int
    tn: int
    fn: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """How many images were not assessed for one reason."""

    reason: str
    n_melanoma: int
    n_other: int


@dataclass(frozen=True, slots=True)
class Curves:
    """What the plots need, on the assessed images; empty where one class is missing.

    `roc`: (1 - specificity, sensitivity); `precision_recall`: (recall, precision); `reliability`: bins of
    equal width; `histogram_melanoma`, `histogram_other`: counts of `y_prob` in 20 bins of equal width.
    """

    roc: Points
    precision_recall: Points
    reliability: list[Bin]
    histogram_melanoma: list[int]
    histogram_other: list[int]


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """How one model did on one set of images.

    `figures` as named by `metrics.estimate_figures`. `n_groups`: what the bootstrap drew from. `rows`: one
    row an image, kept beside the report, None when it was read from JSON.
    """

    name: str
    n: int
    n_melanoma: int
    n_other: int
    n_groups: int
    coverage: float
    figures: dict[str, Estimate]
    confusion: Confusion
    refusals: list[Refusal]
    curves: Curves
    operating_point: OperatingPoint
    bundle_digest: str
    manifest_digest: str
    resamples: int
    seed: int
    interval_method: str = INTERVAL_METHOD
    rows: pd.DataFrame | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but `rows`, as plain JSON types."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "rows"}
        plain["figures"] = {name: figure.to_dict() for name, figure in self.figures.items()}
        for name in ("confusion", "curves", "operating_point"):
            plain[name] = asdict(plain[name])
        plain["refusals"] = [asdict(refusal) for refusal in self.refusals]
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, also after JSON. Raises TypeError on a foreign key."""
        plain = dict(values)
        plain["figures"] = {name: Estimate.from_dict(figure) for name, figure in plain["figures"].items()}
        plain["confusion"] = Confusion(**plain["confusion"])
        plain["refusals"] = [Refusal(**refusal) for refusal in plain["refusals"]]
        plain["operating_point"] = OperatingPoint.from_dict(plain["operating_point"])
        curves = dict(plain["curves"])
        curves["reliability"] = [Bin(**entry) for entry in curves["reliability"]]
        for name in ("roc", "precision_recall"):
            curves[name] = [(float(x), float(y)) for x, y in curves[name]]
        plain["curves"] = Curves(**curves)
        return cls(**plain)

    def save_predictions(self, path: Path) -> None:
        """Write `rows` as CSV. Raises OutputError when it cannot be written, ValueError without rows."""
        if self.rows is None:
            raise ValueError("this report was read from JSON and has no rows")
        write_text(path, self.rows.to_csv(index=False))


def evaluate(
    scorer: Scorer,
    manifest: LabelledImages,
    *,
    name: str,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Judge every image of a manifest with the scorer and sum up.

    `groups`: one id a row, images that depend on each other (one patient, one lesion, the same picture)
    share it; without it every image stands for itself, and intervals are too narrow where images do depend
    on each other. `progress` is called with (images done, images in all). Raises ManifestError when there
    is no image, and RuntimeError when the scorer does not answer each path in order.
    """
    table = manifest.table
    predictions: list[Prediction] = []
    paths = [str(path) for path in table["path"]]
    for prediction in scorer.score(paths):
        if len(predictions) >= len(paths) or Path(prediction.path).name != Path(paths[len(predictions)]).name:
            raise RuntimeError(f"the scorer answered out of order, at {prediction.path}")
        predictions.append(prediction)
        if progress is not None:
            progress(len(predictions), len(paths))
    if len(predictions) != len(paths):
        raise RuntimeError(f"the scorer answered {len(predictions)} of {len(paths)} images")
    return summarise(
        _join(table, predictions, groups),
        name=name,
        operating_point=scorer.operating_point,
        bundle_digest=scorer.digest,
        manifest_digest=manifest.digest,
        resamples=resamples,
        seed=seed,
    )


def summarise(
    rows: pd.DataFrame,
    *,
    name: str,
    operating_point: OperatingPoint,
    bundle_digest: str,
    manifest_digest: str,
    resamples: int = 1000,
    seed: int = 0,
) -> EvaluationReport:
    """Figures, counts and curves of judged images.

    `rows`: `source, path, image_id, y_true` 0/1, `y_prob` (calibrated, NaN when the image could not be
    decoded), `decision, group`, and `reason` if there is one. A refused image counts as referred: a
    melanoma as found, any other image as a false alarm. Raises ManifestError when a column or a value does
    not fit.
    """
    _check(rows, name)
    outcomes = _read_outcomes(rows)
    melanoma, referred = outcomes.y_true == 1, outcomes.referred
    return EvaluationReport(
        name=name,
        n=len(rows),
        n_melanoma=int(melanoma.sum()),
        n_other=int((~melanoma).sum()),
        n_groups=int(outcomes.group.max()) + 1,
        coverage=float(outcomes.assessed.mean()),
        figures=estimate_figures(outcomes, resamples=resamples, seed=seed),
        confusion=Confusion(
            tp=int((melanoma & referred).sum()),
            fp=int((~melanoma & referred).sum()),
            tn=int((~melanoma & ~referred).sum()),
            fn=int((melanoma & ~referred).sum()),
        ),
        refusals=_count_refusals(rows, outcomes),
        curves=_draw_curves(outcomes),
        operating_point=operating_point,
        bundle_digest=bundle_digest,
        manifest_digest=manifest_digest,
        resamples=resamples,
        seed=seed,
        rows=rows,
    )


def _join(
    table: pd.DataFrame, predictions: Sequence[Prediction], groups: Sequence[str] | None
) -> pd.DataFrame:
    """One row an image: what the manifest knows and what the scorer said."""
    rows = table[["source", "path", "image_id", "y_true"]].reset_index(drop=True)
    answers = [(p.y_prob, str(p.decision), p.reason, p.error) for p in predictions]
    said = pd.DataFrame(answers, columns=["y_prob", "decision", "reason", "error"], dtype="object")
    said["y_prob"] = said["y_prob"].astype("float64")
    ids = [str(number) for number in range(len(rows))] if groups is None else list(groups)
    if len(ids) != len(rows):
        raise ValueError(f"{len(ids)} group ids for {len(rows)} images")
    return pd.concat([rows, said, pd.Series(ids, name="group", dtype="object")], axis=1)


def _check(rows: pd.DataFrame, name: str) -> None:
    """Raise ManifestError at the first thing that would make figures wrong."""
    missing = [column for column in _COLUMNS if column not in rows.columns]
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


def _read_outcomes(rows: pd.DataFrame) -> Outcomes:
    """The columns as arrays; an image without a group id is a group of its own."""
    codes, found = pd.factorize(rows["group"])
    group = codes.astype(np.int64)
    alone = np.flatnonzero(group < 0)
    group[alone] = len(found) + np.arange(len(alone))
    return Outcomes(
        y_true=rows["y_true"].to_numpy(dtype=np.int64),
        y_prob=rows["y_prob"].to_numpy(dtype=np.float64),
        referred=(rows["decision"] != Decision.NO_SIGN).to_numpy(dtype=np.bool_),
        assessed=(rows["decision"] != Decision.CANNOT_ASSESS).to_numpy(dtype=np.bool_),
        group=group,
    )


def _count_refusals(rows: pd.DataFrame, outcomes: Outcomes) -> list[Refusal]:
    """Refused images by reason, most frequent first; rare reasons beyond the tenth together."""
    reason = rows["reason"].fillna("") if "reason" in rows.columns else pd.Series("", index=rows.index)
    reason = reason.where(rows["y_prob"].notna(), "the image could not be read")
    reason = reason.replace("", "no reason given")[~outcomes.assessed]
    melanoma = outcomes.y_true[~outcomes.assessed] == 1
    shown = list(reason.value_counts().index[:_REASONS_SHOWN])
    reason = reason.where(reason.isin(shown), "other reasons")
    return [
        Refusal(str(text), int(melanoma[reason == text].sum()), int((~melanoma[reason == text]).sum()))
        for text in reason.value_counts().index
    ]


def _draw_curves(outcomes: Outcomes) -> Curves:
    """The curves of the assessed images."""
    y_true, y_prob = outcomes.y_true[outcomes.assessed], outcomes.y_prob[outcomes.assessed]
    roc: Points = []
    precision_recall: Points = []
    if len(np.unique(y_true)) == 2:
        (tp,), (fp,) = Ranking.of(y_true, y_prob).cumulate(np.ones((1, len(y_true))))
        roc = thin(fp / fp[-1], tp / tp[-1])
        precision_recall = thin(tp[1:] / tp[-1], tp[1:] / (tp + fp)[1:])
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    other, melanoma = (np.histogram(y_prob[y_true == label], bins=edges)[0].tolist() for label in (0, 1))
    return Curves(roc, precision_recall, count_bins(y_true, y_prob), melanoma, other)

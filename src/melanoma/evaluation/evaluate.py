"""A scorer and labelled images go in, an `EvaluationReport` comes out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

import pandas as pd

from melanoma.errors import ManifestError
from melanoma.evaluation.curves import Curves, draw_curves
from melanoma.evaluation.judged import check, join, read_outcomes
from melanoma.evaluation.metrics import INTERVAL_METHOD, Estimate, Floats, Outcomes, estimate_figures
from melanoma.evaluation.mistakes import Mistake, find_worst
from melanoma.evaluation.subgroups import Breakdown, WithinSources, average_within, break_down
from melanoma.evaluation.utility import DecisionCurve, Projection, draw_decision_curves, project
from melanoma.inference.decision import OperatingPoint
from melanoma.inference.prediction import Prediction

_REASONS_SHOWN = 10


class Scorer(Protocol):
    """Whatever judges images: a loaded bundle's predictor, above all."""

    @property
    def operating_point(self) -> OperatingPoint | None:
        """The frozen operating point behind the decisions, None when it is not known."""
        ...

    @property
    def digest(self) -> str:
        """What identifies the model."""
        ...

    def score(self, paths: Sequence[str]) -> Iterator[Prediction]:
        """One prediction a path, in the order given."""
        ...


class LabelledImages(Protocol):
    """The part of a manifest that is needed here: a digest, `source, path, image_id, y_true`, and metadata."""

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
class EvaluationReport:
    """How one model did on one set of images.

    `figures` as named by `metrics.estimate_figures`. `n_groups`: what the bootstrap drew from.
    `operating_point`: None when only the decisions are known; its counts are 0 when it is not known on which
    images it was chosen. `sources`: names of the collections that the images are from. `projections`: PPV and NPV
    at other prevalences, none where not one image was assessed. `decision_curves` as `utility.draw_decision_curves`
    has them. `rows`: one row an image, kept beside the report, None when it was read from JSON.
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
    operating_point: OperatingPoint | None
    bundle_digest: str
    manifest_digest: str
    resamples: int
    seed: int
    interval_method: str = INTERVAL_METHOD
    within_sources: WithinSources | None = None
    breakdowns: list[Breakdown] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    decision_curves: list[DecisionCurve] = field(default_factory=list)
    rows: pd.DataFrame | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but `rows`, as plain JSON types."""
        parts = asdict(replace(self, rows=None))
        del parts["rows"]
        return parts

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, also after JSON. Raises TypeError on a foreign key."""
        plain = dict(values)
        plain["figures"] = {name: Estimate.from_dict(figure) for name, figure in plain["figures"].items()}
        plain["confusion"] = Confusion(**plain["confusion"])
        plain["refusals"] = [Refusal(**refusal) for refusal in plain["refusals"]]
        plain["curves"] = Curves.from_dict(plain["curves"])
        if plain["operating_point"] is not None:
            plain["operating_point"] = OperatingPoint.from_dict(plain["operating_point"])
        if plain.get("within_sources") is not None:
            plain["within_sources"] = WithinSources.from_dict(plain["within_sources"])
        plain["breakdowns"] = [Breakdown.from_dict(entry) for entry in plain.get("breakdowns", [])]
        plain["mistakes"] = [Mistake(**entry) for entry in plain.get("mistakes", [])]
        plain["projections"] = [Projection.from_dict(entry) for entry in plain.get("projections", [])]
        plain["decision_curves"] = [
            DecisionCurve.from_dict(entry) for entry in plain.get("decision_curves", [])
        ]
        return cls(**plain)


def evaluate(
    scorer: Scorer,
    manifest: LabelledImages,
    *,
    name: str,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[str] | None = None,
    ita: Floats | None = None,
    calibrated_to: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Judge every image of a manifest with the scorer and sum up.

    `groups`: one id a row, images that depend on each other (one patient, one lesion, the same picture)
    share it; without it every image stands for itself, and intervals are too narrow where images do depend
    on each other. `ita`: individual typology angle a row in degrees, NaN unknown, for figures by skin tone
    (see `skin_tone.estimate_angles`). `calibrated_to`: the prevalence that `y_prob` means, for decision curves; None
    takes it as that of the images. `progress` is called with (images done, images in all). Raises
    ManifestError when there is no image or not one can be read, and RuntimeError when the scorer does not answer
    each path in order.
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
    if predictions and all(prediction.error for prediction in predictions):
        raise ManifestError(
            f"not one of {len(paths):,} images can be read; the first: {paths[0]}: {predictions[0].error}"
        )
    return summarise(
        join(table, predictions, groups, ita),
        name=name,
        operating_point=scorer.operating_point,
        bundle_digest=scorer.digest,
        manifest_digest=manifest.digest,
        calibrated_to=calibrated_to,
        resamples=resamples,
        seed=seed,
    )


def summarise(
    rows: pd.DataFrame,
    *,
    name: str,
    operating_point: OperatingPoint | None,
    bundle_digest: str,
    manifest_digest: str,
    calibrated_to: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> EvaluationReport:
    """Figures, counts and curves of judged images.

    `rows`: `source, path, image_id, y_true` 0/1, `y_prob` (calibrated, NaN when the image could not be
    decoded), `decision, group`, and `reason` if there is one; `age_approx, sex, anatom_site_general,
    diagnosis, ita`, such as there are, for figures by subgroup. A refused image counts as referred: a
    melanoma as found, any other image as a false alarm. `calibrated_to` as in `evaluate`. Raises ManifestError when a
    column or a value does not fit.
    """
    check(rows, name)
    outcomes = read_outcomes(rows)
    confusion = _count_decisions(outcomes)
    drawn = {"resamples": resamples, "seed": seed}
    figures = estimate_figures(outcomes, **drawn)
    return EvaluationReport(
        name=name,
        n=len(rows),
        n_melanoma=confusion.tp + confusion.fn,
        n_other=confusion.fp + confusion.tn,
        n_groups=int(outcomes.group.max()) + 1,
        coverage=float(outcomes.assessed.mean()),
        figures=figures,
        confusion=confusion,
        refusals=_count_refusals(rows, outcomes),
        curves=draw_curves(outcomes),
        operating_point=operating_point,
        bundle_digest=bundle_digest,
        manifest_digest=manifest_digest,
        resamples=resamples,
        seed=seed,
        within_sources=average_within(rows, outcomes, **drawn),
        breakdowns=break_down(rows, outcomes, **drawn),
        mistakes=find_worst(rows),
        sources=sorted(rows["source"].unique()),
        projections=project(figures["sensitivity"], figures["specificity"])
        if outcomes.assessed.any()
        else [],
        decision_curves=draw_decision_curves(outcomes, calibrated_to, **drawn),
        rows=rows,
    )


def _count_decisions(outcomes: Outcomes) -> Confusion:
    melanoma, referred = outcomes.y_true == 1, outcomes.referred
    return Confusion(
        tp=int((melanoma & referred).sum()),
        fp=int((~melanoma & referred).sum()),
        tn=int((~melanoma & ~referred).sum()),
        fn=int((melanoma & ~referred).sum()),
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

"""Evaluations as files: JSON, the predictions, and one self-contained HTML page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from melanoma.data.tables import write_table
from melanoma.evaluation import pages, plain_words, plots, utility_plots
from melanoma.evaluation.comparison import Comparison
from melanoma.evaluation.evaluate import EvaluationReport
from melanoma.evaluation.looks import LookCount
from melanoma.evaluation.mistakes import Mistake
from melanoma.evaluation.pages import Picture, begin_document, embed_plot
from melanoma.evaluation.plain_words import Origin
from melanoma.evaluation.subgroups import MIN_OF_CLASS, SHOWN
from melanoma.evaluation.thumbnails import shorten, shrink
from melanoma.files import write_text

FORMAT_VERSION = 1
NAMES = ("evaluation.json", "predictions.csv", "report.html")
_FIGURES = {
    "auroc": ("AUROC", "chance that a melanoma gets a higher probability than another image"),
    "partial_auroc": (
        "Partial AUROC",
        "area of the ROC curve above a sensitivity of 80 %; from 0 to 0.2, chance gives 0.02",
    ),
    "sensitivity": ("Sensitivity", "share of the melanomas that are referred"),
    "specificity": ("Specificity", "share of the other images that are not referred"),
    "accuracy": ("Accuracy at 0.5", "share of all images called right at a probability of one half"),
    "accuracy_at_operating_point": ("Accuracy at the operating point", "share with the right decision"),
    "average_precision": (
        "Average precision",
        "precision averaged over recall",
    ),
    "ppv": ("PPV", "share of the referred that are melanoma, at the share of melanoma in these images"),
    "npv": ("NPV", "share of the not referred that are no melanoma, at the same share"),
    "brier": ("Brier score", "mean squared error of the probability; lower is better"),
    "ece": ("ECE", "mean gap between probability and observed share, 15 bins; lower is better"),
    "coverage": ("Coverage", "share of the images that could be assessed"),
    "auroc_all": ("AUROC, all", "with the refused images that have a probability"),
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of a montage. `uri` holds a thumbnail."""

    uri: str
    name: str
    y_prob: float
    diagnosis: str
    readable: bool


def save(
    reports: Sequence[EvaluationReport],
    folder: Path,
    *,
    title: str = "Evaluation",
    facts: Mapping[str, str] | None = None,
    history: Sequence[Mapping[str, float]] | None = None,
    notice: str | None = None,
    comparison: Comparison | None = None,
    looks: LookCount | None = None,
    origin: Origin | None = None,
) -> None:
    """Write `evaluation.json`, `predictions.csv` (with a column `dataset`) and `report.html` into a folder.

    See `render_report` for what the page needs; it reads the files of the worst errors again. The folder is
    made if need be; each file is replaced as a whole. Raises OutputError when one cannot be written.
    """
    document = {
        **begin_document(FORMAT_VERSION, title=title, notice=notice, facts=facts or {}, looks=looks),
        "origin": None if origin is None else origin.to_dict(),
        "comparison": None if comparison is None else comparison.to_dict(),
        "evaluations": [report.to_dict() for report in reports],
    }
    page = render_report(
        reports,
        title=title,
        facts=facts or {},
        history=history,
        notice=notice,
        comparison=comparison,
        looks=looks,
        origin=origin,
    )
    write_text(folder / "evaluation.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    rows = [_name_rows(report.rows, report.name) for report in reports if report.rows is not None]
    if rows:
        write_table(pd.concat(rows), folder / "predictions.csv")
    write_text(folder / "report.html", page)


def render_report(
    reports: Sequence[EvaluationReport],
    *,
    title: str,
    facts: Mapping[str, str],
    history: Sequence[Mapping[str, float]] | None = None,
    notice: str | None = None,
    comparison: Comparison | None = None,
    looks: LookCount | None = None,
    origin: Origin | None = None,
) -> str:
    """One HTML page that needs no other file, no script and no network.

    `reports` in the order of the columns; the last one is the one that counts (the test images) and leads
    the page. `facts`: provenance, shown as given. `notice`: a banner on top. `comparison`: of the last
    report's model with another. `looks`: how often the last report's images were looked at, None when they
    are no test images. `origin`: what they are to the model, None when nothing is known. Raises ValueError without a
    report.
    """
    if not reports:
        raise ValueError("a report page needs at least one evaluation")
    lead = reports[-1]
    missed, alarms = _show_mistakes(lead.mistakes)
    return pages.render(
        "report.html.j2",
        title=title,
        notice=notice,
        reports=reports,
        lead=lead,
        labels=_FIGURES,
        words=plain_words.describe(lead, origin, looks),
        figure_rows=_list_figures(reports),
        subgroup_columns=SHOWN,
        min_of_class=MIN_OF_CLASS,
        comparison=comparison,
        looks=looks,
        missed=missed,
        alarms=alarms,
        patients=_draw_patients(lead),
        use=[plain_words.describe_use(curve) for curve in lead.decision_curves],
        curves=_draw_curves(lead),
        pictures=_draw(reports, history),
        facts=facts,
    )


def _show_mistakes(mistakes: Sequence[Mistake]) -> tuple[list[Tile], list[Tile]]:
    """Misses and false alarms with their thumbnails."""
    thumbnails = shrink(mistake.path for mistake in mistakes)
    tiles: dict[bool, list[Tile]] = {True: [], False: []}
    for mistake in mistakes:
        seen = thumbnails[mistake.path]
        name, diagnosis = shorten(mistake.image_id), shorten(mistake.diagnosis, 40)
        tiles[mistake.missed].append(Tile(seen.uri, name, mistake.y_prob, diagnosis, seen.readable))
    return tiles[True], tiles[False]


def _name_rows(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    # Plain objects: pandas' own text type refuses a name that came from a folder whose name is no UTF-8.
    return rows.assign(dataset=pd.Series([name] * len(rows), index=rows.index, dtype="object"))


def _list_figures(reports: Sequence[EvaluationReport]) -> list[str]:
    """Names of the figures worth a row; without refused images one AUROC says it all."""
    refused = any(report.coverage < 1 for report in reports)
    return [name for name in _FIGURES if name != "auroc_all" or refused]


def _draw(
    reports: Sequence[EvaluationReport], history: Sequence[Mapping[str, float]] | None
) -> list[Picture]:
    """The plots in the order of the page."""
    lead = reports[-1]
    refused = "; refused images count as referred" if lead.refusals else ""
    pictures = [
        embed_plot(plots.plot_roc(reports), "How well the probability ranks melanoma above the rest (ROC)."),
        embed_plot(
            plots.plot_reliability(reports), "What a probability turned out to be worth (reliability)."
        ),
        embed_plot(plots.plot_probabilities(lead), f"Probabilities on {lead.name}, and the threshold."),
        embed_plot(
            plots.plot_confusion(lead), f"Truth (rows) and decision (columns) on {lead.name}{refused}."
        ),
    ]
    if history:
        pictures.append(embed_plot(plots.plot_history(history), "Training, epoch by epoch.", wide=True))
    return pictures


def _draw_patients(report: EvaluationReport) -> Picture | None:
    practice = plain_words.count_patients(report)
    if practice is None:
        return None
    caption = f"{plain_words.PATIENTS:,} patients, of whom {practice.melanomas} have melanoma: a dot each."
    return embed_plot(utility_plots.plot_patients(practice), caption)


def _draw_curves(report: EvaluationReport) -> list[Picture]:
    captions = ("Net benefit at the share of melanoma in these images.", "Net benefit in a practice.")
    return [
        embed_plot(utility_plots.plot_decision_curve(curve), caption)
        for curve, caption in zip(report.decision_curves, captions, strict=False)
    ]

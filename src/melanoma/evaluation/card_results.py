"""The figures of a model card for programs: what `results.json` beside a bundle holds."""

import json
from typing import Any, Final

from melanoma.evaluation.card import Card
from melanoma.evaluation.evaluate import EvaluationReport
from melanoma.evaluation.metrics import Estimate
from melanoma.inference.results import FORMAT_VERSION

FIGURES: Final = ("sensitivity", "specificity", "auroc")


def render(card: Card) -> str:
    """The file's text; the same card gives the same bytes."""
    values = {
        "format_version": FORMAT_VERSION,
        "bundle_digest": card.bundle.digest,
        "results": collect(card),
    }
    return json.dumps(values, indent=2) + "\n"


def collect(card: Card) -> list[dict[str, Any]]:
    """One entry for each set of images that did not make the model.

    `name`, `n_melanoma`, `n_other`, `coverage`, `where` (one of `card.HOME`, AWAY, MIXED, UNKNOWN); `figures`: FIGURES,
    each with `value`, `low`, `high`, `note`; `sources`: the same of its parts by source, none where there is one only.
    """
    return [
        {
            "name": judged.report.name,
            "where": judged.source,
            "n_melanoma": judged.report.n_melanoma,
            "n_other": judged.report.n_other,
            "coverage": judged.report.coverage,
            "figures": _pick(judged.report.figures),
            "sources": _list_sources(judged.report),
        }
        for judged in card.judged
    ]


def _list_sources(report: EvaluationReport) -> list[dict[str, Any]]:
    parts = [part for one in report.breakdowns if one.by == "source" for part in one.subgroups if part.name]
    return [
        {
            "name": part.name,
            "n_melanoma": part.n_melanoma,
            "n_other": part.n_other,
            "figures": _pick(part.figures),
        }
        for part in parts
    ]


def _pick(figures: dict[str, Estimate]) -> dict[str, dict[str, Any]]:
    keys = ("value", "low", "high", "note")
    return {name: {key: getattr(figures[name], key) for key in keys} for name in FIGURES if name in figures}

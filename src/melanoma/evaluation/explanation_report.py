"""The check of heat maps as files: JSON, a CSV with one row an image, and one self-contained HTML page."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from melanoma.data.tables import write_table
from melanoma.evaluation import explanation_plots as plots
from melanoma.evaluation import pages
from melanoma.evaluation.deletion import HIDDEN, PLACES
from melanoma.evaluation.explanation_figures import CLASSES
from melanoma.evaluation.explanation_summary import ALIKE, list_findings
from melanoma.evaluation.explanations import Explanations
from melanoma.evaluation.looks import LookCount
from melanoma.evaluation.pages import Picture, begin_document, embed_plot
from melanoma.evaluation.thumbnails import shorten
from melanoma.files import write_text

FORMAT_VERSION: Final = 1
NAMES: Final = ("explanations.json", "explanations.csv", "report.html")


def save(
    report: Explanations,
    folder: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    notice: str | None = None,
    looks: LookCount | None = None,
) -> None:
    """Write NAMES into a folder, which is made if need be; each file is replaced as a whole. Raises OutputError.

    `facts`: provenance, shown as given. `notice`: a banner on top of the page. `looks`: how often test images were
    looked at, None when these are none.
    """
    document = {
        **begin_document(FORMAT_VERSION, title=title, notice=notice, facts=facts, looks=looks),
        "findings": [asdict(finding) for finding in list_findings(report)],
        **report.to_dict(),
    }
    page = render(report, title=title, facts=facts, notice=notice, looks=looks)
    json_name, csv_name, page_name = NAMES
    write_text(folder / json_name, json.dumps(document, indent=1, allow_nan=False) + "\n")
    write_table(report.rows, folder / csv_name)
    write_text(folder / page_name, page)


def render(
    report: Explanations,
    *,
    title: str,
    facts: Mapping[str, str],
    notice: str | None = None,
    looks: LookCount | None = None,
) -> str:
    """One HTML page that needs no other file, no script and no network; see `save`."""
    page = pages.render(
        "explanations.html.j2",
        title=title,
        notice=notice,
        report=report,
        findings=list_findings(report),
        pictures=_draw(report),
        tiles=_describe_examples(report),
        looks=looks,
        hidden=HIDDEN,
        places=PLACES,
        alike=ALIKE,
        facts=facts,
    )
    return pages.make_writable(page)


def _draw(report: Explanations) -> dict[str, Picture]:
    pictures = {}
    if any(part.figures["heat_on_lesion"].value is not None for part in report.parts):
        caption = "Share that lies on the lesion, with 95 % intervals; in brackets the images."
        pictures["shares"] = embed_plot(plots.plot_shares(report.parts), caption)
    if report.maps:
        caption = "Mean heat map of each class. Within the line most lesions have a part: half of the images or more."
        pictures["maps"] = embed_plot(plots.plot_maps(report.maps), caption)
    if report.weights is not None:
        caption = "How alike heat maps stay when more and more layers are made random, from the output down."
        pictures["steps"] = embed_plot(plots.plot_steps(report.weights), caption)
    return pictures


def _describe_examples(report: Explanations) -> list[dict[str, object]]:
    tiles = []
    for example in report.examples:
        row = report.rows.iloc[example.number]
        share = row["heat_on_lesion"]
        tiles.append(
            {
                "uri": example.uri,
                "name": shorten(str(row["image_id"])),
                "truth": CLASSES[int(row["y_true"])],
                "y_prob": float(row["y_prob"]),
                "share": None if share != share else float(share),  # noqa: PLR0124, NaN
            }
        )
    return tiles

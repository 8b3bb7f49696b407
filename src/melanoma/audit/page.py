"""One HTML page of an audit that needs no other file, no script and no network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from melanoma.audit import duplicates, summary
from melanoma.audit.confounding import Confounding, ConfoundingReport
from melanoma.audit.montage import Example, choose_pairs
from melanoma.audit.plots import MAX_SCOPES, plot_confounding
from melanoma.audit.result import Audit, Leak, Overlap, Problem
from melanoma.evaluation.pages import DISCLAIMER, embed, make_environment, make_writable
from melanoma.evaluation.thumbnails import shorten, shrink
from melanoma.version import __version__

LISTED = 20  # rows of a kind; audit.json has all
# What is shown: with these the page stays under 4 MB, whatever the images hold.
_COPIES, _VIEWS = 18, 12  # pairs
_GROUPS, _MEMBERS = 6, 6  # groups, and images of each
_LEAKS, _OF_EACH = 24, 3  # pairs of all leaks together, and of each
_KINDS = {
    duplicates.SAME_BYTES: "same file",
    duplicates.SAME_PIXELS: "same pixels",
    duplicates.COPY: "copy",
    duplicates.VIEW: "another view",
}
_TIES = ("photograph", "lesion", "patient")
_CUES = {
    "border": "colour and contrast along the rim of the image",
    "frame": "where the dark surround of the dermatoscope lies",
    "skin": "colours of the skin away from the lesion",
    "file": "pixels, format and compression in the file's header",
    "file size": "bytes, to which the lesion's texture adds",
    "together": "all of these but the file size",
}


@dataclass(frozen=True, slots=True)
class LeakFinding:
    """What crosses a line, in words, and images on both sides of it."""

    leak: Leak
    sentence: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class CueTable:
    """AUROCs of one target by cue and scope.

    `lead`: what the first cue tells, to be said in words; `plotted`: scopes in the plot; `uri` holds the plot, ''
    when there is nothing to plot.
    """

    title: str
    scopes: list[tuple[str | None, str]]
    plotted: int
    uri: str
    rows: dict[str, list[Confounding | None]]
    lead: list[Confounding]


def render(audit: Audit) -> str:
    """The page as text that can be written as UTF-8. Reads the image files of the examples again."""
    is_view = audit.pairs["kind"] == duplicates.VIEW
    copies = _show_pairs(choose_pairs(audit.pairs[~is_view], _COPIES))
    views = _show_pairs(choose_pairs(audit.pairs[is_view], _VIEWS))
    groups = _show_groups(audit)
    leaks = _explain_leaks(audit.leaks)
    shown = [*copies, *views, *groups.values(), *(one for found in leaks for one in found.examples)]
    page = make_environment("melanoma.audit").get_template("audit.html.j2").render(
        audit=audit,
        version=__version__,
        disclaimer=DISCLAIMER,
        total=len(audit.images),
        sources=summary.summarise_sources(audit),
        copied=int(summary.find_copied(audit).sum()),
        pairs=summary.count_pairs(audit),
        kinds=_KINDS,
        problems=_group_problems(audit.problems),
        overlaps=_tabulate_overlaps(audit.overlaps),
        copies=copies,
        views=views,
        groups=groups,
        group_counts=summary.count_groups(audit),
        leaks=leaks,
        across_test=_find_given_test(leaks),
        has_split=bool((audit.images["given_split"] == "test").any()),
        has_labels=bool(audit.images["y_true"].notna().any()),
        telling=summary.find_telling(audit.confounding) if audit.confounding else None,
        cue_tables=_tabulate_cues(audit.confounding),
        cues=_CUES,
        place=lambda problem: _shorten_path(problem, audit.roots),
        tiles=_describe_tiles(audit.images, {row for example in shown for row in example.rows}),
        method=duplicates,
        listed=LISTED,
        shorten=shorten,
        share=format_share,
        sentence=_finish_sentence,
    )  # fmt: skip
    return make_writable(page)


def format_share(part: int, whole: int) -> str:
    """A share in per cent, never rounded up to all or down to none."""
    if whole == 0:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.5 or 99.5 < percent < 100:
        return "under 1 %" if percent < 50 else "over 99 %"
    return f"{percent:.0f} %"


def _show_pairs(pairs: pd.DataFrame) -> list[Example]:
    said = [
        ", ".join(filter(None, [_KINDS[kind], f"score {score:.2f}", change]))
        for kind, score, change in zip(pairs["kind"], pairs["score"], pairs["change"], strict=True)
    ]
    rows = zip(pairs["first"].tolist(), pairs["second"].tolist(), said, strict=True)
    return [Example((first, second), caption) for first, second, caption in rows]


def _show_groups(audit: Audit) -> dict[str, Example]:
    """The largest groups, each with its first images."""
    found = list(summary.list_largest(audit).items())[:_GROUPS]
    return {group: Example(tuple(rows[:_MEMBERS]), _count_members(len(rows))) for group, rows in found}


def _count_members(count: int) -> str:
    return f"{count:,} images" + (f", {_MEMBERS} of them shown" if count > _MEMBERS else "")


def _explain_leaks(leaks: Sequence[Leak]) -> list[LeakFinding]:
    """Every leak that holds a group, with examples that no leak before it shows, while they last.

    Sides that share most come first; of two sides what shares a photograph, then a lesion, then a patient.
    """
    size: dict[tuple[str, str, str], int] = {}
    for leak in leaks:
        sides = (leak.across, leak.first, leak.second)
        size[sides] = max(size.get(sides, 0), leak.images)
    shown: set[tuple[int, int]] = set()
    found = []
    for leak in sorted(
        leaks, key=lambda x: (-size[x.across, x.first, x.second], x.first, x.second, _TIES.index(x.by))
    ):
        if leak.groups:
            new = [pair for pair in leak.examples if pair not in shown]
            chosen = new[: min(_OF_EACH, _LEAKS - len(shown))]
            shown.update(chosen)
            examples = tuple(Example(pair, "") for pair in chosen)
            found.append(LeakFinding(leak, summary.describe_leak(leak), examples))
    return found


def _find_given_test(leaks: Iterable[LeakFinding]) -> LeakFinding | None:
    """What crosses from the given training images to the given test images, as widely as it is known."""
    sides = {"train", "test"}
    lines = [found for found in leaks if {found.leak.first, found.leak.second} == sides]
    given = [found for found in lines if found.leak.across == "splits"]
    return max(given, key=lambda found: found.leak.images, default=None)


def _group_problems(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    grouped: dict[str, list[Problem]] = {}
    for problem in problems:
        grouped.setdefault(problem.check, []).append(problem)
    return dict(sorted(grouped.items()))


def _shorten_path(problem: Problem, roots: Mapping[str, str]) -> str:
    root = roots.get(problem.source, "")
    return problem.path.removeprefix(f"{root.rstrip('/')}/") if root else problem.path


def _tabulate_overlaps(overlaps: Iterable[Overlap]) -> dict[tuple[str, str], tuple[Overlap, int, int]]:
    """By source of the row and of the column: the overlap, and images and melanoma of the row's source."""
    cells = {}
    for overlap in overlaps:
        first, second = overlap.first, overlap.second
        cells[second, first] = (overlap, overlap.second_images, overlap.second_melanoma)
        cells[first, second] = (overlap, overlap.first_images, overlap.first_melanoma)
    return cells


def _tabulate_cues(report: ConfoundingReport | None) -> list[CueTable]:
    """A table and a plot for melanoma, and for the source."""
    names = {"melanoma": "Melanoma from other", "source": "The source"}
    findings = report.findings if report else ()
    found = {name: [finding for finding in findings if finding.target == name] for name in names}
    return [_tabulate_target(title, found[name]) for name, title in names.items() if found[name]]


def _tabulate_target(title: str, findings: Sequence[Confounding]) -> CueTable:
    images: dict[str | None, int] = {}
    for finding in findings:
        here = finding.counts.get(finding.scope or "", sum(finding.counts.values()))
        images[finding.scope] = max(images.get(finding.scope, 0), here)
    whole = "all sources" if findings[0].target == "melanoma" else "each from the others, mean"
    if len(images) == 1 and findings[0].target == "source":
        whole = "one from the other"
    scopes = [(scope, whole if scope is None else scope) for scope in images]
    largest = sorted(images, key=lambda scope: (scope is not None, -images[scope]))[:MAX_SCOPES]
    drawn = [pair for pair in scopes if pair[0] in largest]
    by_place = {(finding.cue, finding.scope): finding for finding in findings}
    cues = list(dict.fromkeys(finding.cue for finding in findings))
    rows = {cue: [by_place.get((cue, scope)) for scope, _ in scopes] for cue in cues}
    lead = [by_place[cues[0], scope] for scope, _ in drawn if (cues[0], scope) in by_place]
    uri = ""
    if any(finding.estimate.value is not None for finding in findings):
        uri = embed(plot_confounding(findings, drawn))
    return CueTable(title, scopes, len(drawn), uri, rows, lead)


def _describe_tiles(images: pd.DataFrame, rows: Iterable[int]) -> Mapping[int, dict[str, Any]]:
    """What the page shows of each of these images."""
    wanted = images.iloc[sorted(rows)]
    thumbnails = shrink(wanted["path"])
    classes = summary.classify(wanted)
    return {
        row: {"source": source, "name": name, "label": label, "thumbnail": thumbnails[path]}
        for row, source, name, label, path in zip(
            sorted(rows), wanted["source"], wanted["image_id"], classes, wanted["path"], strict=True
        )
    }


def _finish_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."

"""A model card as Markdown or as one self-contained HTML page; the same inputs give the same bytes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import markdown_it
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it.token import Token

from melanoma.evaluation import card_facts, card_results, checklist
from melanoma.evaluation.card import MADE, BreakdownSummary, Card, summarise_breakdown
from melanoma.evaluation.card_limits import list_limits
from melanoma.evaluation.evaluate import EvaluationReport
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.pages import (
    DISCLAIMER,
    format_number,
    format_percent,
    format_precise,
    format_span,
    make_environment,
    tie,
)
from melanoma.evaluation.statements import TITLES
from melanoma.files import write_text
from melanoma.version import __version__

REPORTED: Final = "✓ reported"
MISSING: Final = "✗ missing"
_CLASSES: Final = {REPORTED: "there", MISSING: "missing"}
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def save(card: Card, path: Path) -> None:
    """Write the card, as HTML or, for programs, JSON where the name ends so, else as Markdown. Raises OutputError."""
    forms = {".html": render_html, ".htm": render_html, ".json": card_results.render}
    write_text(path, forms.get(path.suffix.lower(), render_markdown)(card))


def render_markdown(card: Card) -> str:
    """The card as GitHub's Markdown, without any HTML; what it is told cannot become markup."""
    lists = {
        "TRIPOD+AI": checklist.tick(checklist.TRIPOD, card),
        "CLEAR Derm": checklist.tick(checklist.CLEAR_DERM, card),
    }
    text = (
        _make_markdown_environment()
        .get_template("card.md.j2")
        .render(
            card=card,
            bundle=card.bundle,
            facts=card.facts,
            disclaimer=DISCLAIMER,
            version=__version__,
            sections=card_facts,
            made=MADE,
            breakdowns=[_sort_breakdowns(judged.report) for judged in card.judged],
            recipe=_group_settings(card.facts.get("recipe", {})),
            limits=list_limits(card),
            titles=TITLES,
            lists=lists,
            marks=(REPORTED, MISSING),
        )
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def render_html(card: Card) -> str:
    """The card as one page that needs no other file, no script and no network."""
    parser = markdown_it.MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", _close_table)
    tokens = parser.parse(render_markdown(card))
    _mark(tokens)
    body = parser.renderer.render(tokens, parser.options, {})
    page = make_environment().get_template("card.html.j2")
    return page.render(
        title=f"Model card: {card.bundle.name}", body=_join_intervals(tie(body)), disclaimer=DISCLAIMER
    )


def _make_markdown_environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("melanoma.evaluation"),
        autoescape=False,  # noqa: S701 - Markdown, where every text goes through `plain`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": _escape, "anchor": _make_anchor}
    environment.globals |= {
        "figure": _write_figure,
        "share": _write_share,
        "percent": format_percent,
        "number": format_number,
    }
    return environment


def _escape(text: object) -> str:
    """A text from outside as one line of Markdown that means itself."""
    shown = "".join(letter if letter.isprintable() else " " for letter in str(text))
    return _SPECIAL.sub(r"\\\1", " ".join(shown.split()))


def _write_figure(figure: Estimate | None) -> str:
    """A figure with its interval, or why there is none."""
    if figure is None:
        return "–"
    if figure.value is None:
        return _escape(figure.note)
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f} ({_escape(figure.note)})"
    return f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"


def _write_share(figure: Estimate | None) -> str:
    """The same in per cent."""
    if figure is None:
        return "–"
    if figure.value is None:
        return _escape(figure.note)
    return f"{format_precise(figure.value)} ({_escape(format_span(figure))})"


def _sort_breakdowns(report: EvaluationReport) -> tuple[str, list[BreakdownSummary], list[str]]:
    """The name of the images, by what there are parts of them, and what is not stated for any."""
    found = [summarise_breakdown(part) for part in report.breakdowns]
    return report.name, [part for part in found if part.n], [part.by for part in found if not part.n]


def _group_settings(recipe: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """A recipe's groups with their names and values; a value without a group has no name of its own."""
    return [
        (
            name,
            [(key, str(one)) for key, one in value.items()]
            if isinstance(value, dict)
            else [("", str(value))],
        )
        for name, value in recipe.items()
    ]


def _make_anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _mark(tokens: Sequence[Token]) -> None:
    """Headings get their anchors, cells of the checklists their state."""
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _make_anchor(tokens[number + 1].content))
        elif token.type == "td_open" and tokens[number + 1].content in _CLASSES:
            token.attrSet("class", _CLASSES[tokens[number + 1].content])


def _join_intervals(text: str) -> str:
    """No line ends within an interval."""
    return re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", text)


def _open_table(*_: object) -> str:
    return '<div class="scroll" tabindex="0"><table>\n'


def _close_table(*_: object) -> str:
    return "</table></div>\n"

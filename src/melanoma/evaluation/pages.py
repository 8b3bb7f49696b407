"""What all HTML pages share: no other file, no script, no network; how figures are written in words."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from melanoma.evaluation.looks import LookCount
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.plots import to_svg
from melanoma.version import __version__

DISCLAIMER = (
    "This is research software. It is not a medical device: no one should be treated, "
    "or left untreated, because of what it says."
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One plot of the page. `uri` holds the whole image."""

    caption: str
    uri: str
    wide: bool = False


def make_environment(*rooms: str) -> Environment:
    """Templates of these packages, the first that has a name wins, and of `melanoma.evaluation`."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(room) for room in (*rooms, "melanoma.evaluation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "number": format_number,
        "interval": format_interval,
        "percent": format_percent,
        "signed": format_signed,
        "chance": format_chance,
        "precise": format_precise,
        "span": format_span,
    }
    environment.filters["tie"] = tie
    return environment


def render(template: str, *, facts: Mapping[str, str], **values: Any) -> str:
    """A page of `melanoma.evaluation`.

    `facts`: provenance, shown as given after the version; `values`: what else the template needs.
    """
    page = make_environment().get_template(template)
    return page.render(disclaimer=DISCLAIMER, facts={"melanoma version": __version__, **facts}, **values)


def make_writable(page: str) -> str:
    """The page with escapes for names that are no UTF-8, which must not keep it from being written or read."""
    return page.encode("utf-8", "backslashreplace").decode()


def begin_document(
    format_version: int, *, title: str, notice: str | None, facts: Mapping[str, str], looks: LookCount | None
) -> dict[str, Any]:
    """What every result begins with as JSON; `looks`: None when no test images were judged."""
    return {
        "format_version": format_version,
        "melanoma_version": __version__,
        "title": title,
        "notice": notice,
        "facts": dict(facts),
        "test_looks": None if looks is None else asdict(looks),
    }


def embed_plot(figure: Figure, caption: str, wide: bool = False) -> Picture:
    """A plot of a page, whole, with its caption; `wide` takes all columns."""
    return Picture(caption, embed(figure), wide)


def embed(figure: Figure) -> str:
    """A plot as the address of an image that the page itself holds."""
    return f"data:image/svg+xml;base64,{base64.b64encode(to_svg(figure).encode()).decode()}"


def tie(text: str) -> str:
    """No line ends before a per cent sign."""
    return text.replace(" %", "\u00a0%")


def format_number(value: float | None) -> str:
    """Three decimals, a dash for none."""
    return "–" if value is None else f"{value:.3f}"


def format_signed(value: float | None) -> str:
    """With its sign, so that a difference cannot be taken for a figure."""
    return "–" if value is None else f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")  # + 0.0: no -0.000


def format_chance(p_value: float) -> str:
    """A p value, in words where it is tiny."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def format_percent(share: float) -> str:
    """One decimal, but none for a round share; never rounded up to all or down to none."""
    if 0 < share < 0.0005 or 0.9995 < share < 1:
        return "less than 0.1 %" if share < 0.5 else "more than 99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def format_interval(figure: Estimate) -> str:
    """The interval, or why there is none."""
    if figure.low is None or figure.high is None:
        return figure.note
    return f"{figure.low:.3f}–{figure.high:.3f}"


def format_precise(share: float) -> str:
    """A share in per cent, with as many decimals as it takes to tell it from none and from all."""
    return f"{100 * share:.{_count_decimals(share)}f} %"


def format_span(figure: Estimate) -> str:
    """An interval of a share in per cent, as precise as the share itself, or why there is none."""
    if figure.value is None or figure.low is None or figure.high is None:
        return figure.note
    decimals = _count_decimals(figure.value)
    return f"{100 * figure.low:.{decimals}f}–{100 * figure.high:.{decimals}f} %"


def _count_decimals(share: float) -> int:
    rest = 100 * min(share, 1 - share)
    return 1 if rest >= 0.95 or rest == 0 else 2 if rest >= 0.095 else 3

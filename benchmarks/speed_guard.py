"""Fails when prediction has become slower: a quick run of `speed.py` against the committed one, ratio by ratio.

    python benchmarks/speed_guard.py            compare
    python benchmarks/speed_guard.py --write    measure all anew and write results.json and its table

Only ratios inside one run are compared, never seconds, and a loss of up to 30 % passes. A run that fails is made once
more, since another program may have come between.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import speed

RESULTS = Path(__file__).parent / "results.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "results.md"
BEGIN, END = "<!-- speed -->", "<!-- end of speed -->"
ALLOWED = 1.3
GUARDED = {  # which way is better
    ("cold", "share of Keras"): "less",
    ("warm", "whole to its parts"): "less",
    ("folder", "share of the ceiling"): "more",
    ("folder", "times Keras, batches"): "more",
    ("folder", "times Keras, one by one"): "more",
    ("explanation", "times the plain cost"): "less",
}


def compare(found: dict[str, Any], kept: dict[str, Any]) -> Iterator[str]:
    """A line for each ratio that is worse than the kept one by more than is allowed."""
    for (part, name), better in GUARDED.items():
        now, before = found[part][name], kept[part][name]
        loss = now / before if better == "less" else before / now
        if loss > ALLOWED:
            yield f"{part}, {name}: {now:.3f}, was {before:.3f}"


def guard() -> int:
    """0 when nothing is slower, 1 when something is."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))["quick"]
    for attempt in (1, 2):
        began = time.monotonic()
        worse = list(compare(speed.measure(True, None), kept))
        print(f"speed, try {attempt}: {'; '.join(worse) or 'as before'} ({time.monotonic() - began:.0f} s)")
        if not worse:
            return 0
    return 1


def write() -> None:
    """Both runs into results.json, and the table of the full one into the document."""
    results = {
        "about": speed.describe(),
        "full": speed.measure(False, None),
        "quick": speed.measure(True, None),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{render(results)}{END}{after}", encoding="utf-8")


def render(results: dict[str, Any]) -> str:
    """The table as Markdown."""
    about = results["about"]
    lines = [f"{about['machine']}; bundle {about['bundle'][:12]}.", ""]
    for part, figures in results["full"].items():
        lines += [f"| {part} | |", "|---|---|"]
        lines += [f"| {name} | {_show(name, value)} |" for name, value in figures.items()]
        lines.append("")
    return "\n".join(lines)


def _show(name: str, value: float) -> str:
    if name.startswith("share") or "cores busy" in name:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if value >= 100 or "MB" in name or name == "images" else f"{value:.2f}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    else:
        sys.exit(guard())

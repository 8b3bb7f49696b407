"""Tables of what `scripts/bench` left, one column a model.

python benchmarks/bench_table.py NAME=OUT [NAME=OUT ...]
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SOURCES = ("melanoma10k", "ham10000", "isic2017")
FIGURES = ("auroc", "partial_auroc", "sensitivity", "specificity", "accuracy", "ece", "coverage")
Read = Callable[[Path], Any]


def read(path: Path) -> Any:
    """What a JSON file holds, None when it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write(estimate: dict[str, Any] | None, digits: int = 3) -> str:
    """A figure with its interval."""
    if estimate is None or estimate["value"] is None:
        return "–"
    if estimate["low"] is None:
        return f"{estimate['value']:.{digits}f}"
    return f"{estimate['value']:.{digits}f} ({estimate['low']:.{digits}f}–{estimate['high']:.{digits}f})"


def show(title: str, models: Sequence[tuple[str, Path]], rows: dict[str, Read]) -> None:
    """One Markdown table of the rows that some model has."""
    cells = {name: [str(cell(out)) for _, out in models] for name, cell in rows.items()}
    known = {name: row for name, row in cells.items() if any(value != "–" for value in row)}
    if known:
        print(f"\n| {title} | {' | '.join(name for name, _ in models)} |\n|---|{'---|' * len(models)}")
    for name, row in known.items():
        print(f"| {name} | {' | '.join(row)} |")


def judge(source: str, figure: str) -> Read:
    """A figure of an evaluation."""

    def cell(out: Path) -> str:
        found = read(out / source / "evaluation.json")
        return write(found["evaluations"][0]["figures"].get(figure)) if found else "–"

    return cell


def count(source: str) -> Read:
    """Images and melanomas of an evaluation."""

    def cell(out: Path) -> str:
        found = read(out / source / "evaluation.json")
        return (
            f"{found['evaluations'][0]['n']:,} ({found['evaluations'][0]['n_melanoma']:,})" if found else "–"
        )

    return cell


def list_parts(models: Sequence[tuple[str, Path]], source: str) -> list[tuple[str, str]]:
    """Attribute and name of each subgroup that some model has an AUROC for."""
    found = [read(out / source / "evaluation.json") for _, out in models]
    parts = [
        (breakdown["by"], part["name"])
        for one in filter(None, found)
        for breakdown in one["evaluations"][0]["breakdowns"]
        for part in breakdown["subgroups"]
        if part["figures"].get("auroc", {}).get("value") is not None
    ]
    return list(dict.fromkeys(parts))


def judge_part(source: str, by: str, name: str) -> Read:
    """AUROC of a subgroup."""

    def cell(out: Path) -> str:
        found = read(out / source / "evaluation.json")
        parts = [
            part
            for breakdown in (found["evaluations"][0]["breakdowns"] if found else [])
            for part in breakdown["subgroups"]
            if (breakdown["by"], part["name"]) == (by, name)
        ]
        return write(parts[0]["figures"]["auroc"]) if parts else "–"

    return cell


def calibrate(source: str, figure: str, when: str) -> Read:
    """A figure of the calibration on a source, before or after."""

    def cell(out: Path) -> str:
        found = read(out / f"calibrated-{source}" / "bundle.json")
        return write(found["facts"]["recalibration"]["calibration"][when].get(figure)) if found else "–"

    return cell


def stress(place: str, change: str, label: str, figure: str) -> Read:
    """How far a change moves a class, and noise of the same energy."""

    def cell(out: Path) -> str:
        found = read(out / f"stress-{place}" / "stress.json")
        effect = next((e for e in found["effects"] if e["change"] == change), None) if found else None
        if effect is None:
            return "–"
        figures = effect["classes"][label]["figures"][figure]
        control = figures["control"] and figures["control"]["value"]
        return write(figures["changed"]) + ("" if control is None else f"; noise {control:.3f}")

    return cell


def hide(place: str, change: str) -> Read:
    """AUROC after a change."""

    def cell(out: Path) -> str:
        found = read(out / f"stress-{place}" / "stress.json")
        effect = next((e for e in found["effects"] if e["change"] == change), None) if found else None
        return write(effect["auroc"]["after"]) if effect and effect["auroc"] else "–"

    return cell


def heat(part: str, figure: str) -> Read:
    """A figure of the heat maps."""

    def cell(out: Path) -> str:
        found = read(out / "heat-home" / "explanations.json")
        chosen = [p for p in found["parts"] if p["name"] == part] if found else []
        return write(chosen[0]["figures"].get(figure), 2) if chosen else "–"

    return cell


def randomise(out: Path) -> str:
    """Likeness of heat maps with all weights random."""
    found = read(out / "heat-home" / "explanations.json")
    return write(found["weights"]["steps"][-1]["likeness"]["spearman"], 2) if found else "–"


def main() -> None:
    """Print all tables."""
    models = [(name, Path(out)) for name, out in (pair.split("=", 1) for pair in sys.argv[1:])]
    for source in SOURCES:
        rows: dict[str, Read] = {"images (melanoma)": count(source)}
        show(source, models, rows | {figure: judge(source, figure) for figure in FIGURES})
        parts = list_parts(models, source)
        show(
            f"{source}: AUROC of parts",
            models,
            {f"{by}: {name or 'not stated'}": judge_part(source, by, name) for by, name in parts},
        )
    for source in SOURCES[1:]:
        figures = ("ece", "brier", "intercept", "slope")
        show(
            f"calibrated on {source}",
            models,
            {f"{f}, {when}": calibrate(source, f, when) for f in figures for when in ("before", "after")},
        )
    for place in ("home", "away"):
        found = next(filter(None, (read(out / f"stress-{place}" / "stress.json") for _, out in models)), None)
        changes = list(found["changes"]) if found else []
        show(
            f"stress, {place}: melanomas lost",
            models,
            {c: stress(place, c, "melanoma", "to_no_sign") for c in changes},
        )
        show(
            f"stress, {place}: false alarms gained",
            models,
            {c: stress(place, c, "other", "to_refer") for c in changes},
        )
        show(f"stress, {place}: AUROC", models, {c: hide(place, c) for c in changes})
    shares = ("heat_on_lesion", "lesion_area", "blob_on_lesion", "heat_on_frame_edge", "frame_edge")
    rows = {f"{part}: {share}": heat(part, share) for part in ("melanoma", "other") for share in shares}
    show("heat maps, home", models, rows | {"all weights random": randomise})


if __name__ == "__main__":
    main()

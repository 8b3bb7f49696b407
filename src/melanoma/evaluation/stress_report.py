"""Stress tests as files: JSON, a row an image and change, and one self-contained HTML page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from melanoma.data.manifest import UNLABELLED
from melanoma.data.synthetic import render as draw
from melanoma.data.tables import write_table
from melanoma.evaluation import pages, stress_plots
from melanoma.evaluation.effects import Effect
from melanoma.evaluation.looks import LookCount
from melanoma.evaluation.occlusion import occlude
from melanoma.evaluation.pages import begin_document, embed_plot, format_percent
from melanoma.evaluation.pairs import LESION_ALONE, LESION_HIDDEN, TITLES
from melanoma.evaluation.perturbations import CHANGES, add_noise, measure_energy, seed_generator
from melanoma.evaluation.stress import StressReport
from melanoma.evaluation.stress_words import PLURAL, describe
from melanoma.evaluation.thumbnails import embed
from melanoma.files import write_text

FORMAT_VERSION: Final = 1
NAMES: Final = ("stress.csv", "stress.json", "report.html")
_NOISY = "hair_strong"  # the change whose noise is shown
_EXAMPLE_SEED = 1
_CAPTIONS: Final = {
    "lesion": (
        "AUROC with 95 % intervals. With the lesion hidden it should be 0.5: whoever does not see the lesion should"
        " know nothing of it."
    ),
    "movements": (
        "How far the probability moves, mean over the images, with 95 % intervals. Turns and crops move the pixels,"
        " so noise of equal energy is no control for them."
    ),
    "flips": "Decisions that flip, as shares of all images of the class, with 95 % intervals.",
}
_HARMS: Final = (
    ("melanoma", "to_no_sign", "Most melanomas lost"),
    ("other", "to_refer", "Most false alarms gained"),
    ("unlabelled", "to_no_sign", "Most no longer referred"),
    ("unlabelled", "to_refer", "Most newly referred"),
)


@dataclass(frozen=True, slots=True)
class Example:
    """One change made to the drawn image. `uri` holds a thumbnail."""

    title: str
    strength: str
    uri: str


@dataclass(frozen=True, slots=True)
class Card:
    """One figure on top of the page, with what it is of and its interval or whose it is."""

    label: str
    value: str
    note: str


def save(
    report: StressReport,
    folder: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    notice: str | None = None,
    looks: LookCount | None = None,
) -> None:
    """Write `stress.csv`, `stress.json` and `report.html` into a folder.

    The folder is made if need be; each file is replaced as a whole. Raises OutputError when one cannot be
    written.
    """
    document = {
        **begin_document(FORMAT_VERSION, title=title, notice=notice, facts=facts, looks=looks),
        **report.to_dict(),
        "changes": {name: {"title": words[0], "strength": words[1]} for name, words in TITLES.items()},
        "sentences": {effect.change: describe(effect) for effect in report.effects},
    }
    page = render(report, title=title, facts=facts, notice=notice, looks=looks)
    labels = report.rows["y_true"].astype(object)
    write_table(report.rows.assign(y_true=labels.where(labels != UNLABELLED, "")), folder / "stress.csv")
    write_text(folder / "stress.json", json.dumps(document, indent=1, allow_nan=False) + "\n")
    write_text(folder / "report.html", page)


def render(
    report: StressReport,
    *,
    title: str,
    facts: Mapping[str, str],
    notice: str | None = None,
    looks: LookCount | None = None,
) -> str:
    """One HTML page that needs no other file and holds no image of the user's: its examples are drawn.

    `facts`: provenance, shown as given. `notice`: a banner on top. `looks`: how often the images were looked
    at, None when they are no test images.
    """
    hidden, alone = report.find(LESION_HIDDEN), report.find(LESION_ALONE)
    artefacts = [effect for effect in report.effects if effect not in (hidden, alone)]
    page = pages.render(
        "stress.html.j2",
        title=title,
        notice=notice,
        report=report,
        artefacts=artefacts,
        hidden=hidden,
        alone=alone,
        titles=TITLES,
        plural=PLURAL,
        describe=_describe,
        cards=choose_cards(report, artefacts),
        examples=draw_examples(),
        movements=embed_plot(stress_plots.plot_movements(artefacts), _CAPTIONS["movements"], wide=True),
        flips=embed_plot(stress_plots.plot_flips(artefacts), _CAPTIONS["flips"], wide=True),
        lesion=embed_plot(stress_plots.plot_lesion(hidden, alone), _CAPTIONS["lesion"], wide=True),
        looks=looks,
        facts=facts,
    )
    return pages.make_writable(page)


def _describe(effect: Effect) -> str:
    """The sentences of one change, no line ending before a per cent sign."""
    return describe(effect).replace(" %", "\u00a0%")


def choose_cards(report: StressReport, artefacts: Sequence[Effect]) -> list[Card]:
    """AUROC with and without the lesion, and of each harm the artefact that does most of it."""
    cards = []
    for label, figure in (
        ("AUROC, as photographed", artefacts[0].auroc.before),
        ("AUROC, lesion hidden", report.find(LESION_HIDDEN).auroc.after),
    ):
        if figure.value is not None:
            spread = "" if figure.low is None else f"{figure.low:.3f}–{figure.high:.3f}"
            cards.append(Card(label, f"{figure.value:.3f}", spread))
    for name, harm, label in _HARMS:
        shares = {
            effect.change: effect.classes[name].figures[harm].changed.value or 0.0
            for effect in artefacts
            if name in effect.classes
        }
        if shares:
            worst = max(shares, key=lambda change: shares[change])
            some = shares[worst] > 0
            share, whose = (
                (format_percent(shares[worst]), TITLES[worst][0]) if some else ("none", "by any change")
            )
            cards.append(Card(label, share, whose))
    return cards


def draw_examples() -> list[Example]:
    """Every change made to one drawn image."""
    rng = np.random.default_rng(_EXAMPLE_SEED)
    image = draw(1, rng, size=256, artefacts=(), skin_tone=1).image
    shown = [("As drawn", "", image)]
    for change in CHANGES:
        changed = change.apply(image, seed_generator(_EXAMPLE_SEED, "", change.name))
        shown.append((change.title, change.strength, changed))
        if change.name == _NOISY:
            noisy = add_noise(image, measure_energy(image, changed), rng)
            shown.append(("Noise", f"of the same energy as: {change.title}", noisy))
    made = occlude(image, seed_generator(_EXAMPLE_SEED, "", LESION_HIDDEN))
    for words, picture in (
        (TITLES[LESION_HIDDEN], made.hidden),
        (("Skin hidden", "the control: as large a patch beside the lesion"), made.elsewhere),
        (TITLES[LESION_ALONE], made.alone),
    ):
        if picture is not None:
            shown.append((*words, picture))
    return [Example(title, strength, embed(picture).uri) for title, strength, picture in shown]

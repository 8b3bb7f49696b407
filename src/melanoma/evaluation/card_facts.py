"""What a model card can be asked for: whether it is there, where it stands, and what to call it when it is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from melanoma.evaluation.card import AWAY, HOME, Card
from melanoma.evaluation.statements import TITLES

USE, DATA, NETWORK, POINT = (
    "Intended use",
    "Training data",
    "Network and preprocessing",
    "Calibration and operating point",
)
FIGURES, PROBABILITIES, PRACTICE, PARTS = "Figures", "Probabilities", "In a practice", "Parts of the images"
COMPARED, STRESS, HEAT, LIMITS = "Compared with another model", "Stress", "Explanations", "Limits"
STATED = "Stated by the authors"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that the card shows in `section` if `is_there`; `missing` names it."""

    section: str
    missing: str
    is_there: Callable[[Card], bool]


def _has_figures(card: Card, *by: str) -> bool:
    return any(
        figure.value is not None
        for breakdown in card.list_breakdowns(by)
        for part in breakdown.subgroups
        if part.name
        for figure in part.figures.values()
    )


def _is_spread(card: Card) -> bool:
    """Whether one can see how figures differ between sources."""
    return _has_figures(card, "source") or {HOME, AWAY} <= {judged.source for judged in card.judged}


MEASURED: Final[Mapping[str, Fact]] = {
    "use": Fact(USE, "what the bundle is for", lambda card: bool(card.facts.get("use"))),
    "sources": Fact(DATA, "names of the training sources", lambda card: bool(card.facts.get("sources"))),
    "counts": Fact(
        DATA,
        "how many images trained, chose, calibrated and tested",
        lambda card: bool(card.facts.get("images")),
    ),
    "digests": Fact(
        DATA,
        "digests of images and splits",
        lambda card: bool(card.facts.get("manifest_digest") and card.facts.get("splits_digest")),
    ),
    "classes": Fact(
        DATA,
        "melanomas among the training images (the evaluation that training wrote has them)",
        lambda card: any(judged.report.name == "train" for judged in card.sets),
    ),
    "licence": Fact(DATA, "licence", lambda card: bool(card.facts.get("licence"))),
    "input": Fact(NETWORK, "preprocessing", lambda _: True),
    "recipe": Fact(NETWORK, "recipe of the training", lambda card: bool(card.facts.get("recipe"))),
    "versions": Fact(NETWORK, "versions of libraries", lambda card: bool(card.facts.get("versions"))),
    "domain": Fact(
        NETWORK, "a check that refuses images of another kind", lambda card: card.has_domain_check
    ),
    "point": Fact(
        POINT,
        "on which images the threshold was chosen",
        lambda card: card.bundle.operating_point.n_melanoma > 0,
    ),
    "evaluation": Fact(
        FIGURES, "an evaluation on images that did not make the model", lambda card: bool(card.judged)
    ),
    "home": Fact(
        FIGURES,
        "figures on kept-apart images of the training sources",
        lambda card: any(judged.source == HOME for judged in card.judged),
    ),
    "away": Fact(
        FIGURES,
        "figures on images from another source than the training images",
        lambda card: any(judged.source == AWAY for judged in card.judged),
    ),
    "spread": Fact(FIGURES, "figures for several sources", _is_spread),
    "probabilities": Fact(
        PROBABILITIES,
        "how well probabilities are calibrated on images that did not make the model",
        lambda card: any(judged.report.figures["brier"].value is not None for judged in card.judged),
    ),
    "utility": Fact(
        PRACTICE,
        "decision curves",
        lambda card: any(judged.report.decision_curves for judged in card.judged),
    ),
    "people": Fact(PARTS, "figures by age or sex", lambda card: _has_figures(card, "age", "sex")),
    "tones": Fact(PARTS, "figures by skin tone", lambda card: _has_figures(card, "skin tone")),
    "comparison": Fact(COMPARED, "a comparison with another model", lambda card: bool(card.compared)),
    "limits": Fact(LIMITS, "limits", lambda _: True),
}


def find(name: str) -> Fact:
    """A fact by its name, a key of MEASURED or of `statements.TITLES`. Raises KeyError."""
    if name in MEASURED:
        return MEASURED[name]
    return Fact(STATED, f"{TITLES[name]} (`{name}`)", lambda card: name in card.statements)

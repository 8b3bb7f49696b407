"""The limits of a model, as far as they follow from what its card has and has not."""

from collections.abc import Iterator
from typing import Final

from melanoma.evaluation.card import AWAY, HOME, Card, JudgedSet
from melanoma.evaluation.card_facts import MEASURED
from melanoma.evaluation.pages import format_interval, format_number, format_percent
from melanoma.evaluation.subgroups import MIN_OF_CLASS
from melanoma.inference.bundle import NOTICES

FEW_MELANOMAS: Final = 100


def list_limits(card: Card) -> list[str]:
    """One sentence or two a limit, the gravest first."""
    return [*_say_images(card), *_say_people(card), *_say_probabilities(card), *_say_tests(card)]


def _say_images(card: Card) -> Iterator[str]:
    yield from (str(card.facts[name]) for name in NOTICES if card.facts.get(name))
    if not card.judged:
        yield "No evaluation was given: nothing is known of how good the model is."
        return
    away = [judged for judged in card.judged if judged.source == AWAY]
    for judged in away:
        yield from _say_away(card, judged)
    if not away:
        yield "How it does on images from another source than the training images is not shown; expect worse than here."
    for judged in card.judged:
        if 0 < judged.report.n_melanoma < FEW_MELANOMAS:
            yield f"{judged.report.name} holds {judged.report.n_melanoma} melanomas: the intervals are wide."
        if judged.looks is not None and judged.looks.total > 1:
            yield (
                f"Test images were looked at {judged.looks.total:,} times so far; whoever looks often and keeps the"
                " best gets figures that are a little too good."
            )
        if judged.source == HOME and judged.looks is None:
            yield f"{judged.report.name}: nothing says that these images were kept apart from training."


def _say_away(card: Card, judged: JudgedSet) -> Iterator[str]:
    home = [one.report.figures["auroc"].value for one in card.judged if one.source == HOME]
    known = [value for value in home if value is not None]
    auroc = judged.report.figures["auroc"]
    if known and auroc.value is not None and auroc.high is not None and auroc.high < min(known):
        yield (
            f"On images from another source it does worse: AUROC {format_number(auroc.value)}"
            f" ({format_interval(auroc)}) on {judged.report.name}, {format_number(min(known))} on those of its own."
        )


def _say_people(card: Card) -> Iterator[str]:
    if not MEASURED["tones"].is_there(card):
        yield "Nothing is known of how it does on dark skin, nor of any difference between skin tones."
    else:
        yield "Skin tone is an estimate from the images; bands that say too few to say tell nothing of these people."
    if not MEASURED["people"].is_there(card):
        yield (
            "No figure by age or sex: not stated for these images, or fewer than"
            f" {MIN_OF_CLASS} groups of a class in each part."
        )


def _say_probabilities(card: Card) -> Iterator[str]:
    share = format_percent(card.bundle.calibration.prevalence)
    yield (
        f"Probabilities are calibrated to {share} melanoma. Where fewer have melanoma they are too high; the option"
        " --prevalence re-bases them, and the decision stays."
    )
    yield "Threshold and calibration hold for images like the calibration images only."


def _say_tests(card: Card) -> Iterator[str]:
    if not card.has_domain_check:
        yield "It does not notice an image that is no dermoscopic image: it gives a probability for all it can decode."
    if not card.stressed:
        yield "How artefacts (frames, rulers, ink, hair, other light) change what it says is not shown."
    if not card.explained:
        yield "Its heat maps have not been checked: they are no evidence of what it looked at."
    if not card.compared:
        yield "It is not compared with another model or method on the same images."

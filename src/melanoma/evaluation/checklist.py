"""The items of TRIPOD+AI and CLEAR Derm, each ticked when all that it asks for is in the card, else what is missing.

Collins et al. 2024, "TRIPOD+AI statement", BMJ 385:e078378: 27 items, 52 with their parts. Daneshjou et al. 2022,
"Checklist for evaluation of image-based artificial intelligence reports in dermatology", JAMA Dermatology 158(1):90-96:
25 items. Both in our own words. A tick says that something is reported, and not that it is good.
"""

from dataclasses import dataclass
from typing import Final

from melanoma.evaluation.card import Card
from melanoma.evaluation.card_facts import find


@dataclass(frozen=True, slots=True)
class Item:
    """One item. `needs`: names of facts that must be there, all of them; of those joined by `|` one is enough."""

    number: str
    section: str
    words: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """What became of an item: in which sections of the card it is reported, and what is missing."""

    item: Item
    sections: list[str]
    missing: list[str]

    @property
    def is_reported(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def tick(items: tuple[Item, ...], card: Card) -> list[Tick]:
    """Every item, in order, looked up in a card."""
    return [_tick(item, card) for item in items]


def _tick(item: Item, card: Card) -> Tick:
    sections: list[str] = []
    missing: list[str] = []
    for need in item.needs:
        options = [find(name) for name in need.split("|")]
        there = [fact.section for fact in options if fact.is_there(card)]
        sections += [section for section in there if section not in sections]
        missing += [] if there else [" or ".join(fact.missing for fact in options)]
    return Tick(item, sections, missing)


def _list_items(section: str, *items: tuple[str, str, str]) -> tuple[Item, ...]:
    return tuple(Item(number, section, words, tuple(needs.split())) for number, words, needs in items)


TRIPOD: Final = (
    *_list_items(
        "Title, abstract, introduction",
        (
            "1",
            "title: a model is developed or evaluated, for whom, for what outcome",
            "evaluation population",
        ),
        ("2", "abstract: a summary", "evaluation"),
        ("3a", "background: context of care, reason, earlier models", "context"),
        ("3b", "target population, purpose in the path of care, users", "use population users"),
        ("3c", "known health inequalities", "inequalities"),
        ("4", "objectives: development, evaluation or both", "recipe evaluation"),
    ),
    *_list_items(
        "Methods",
        (
            "5a",
            "sources of the data, for development and evaluation; reasons; whom they represent",
            "sources evaluation data_origin",
        ),
        ("5b", "dates of the data", "data_dates"),
        ("6a", "setting, centres and their places", "setting"),
        ("6b", "eligibility", "eligibility"),
        ("6c", "treatments, if they matter", "treatments"),
        ("7", "preprocessing and checks of quality, alike for all groups", "input data_quality"),
        ("8a", "outcome: what, how and when assessed, why, alike for all groups", "labels"),
        ("8b", "who assessed the outcome", "assessors"),
        ("8c", "blinding of the outcome's assessment", "blinding"),
        ("9a", "choice of the predictors", "input"),
        ("9b", "definition of the predictors, how and when measured", "input acquisition"),
        ("9c", "who assessed predictors that need judgement", "input"),
        ("10", "sample size and why it is enough, development and evaluation", "counts sample_size"),
        ("11", "missing data, and what was left out", "evaluation"),
        ("12a", "how the data were divided and used", "counts digests"),
        ("12b", "how predictors entered the analysis", "input"),
        ("12c", "type of model, all steps of building, tuning, internal validation", "recipe home"),
        ("12d", "how differences between centres were handled and measured", "spread"),
        (
            "12e",
            "measures and plots: discrimination, calibration, utility",
            "evaluation probabilities utility",
        ),
        ("12f", "updating of the model after evaluation", "point"),
        ("12g", "how predictions were computed in the evaluation", "evaluation"),
        ("13", "class imbalance: methods, and recalibration after them", "recipe"),
        ("14", "what was done for fairness, and why", "fairness"),
        ("15", "output: probability and classes, how the threshold was found", "point"),
        ("16", "differences between development and evaluation data", "away differences"),
        ("17", "ethical approval and consent", "ethics"),
    ),
    *_list_items(
        "Open science, public involvement",
        ("18a", "funding and the funders' role", "funding"),
        ("18b", "conflicts of interest", "conflicts"),
        ("18c", "protocol", "protocol"),
        ("18d", "registration", "registration"),
        ("18e", "availability of the data", "data_availability"),
        ("18f", "availability of the code", "code_availability"),
        ("19", "involvement of patients and the public", "involvement"),
    ),
    *_list_items(
        "Results",
        ("20a", "flow of participants, with and without the outcome", "counts classes evaluation"),
        ("20b", "their characteristics, by source and by group", "demographics people"),
        ("20c", "evaluation data set against development data", "classes demographics people"),
        ("21", "participants and outcomes in each analysis", "counts classes evaluation"),
        ("22", "the full model, for use and evaluation by others; restrictions", "recipe licence"),
        ("23a", "performance with intervals, also in key groups", "evaluation people"),
        ("23b", "differences in performance between centres", "spread"),
        ("24", "results of updating the model", "point evaluation"),
    ),
    *_list_items(
        "Discussion",
        ("25", "interpretation, fairness, earlier studies", "interpretation"),
        ("26", "limits and what they do to bias, uncertainty, generality", "limits evaluation"),
        ("27a", "how bad or missing input is handled in use", "domain"),
        ("27b", "what users do with input and model, and what they must know", "users"),
        ("27c", "next steps, for use and generality", "next_steps"),
    ),
)

CLEAR_DERM: Final = (
    *_list_items(
        "Data",
        ("1", "types of images", "image_types"),
        ("2", "artefacts in the images", "artefacts"),
        ("3", "technical details of acquisition", "acquisition"),
        ("4", "preprocessing", "input"),
        ("5", "synthetic images, public if used", "synthetic"),
        ("6", "public images, referenced", "data_origin"),
        ("7", "metadata of the patients", "demographics people"),
        ("8", "skin tone, and how it was assessed", "skin_tone tones"),
        ("9", "biases that patients' information may bring", "metadata_bias"),
        ("10", "partitions of the data", "counts digests"),
        ("11", "sizes of training, validation and test sets", "counts evaluation"),
        ("12", "external test set", "away"),
        ("13", "images of several vendors", "acquisition"),
        ("14", "distribution and balance of the classes", "classes evaluation"),
        ("15", "images of another kind than those the model knows", "domain"),
    ),
    *_list_items(
        "Technique",
        ("16", "how labels were made, and by whom", "labels assessors"),
        ("17", "accepted diagnostic labels, referenced", "diagnoses"),
        ("18", "histopathology of malignant lesions", "histology"),
        ("19", "how the algorithm was developed", "recipe versions"),
    ),
    *_list_items(
        "Technical assessment",
        ("20", "how the public can evaluate the algorithm", "code_availability"),
        ("21", "measures of performance", "evaluation"),
        ("22", "comparison with other methods, and what is new", "comparison"),
        ("23", "assessment of bias", "people tones"),
    ),
    *_list_items(
        "Application",
        ("24", "use cases and target conditions", "use population"),
        ("25", "consequences for the health care team and patients", "impact"),
    ),
)

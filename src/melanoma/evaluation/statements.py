"""What only the authors of a model can say of it: a YAML file of known keys, shown in a model card as theirs."""

from pathlib import Path
from typing import Final

import yaml

from melanoma.errors import ConfigError

TITLES: Final = {
    "context": "healthcare context, why the model was made, earlier models",
    "population": "target population",
    "users": "intended users, and what they must know",
    "inequalities": "known health inequalities",
    "data_origin": "origin of the images, with references, and whom they represent",
    "data_dates": "when the images were taken",
    "setting": "centres and countries",
    "eligibility": "who was eligible",
    "treatments": "treatments received",
    "image_types": "types of the images",
    "acquisition": "cameras, dermatoscopes and light",
    "artefacts": "artefacts in the images",
    "data_quality": "checks of the data's quality",
    "synthetic": "synthetic images",
    "demographics": "age, sex and other traits of the people in the training data",
    "skin_tone": "skin tone in the training data, and how it was assessed",
    "metadata_bias": "biases that metadata may bring",
    "labels": "how and when diagnoses were established, and why this outcome",
    "assessors": "who established them",
    "blinding": "blinding of those",
    "diagnoses": "diagnoses in each class, by an accepted classification",
    "histology": "histopathology of malignant lesions",
    "differences": "how training and evaluation data differ",
    "sample_size": "why so many images",
    "fairness": "what was done for fairness",
    "ethics": "ethical approval and consent",
    "funding": "funding",
    "conflicts": "conflicts of interest",
    "protocol": "protocol",
    "registration": "registration",
    "data_licence": "licence of the images",
    "data_availability": "where the data are",
    "code_availability": "where the code is",
    "involvement": "involvement of patients and the public",
    "interpretation": "what the results mean",
    "next_steps": "next steps",
    "impact": "consequences for health care teams and patients",
}


def load(path: Path) -> dict[str, str]:
    """Texts by keys of TITLES, in that order. Raises ConfigError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not all(
        isinstance(text, str) and text.strip() for text in values.values()
    ):
        raise ConfigError(f"{path} must hold lines `key: text`, with one of the keys {', '.join(TITLES)}")
    foreign = [str(key) for key in values if key not in TITLES]
    if foreign:
        raise ConfigError(f"{path} has the unknown key {foreign[0]!r}; known are {', '.join(TITLES)}")
    return {key: " ".join(values[key].split()) for key in TITLES if key in values}

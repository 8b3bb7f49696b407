"""The same photograph with and without one change, judged by the same predictor, beside a control."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image

from melanoma.data.artefacts import Pixels
from melanoma.data.threads import map_jobs
from melanoma.errors import ImageError, ManifestError
from melanoma.evaluation.occlusion import occlude
from melanoma.evaluation.perturbations import CHANGES, Change, add_noise, measure_energy, seed_generator
from melanoma.inference.decision import Decision
from melanoma.inference.images import load
from melanoma.inference.predictor import Prediction, Predictor
from melanoma.inference.preprocessing import prepare

LESION_HIDDEN: Final = "lesion_hidden"
LESION_ALONE: Final = "lesion_alone"
TITLES: Final = {
    **{change.name: (change.title, change.strength) for change in CHANGES},
    LESION_HIDDEN: ("Lesion hidden", "with a margin, filled with the skin around it"),
    LESION_ALONE: ("Lesion alone", "with a margin of skin, all else grey"),
}
COLUMNS: Final = (
    "source",
    "path",
    "image_id",
    "y_true",
    "group",
    "change",
    "y_prob_before",
    "decision_before",
    "y_prob_after",
    "decision_after",
    "y_prob_control",
    "decision_control",
    "rms_change",
    "rms_control",
    "share_hidden",
    "reason",
)
MAX_SIDE: Final = 1024  # pixels
_MIN_SIDE = 256
_KNOWN = COLUMNS[:4]  # of the manifest
_MEASURED = ("rms_change", "rms_control", "share_hidden")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What was said of every image with and without every change.

    `rows` has COLUMNS, one row an image and change, images in the order given and changes in that of TITLES.
    `y_prob_after` is NaN where the change cannot be made, and `reason` says why; `y_prob_control` is NaN also
    where the change has no control. `rms_change`, `rms_control`: root mean square difference in grey levels from
    the photograph at the network's input, NaN for geometric changes. `share_hidden`: of the image, where the
    lesion is hidden. `unreadable`: path and reason.
    """

    rows: pd.DataFrame
    unreadable: tuple[tuple[str, str], ...]


def judge(
    predictor: Predictor,
    table: pd.DataFrame,
    groups: Sequence[str],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Judged:
    """Judge every image of a manifest's table with and without every change.

    `groups`: one id a row. An image with a side over MAX_SIDE is brought below it first, for its pair too. The
    control of a change is noise of the same energy at the network's input: at full resolution most of the noise
    would be averaged away before the network sees it. It is judged without the domain check, which takes such
    noise for no dermoscopy, unless the photograph itself is refused. `progress` is called with (images done, images
    in all). Raises ManifestError when not one image can be read.
    """
    columns = [table[name].tolist() for name in _KNOWN]
    known = [dict(zip((*_KNOWN, "group"), row, strict=True)) for row in zip(*columns, groups, strict=True)]
    rows: list[Row] = []
    unreadable = []
    jobs = zip(table["path"].tolist(), table["content_digest"].tolist(), strict=True)
    judges = _Judges(predictor, Predictor(predictor.bundle, domain_check=False))
    results = map_jobs(partial(_judge_file, judges, seed), list(jobs), progress)
    for image, found in zip(known, results, strict=True):
        if isinstance(found, str):
            unreadable.append((image["path"], found))
        else:
            rows += [{**image, **row} for row in found]
    if not rows:
        path, reason = unreadable[0] if unreadable else ("", "there is none")
        raise ManifestError(f"not one of {len(known):,} images can be read; the first: {path}: {reason}")
    return Judged(pd.DataFrame(rows, columns=list(COLUMNS)), tuple(unreadable))


@dataclass(frozen=True, slots=True)
class _Judges:
    """The whole predictor, for what a user may photograph, and one without domain check for controls."""

    whole: Predictor
    bare: Predictor

    def judge_control(self, image: Pixels, before: Prediction) -> Prediction:
        refused = before.decision == Decision.CANNOT_ASSESS
        return (self.whole if refused else self.bare).predict(image)


def _judge_file(judges: _Judges, seed: int, job: tuple[str, str]) -> list[Row] | str:
    """The rows of one image without what the manifest knows, or why it cannot be read."""
    path, digest = job
    try:
        image = _limit(load(path))
    except ImageError as error:
        return str(error)
    before = judges.whole.predict(image)
    rows = [
        _judge_change(judges, image, before, change, seed_generator(seed, digest, change.name))
        for change in CHANGES
    ]
    return rows + _judge_occlusions(judges.whole, image, before, seed_generator(seed, digest, LESION_HIDDEN))


def _judge_change(
    judges: _Judges, image: Pixels, before: Prediction, change: Change, rng: np.random.Generator
) -> Row:
    changed = change.apply(image, rng)
    after = judges.whole.predict(changed)
    if change.moves_pixels:
        return _describe(change.name, before, after)
    spec = judges.whole.bundle.preprocessing
    plain, small = prepare(image, spec), prepare(changed, spec)
    energy = measure_energy(plain, small)
    noisy = add_noise(plain, energy, rng)
    strength = {
        "rms_change": float(np.sqrt(energy / plain.size)),
        "rms_control": float(np.sqrt(measure_energy(plain, noisy) / plain.size)),
    }
    return {**_describe(change.name, before, after, judges.judge_control(noisy, before)), **strength}


def _judge_occlusions(
    predictor: Predictor, image: Pixels, before: Prediction, rng: np.random.Generator
) -> list[Row]:
    made = occlude(image, rng)
    hidden, elsewhere, alone = (
        None if made_of is None else predictor.predict(made_of)
        for made_of in (made.hidden, made.elsewhere, made.alone)
    )
    share = made.share if hidden else np.nan
    return [
        {**_describe(LESION_HIDDEN, before, hidden, elsewhere, made.reason), "share_hidden": share},
        _describe(LESION_ALONE, before, alone, reason="" if alone else made.reason),
    ]


def _describe(
    change: str,
    before: Prediction,
    after: Prediction | None,
    control: Prediction | None = None,
    reason: str = "",
) -> Row:
    """One row; a change after which there is no image to judge says why."""
    said: Row = {"change": change, **dict.fromkeys(_MEASURED, np.nan)}
    for name, prediction in (("before", before), ("after", after), ("control", control)):
        judged = prediction is not None and prediction.y_prob is not None
        said[f"y_prob_{name}"] = prediction.y_prob if prediction and judged else np.nan
        said[f"decision_{name}"] = str(prediction.decision) if prediction and judged else ""
    return {**said, "reason": reason or (after.error if after else "")}


def _limit(image: Pixels) -> Pixels:
    """Below MAX_SIDE by averaging whole blocks of pixels, but no side below a quarter of it."""
    height, width = image.shape[:2]
    factor = min(-(-max(height, width) // MAX_SIDE), min(height, width) // _MIN_SIDE)
    return image if factor < 2 else np.asarray(Image.fromarray(image).reduce(factor))

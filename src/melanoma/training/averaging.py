"""One network of several: the mean of the weights of runs that began with the same ones.

Networks that were trained on from one set of weights lie in one valley, and their mean is often better on unseen images
than each of them, above all on images of another kind, at the cost of one (Wortsman et al. 2022; Rame et al. 2022). Of
networks with separate beginnings the mean is worth nothing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from melanoma.config import Recipe
from melanoma.errors import RunError
from melanoma.training.fit import Progress, State, evaluate_logits, predict_logits
from melanoma.training.pipeline import ImageSet

if TYPE_CHECKING:
    import keras


def fit(
    create: Callable[[], "keras.Model"],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    *,
    members: Sequence[Path],
    seed: int,
    folder: Path,
    progress: Progress | None = None,
) -> tuple["keras.Model", State]:
    """As `training.fit.fit`, without training: the mean of finished runs, its validation figures as the one epoch.

    Raises RunError when one of them is gone.
    """
    import keras

    del create, train, recipe, seed
    own = folder.parent
    if (own / "model.keras").is_file():  # averaged before
        members = [own]
    for member in members:
        if not (member / "model.keras").is_file():
            raise RunError(
                f"{member}, whose weights are to be averaged, has no model.keras any more; bring it back"
            )
    models = [keras.models.load_model(member / "model.keras", compile=False) for member in members]
    averaged = models[0]
    weights = zip(*(model.get_weights() for model in models), strict=True)
    averaged.set_weights([np.mean(same, axis=0, dtype=np.float64).astype(same[0].dtype) for same in weights])
    figures = evaluate_logits(predict_logits(averaged, val), val.y_true)
    row = {"epoch": 1, **{f"val_{name}": value for name, value in figures.items()}}
    (progress or Progress()).on_epoch(1, row)
    return averaged, State(epoch=1, best_epoch=1, best_loss=figures["loss"], history=[row])

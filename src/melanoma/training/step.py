"""What one step of training does: the losses, the optimiser with its schedule, and the step itself."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from melanoma.config import OptimizerConfig, Recipe
from melanoma.training.pipeline import TrainingBatch

if TYPE_CHECKING:
    import keras

Row = dict[str, float]


class Alone:
    """Who trains: this process, with one device. `team.Team` does the same with several.

    `leads`: this is who validates, writes checkpoints and tells of progress. `spread`: variables made in `scope` are
    those of several replicas, of use for training only.
    """

    leads = True
    spread = False

    def scope(self) -> AbstractContextManager[object]:
        """Where the network is made or loaded."""
        return nullcontext()

    def prepare(self, model: "keras.Model", recipe: Recipe) -> None:
        """Called once, with the compiled model, before the first step."""

    def train(self, model: "keras.Model", batch: TrainingBatch) -> Row:
        """One step; loss and accuracy of this batch, melanoma against other.

        Images of unknown diagnosis train the one output only.
        """
        pixels, y_true, diagnosis = batch
        if len(model.outputs) == 1:
            return dict(model.train_on_batch(pixels, y_true, return_dict=True))
        figures = model.train_on_batch(
            pixels,
            {"logit": y_true, "diagnosis": diagnosis},
            sample_weight={"logit": np.ones(len(y_true), np.float32), "diagnosis": is_known(diagnosis)},
            return_dict=True,
        )
        return {"loss": figures["logit_loss"], "accuracy": figures["logit_accuracy"]}

    def predict(self, model: "keras.Model", pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (n, 1) of a model with one output."""
        logits: NDArray[np.float32] = model.predict_on_batch(pixels)
        return logits


def is_known(diagnosis: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 for each image (n,) of known diagnosis, else 0."""
    return np.asarray(diagnosis.any(axis=1), np.float32)


def compile_model(model: "keras.Model", recipe: Recipe, steps_per_epoch: int) -> None:
    """Attach loss, metrics and the optimiser with its schedule.

    The model gives logits, and those of the diagnoses if it has a head for them.
    """
    import keras

    accuracy = [keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy")]
    optimizer, losses = create_optimizer(recipe, steps_per_epoch), create_losses(recipe)
    if len(model.outputs) == 1:
        model.compile(optimizer=optimizer, loss=losses["logit"], metrics=accuracy)
        return
    model.compile(
        optimizer=optimizer,
        loss=losses,
        loss_weights={"logit": 1.0, "diagnosis": recipe.training.diagnosis_loss},
        metrics={"logit": accuracy},
    )


def create_losses(recipe: Recipe, reduction: str | None = "sum_over_batch_size") -> dict[str, Any]:
    """The loss of each output, on logits; without `reduction` one number an image."""
    import keras

    smoothing = recipe.training.label_smoothing
    return {
        "logit": keras.losses.BinaryCrossentropy(
            from_logits=True, label_smoothing=smoothing, reduction=reduction
        ),
        "diagnosis": keras.losses.CategoricalCrossentropy(from_logits=True, reduction=reduction),
    }


def create_optimizer(recipe: Recipe, steps_per_epoch: int) -> "keras.optimizers.Optimizer":
    """The recipe's optimiser, with a moving average of the weights if it asks for one."""
    import keras

    config = recipe.optimizer
    average = {"use_ema": True, "ema_momentum": config.ema_momentum} if config.ema_momentum else {}
    rate = create_schedule(config, recipe.training.epochs * steps_per_epoch, steps_per_epoch)
    if config.name == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, **average)
    return keras.optimizers.Adam(rate, weight_decay=config.weight_decay or None, **average)


def create_schedule(config: OptimizerConfig, steps: int, steps_per_epoch: int) -> Any:
    """A constant rate, or warm-up from a hundredth of the peak and then half a cosine down to zero."""
    import keras

    if config.schedule == "constant":
        return config.learning_rate
    warmup = min(round(config.warmup_epochs * steps_per_epoch), steps - 1)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(config.learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 100, steps - warmup, warmup_target=config.learning_rate, warmup_steps=warmup
    )

"""The training loop: checkpoints every epoch and resumes exactly where it was."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from melanoma.ahead import prefetch
from melanoma.config import Recipe
from melanoma.errors import RunError
from melanoma.training.draws import count_draws
from melanoma.training.models import add_diagnosis_head, drop_diagnosis_head
from melanoma.training.pipeline import ImageSet, TrainingBatch, plain_batches, training_batches
from melanoma.training.step import Alone, Row, compile_model

if TYPE_CHECKING:
    import keras

EVALUATION_BATCH = 64


class Progress:
    """What the loop tells of itself; override what you want to hear."""

    def on_batch(self, epoch: int, step: int, steps: int, row: Row) -> None:
        """`step` of `steps` in `epoch` (counted from 0) is done; `row` holds the epoch's figures so far."""

    def on_epoch(self, epoch: int, row: Row) -> None:
        """`epoch` (counted from 1) is done and checkpointed; `row` holds its figures."""


@dataclass
class State:
    """Everything besides the weights that a resumed run goes on from."""

    epoch: int = 0
    best_epoch: int = -1
    best_loss: float = math.inf
    history: list[Row] = field(default_factory=list)


class Fit(Protocol):
    """What `fit` is, here or elsewhere."""

    def __call__(
        self,
        create: Callable[[], "keras.Model"],
        train: ImageSet,
        val: ImageSet,
        recipe: Recipe,
        *,
        seed: int,
        folder: Path,
        progress: Progress | None = None,
    ) -> tuple["keras.Model", State]:
        """The kept model, with its history."""


def fit(
    create: Callable[[], "keras.Model"],
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    team: Alone | None = None,
) -> tuple["keras.Model", State]:
    """Train what `create` makes, or the last checkpoint in `folder`, and return the kept model with its history.

    `keep: best` keeps the epoch of the lowest validation loss, `last` the last one. With the same seed,
    images and machine the weights are the same bit for bit, however often the run was killed and resumed.
    `team`: who trains; a member that does not lead returns weights without a history.
    Raises RunError when the loss is no longer finite.
    """
    progress, team = progress or Progress(), team or Alone()
    steps = math.ceil(count_draws(len(train), recipe.training) / recipe.training.batch_size)
    with team.scope():
        model, state = load_checkpoint(folder) or (_create(create, recipe, steps), State())
    judge = drop_diagnosis_head(model)
    if state.epoch < recipe.training.epochs:
        team.prepare(model, recipe)
    while state.epoch < recipe.training.epochs:
        batches = training_batches(train, recipe, seed=seed, epoch=state.epoch)
        _seed_generators(model, seed, state.epoch)
        row = _train_epoch(team, model, batches, tell=partial(_tell, progress, state.epoch, steps))
        if not math.isfinite(row["loss"]):
            raise RunError(
                f"the loss in epoch {state.epoch + 1} is not finite; lower optimizer.learning_rate"
            )
        # by every member: swapping rounds the last bit, which must stay the same for all
        with averaged_weights(model):
            figures = _evaluate(predict_logits(judge, val, team), val.y_true, state) if team.leads else {}
        if not team.leads:
            state.epoch += 1
            continue
        row |= {f"val_{name}": value for name, value in figures.items()}
        _record(state, row)
        save_checkpoint(folder, model, state)
        progress.on_epoch(state.epoch, row)
    return _kept(folder, model, state, recipe, team), state


def _evaluate(logit: NDArray[np.float64], y_true: NDArray[np.float32], state: State) -> dict[str, float]:
    if not np.isfinite(logit).all():
        raise RunError(
            f"the validation logits of epoch {state.epoch + 1} are not finite; lower optimizer.learning_rate"
        )
    return evaluate_logits(logit, y_true)


def make_deterministic(seed: int) -> None:
    """Seed Keras' global generators, and on TensorFlow use operations that give the same bits every time."""
    import keras

    keras.utils.set_random_seed(seed)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def predict_logits(model: "keras.Model", images: ImageSet, team: Alone | None = None) -> NDArray[np.float64]:
    """Logit (n,) of unchanged images, with the weights as they are. The model has one output."""
    team = team or Alone()
    with prefetch(plain_batches(images, EVALUATION_BATCH)) as batches:
        return np.concatenate([team.predict(model, pixels)[:, 0] for pixels, _ in batches], dtype=np.float64)


def evaluate_logits(logit: NDArray[np.float64], y_true: NDArray[np.float32]) -> Row:
    """Cross-entropy (without label smoothing), accuracy at probability 0.5, and AUROC."""
    return {
        "loss": float(np.mean(np.logaddexp(0, logit) - logit * y_true)),
        "accuracy": float(np.mean((logit >= 0) == y_true)),
        "auroc": float(roc_auc_score(y_true, logit)),
    }


@contextmanager
def averaged_weights(model: "keras.Model") -> Iterator[None]:
    """The moving average in place of the weights for a while, where the optimiser keeps one."""
    import keras

    if not model.optimizer.use_ema:
        yield
        return
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(model)
    swap.on_test_begin()
    try:
        yield
    finally:
        swap.on_test_end()


def save_checkpoint(folder: Path, model: "keras.Model", state: State) -> None:
    """Write weights, optimiser, schedule and state as one folder that appears whole or not at all.

    Older checkpoints but the best one are deleted after that.
    """
    target = _checkpoint(folder, state.epoch)
    temporary = folder / f".{target.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    model.save(temporary / "model.keras")
    (temporary / "state.json").write_text(json.dumps(asdict(state)))
    temporary.replace(target)
    for old in _checkpoints(folder):
        if old not in (target, _checkpoint(folder, state.best_epoch)):
            shutil.rmtree(old)


def count_epochs(folder: Path) -> int:
    """How many epochs the checkpoints in `folder` are of."""
    checkpoints = _checkpoints(folder)
    return int(checkpoints[-1].name.removeprefix("epoch-")) if checkpoints else 0


def load_checkpoint(folder: Path) -> tuple["keras.Model", State] | None:
    """The last whole checkpoint in `folder`, or None when there is none. Raises RunError on a damaged one."""
    import keras

    checkpoints = _checkpoints(folder)
    if not checkpoints:
        return None
    last = checkpoints[-1]
    try:
        values: dict[str, Any] = json.loads((last / "state.json").read_text())
        return keras.models.load_model(last / "model.keras"), State(**values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"the checkpoint {last} is damaged; delete it to go on from what was before"
        ) from error


def _seed_generators(model: "keras.Model", seed: int, epoch: int) -> None:
    """Set the layers' own random generators from (seed, epoch), as `.keras` files do not keep their state."""
    states = [v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state")]
    for number, state in enumerate(states):
        state.assign(np.random.default_rng([seed, epoch, number]).integers(2**31, size=state.shape))


def _create(create: Callable[[], "keras.Model"], recipe: Recipe, steps: int) -> "keras.Model":
    """What is trained at first: with a head for the diagnoses where they count, and compiled."""
    model = create()
    if recipe.training.diagnosis_loss:
        model = add_diagnosis_head(model)
    compile_model(model, recipe, steps)
    return model


def _tell(progress: Progress, epoch: int, steps: int, step: int, row: Row) -> None:
    progress.on_batch(epoch, step, steps, row)


def _train_epoch(
    team: Alone,
    model: "keras.Model",
    epoch_batches: Iterator[TrainingBatch],
    *,
    tell: Callable[[int, Row], None],
) -> Row:
    """The figures of one epoch."""
    means = {"loss": _Mean(), "accuracy": _Mean()}
    row: Row = {}
    with prefetch(epoch_batches) as batches:
        for step, batch in enumerate(batches):
            figures, y_true = team.train(model, batch), batch[1]
            means["loss"].add(figures["loss"], len(y_true))
            if np.isin(y_true, (0, 1)).all():  # of two images in one there is no right and wrong
                means["accuracy"].add(figures["accuracy"], len(y_true))
            row = {name: mean.value for name, mean in means.items()}
            tell(step + 1, row)
    return row


@dataclass
class _Mean:
    """A running mean, 0 of nothing."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float, count: int) -> None:
        self.total += float(value) * count
        self.count += count

    @property
    def value(self) -> float:
        return self.total / max(self.count, 1)


def _record(state: State, row: Row) -> None:
    state.epoch += 1
    state.history.append({"epoch": state.epoch, **row})
    if row["val_loss"] < state.best_loss:
        state.best_loss, state.best_epoch = row["val_loss"], state.epoch


def _kept(folder: Path, model: "keras.Model", state: State, recipe: Recipe, team: Alone) -> "keras.Model":
    """The model of the kept epoch with one output, its weights averaged where the optimiser keeps an average."""
    import keras

    epoch = state.best_epoch if recipe.training.keep == "best" else state.epoch
    if team.leads and (team.spread or epoch != state.epoch):
        model = keras.models.load_model(_checkpoint(folder, epoch) / "model.keras")
    with averaged_weights(model):
        weights = model.get_weights()
    model.set_weights(weights)
    return drop_diagnosis_head(model)


def _checkpoint(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:04d}"


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*"))

"""Several devices or processes that train one network: each takes a part of every batch.

Synchronous data parallelism on `tf.distribute`: all replicas hold the same weights, the gradients of their parts are
added up, and every replica takes the same step. The loss is the mean over the whole batch, however it is divided, so
more replicas change nothing but the order in which numbers are added (and the masks of dropout: every replica draws
the same ones for its part). Keras' `fit` does not work under this strategy on several processes; its optimisers and
models do.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from melanoma.config import Recipe
from melanoma.errors import ConfigError
from melanoma.training.pipeline import TrainingBatch
from melanoma.training.step import Alone, Row, create_losses, is_known

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Part = tuple[NDArray[np.float32], ...]


def gather_devices(n: int) -> "Team":
    """The first `n` GPUs of this machine, or where it has none so many logical devices of its CPU.

    To be called before TensorFlow is used for anything else, since it fixes its devices then. Raises ConfigError when
    there are fewer GPUs, and on another backend.
    """
    import tensorflow as tf

    _check_backend()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and len(gpus) < n:
        raise ConfigError(f"--workers {n} needs as many GPUs, and this machine has {len(gpus)}")
    if not gpus:
        cpu = tf.config.list_physical_devices("CPU")[0]
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * n)
        except RuntimeError as error:
            raise ConfigError(f"--workers {n} must be asked for before TensorFlow is used") from error
    kind = "GPU" if gpus else "CPU"
    return Team(tf.distribute.MirroredStrategy([f"{kind}:{number}" for number in range(n)]))


def join(rank: int, cores: int) -> "Team":
    """The team of processes that TF_CONFIG names, of which this one is number `rank`; it may use so many `cores`.

    Returns when all have come.
    """
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # Ray Train asks for a Keras that is not ours
    import tensorflow as tf

    _check_backend()
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    return Team(tf.distribute.MultiWorkerMirroredStrategy(), leads=rank == 0)


class Team(Alone):
    """Replicas of `strategy`, of which this process runs some; see `step.Alone`."""

    spread = True

    def __init__(self, strategy: "tf.distribute.Strategy", leads: bool = True) -> None:
        self._strategy = strategy
        self._step: Callable[..., Any] | None = None
        self._call: Callable[..., Any] | None = None
        self._judge: keras.Model | None = None
        self.leads = leads

    @property
    def replicas(self) -> int:
        """How many there are in all processes."""
        return int(self._strategy.num_replicas_in_sync)

    def scope(self) -> AbstractContextManager[object]:
        """Variables made or loaded here are the same on every replica."""
        scope: AbstractContextManager[object] = self._strategy.scope()
        return scope

    def prepare(self, model: "keras.Model", recipe: Recipe) -> None:
        """Make the step. Its figures are sums over all replicas, and so those of the whole batch."""
        import tensorflow as tf

        losses, weight = create_losses(recipe, reduction=None), recipe.training.diagnosis_loss
        with self.scope():
            model.optimizer.build(model.trainable_variables)

        def step_replica(n: "tf.Tensor", *part: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
            pixels, y_true, diagnosis, counts, known = part
            with tf.GradientTape() as tape:
                given = model(pixels, training=True)
                logit = given["logit"] if isinstance(given, dict) else given
                loss = tf.reduce_sum(counts * losses["logit"](y_true, logit)) / n
                total = loss
                if isinstance(given, dict):
                    extra = losses["diagnosis"](diagnosis, given["diagnosis"])
                    total = loss + weight * tf.reduce_sum(counts * known * extra) / n
            variables = model.trainable_variables
            gradients = tape.gradient(total, variables)
            model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            right = tf.cast((logit > 0) == (y_true > 0.5), tf.float32)[:, 0]
            return loss, tf.reduce_sum(counts * right) / n

        def step(n: "tf.Tensor", *parts: Any) -> list["tf.Tensor"]:
            figures = self._strategy.run(step_replica, args=(n, *parts))
            return [self._strategy.reduce("SUM", figure, axis=None) for figure in figures]

        self._step = tf.function(step)

    def train(self, model: "keras.Model", batch: TrainingBatch) -> Row:
        """One step of all replicas; every process of the team calls it with the same batch."""
        import tensorflow as tf

        del model  # `prepare` has it
        assert self._step is not None, "prepare comes first"  # noqa: S101
        parts = self._divide(batch)
        n = tf.constant(len(batch[1]), tf.float32)
        loss, accuracy = self._step(n, *(self._place(column) for column in zip(*parts, strict=True)))
        return {"loss": float(loss), "accuracy": float(accuracy)}

    def predict(self, model: "keras.Model", pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (n, 1) by this process alone: Keras' own `predict_on_batch` would wait for all of them."""
        import tensorflow as tf

        if self._call is None or self._judge is not model:
            self._judge, self._call = model, tf.function(lambda images: model(images, training=False))
        return np.asarray(self._call(pixels))

    def _divide(self, batch: TrainingBatch) -> list[Part]:
        """A part for each replica, all of one size: pixels, labels, diagnoses, 1 or 0 where it is filled up, known."""
        pixels, y_true, diagnosis = batch
        n = len(y_true)
        size = -(-n // self.replicas)
        rows = np.minimum(np.arange(size * self.replicas), n - 1).reshape(self.replicas, size)
        counts = (np.arange(size * self.replicas) < n).astype(np.float32).reshape(self.replicas, size)
        known = is_known(diagnosis)
        return [
            (pixels[own], y_true[own], diagnosis[own], count, known[own])
            for own, count in zip(rows, counts, strict=True)
        ]

    def _place(self, column: tuple[NDArray[np.float32], ...]) -> Any:
        """Each replica's own part of one column on its device."""
        import tensorflow as tf

        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(column[context.replica_id_in_sync_group])
        )


def _check_backend() -> None:
    import keras

    if keras.config.backend() != "tensorflow":
        raise ConfigError("--workers needs Keras on TensorFlow; unset KERAS_BACKEND")

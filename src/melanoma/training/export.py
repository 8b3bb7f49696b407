"""A trained Keras model to a bundle."""

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from melanoma.config import Recipe
from melanoma.errors import OutputError
from melanoma.inference import bundle as bundles
from melanoma.inference.calibration import fit_calibration
from melanoma.inference.decision import fit_operating_point
from melanoma.inference.domain import Domain
from melanoma.inference.preprocessing import scale
from melanoma.inference.runtime import LiteRtNetwork
from melanoma.training.models import create_inference_model
from melanoma.training.pipeline import ImageSet

if TYPE_CHECKING:
    import keras

Quantize = Literal["none", "float16", "int8_weights"]


def export_litert(model: "keras.Model", path: Path, quantize: Quantize = "none", views: int = 1) -> None:
    """Write the network for LiteRT with the outputs `logit`, `embedding` and `heatmap`.

    `float16` halves the file and leaves the arithmetic in float32; `int8_weights` stores weights in 8 bits,
    one scale per output channel, and computes with dynamically quantised activations. `views`: see
    `create_inference_model`.
    """
    import tensorflow as tf

    inference_model = create_inference_model(model, views)
    converter = tf.lite.TFLiteConverter.from_keras_model(inference_model)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with _quiet():
        content = converter.convert()
    path.write_bytes(content)


def export_bundle(
    model: "keras.Model",
    images: ImageSet,
    recipe: Recipe,
    folder: Path,
    facts: Mapping[str, Any],
    *,
    domain: Domain | None = None,
) -> bundles.Bundle:
    """Export, then fit calibration and operating point on what the *exported* network says of `images`.

    `images`: the calibration split; `domain`: the check fitted on it. Raises CalibrationError when it lacks a class.
    """
    with _scratch(folder) as network:
        export_litert(model, network, recipe.export.quantize, recipe.export.views)
        logit, y_true = _score(network, images), images.y_true.astype(np.int64)
        calibration = fit_calibration(logit, y_true)
        target = recipe.evaluation.target_sensitivity
        operating_point = fit_operating_point(calibration.transform(logit), y_true, target, images.source)
        return bundles.save(
            folder,
            network,
            name=recipe.name,
            preprocessing=images.spec,
            calibration=calibration,
            operating_point=operating_point,
            facts=facts,
            domain=domain,
        )


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A file beside `folder` that is gone afterwards. Raises OutputError when it cannot be written."""
    path = folder.with_name(f".{folder.name}.tflite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}; choose another place") from error
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _score(network: Path, images: ImageSet) -> NDArray[np.float64]:
    """Logit (n,) of prepared images from the exported network."""
    runtime = LiteRtNetwork(network, threads=os.cpu_count() or 1)
    rows = np.arange(len(images))
    logits = [runtime.run(scale(images.batch(rows[i : i + 1])[0], images.spec)).logit for i in rows]
    return np.concatenate(logits, dtype=np.float64)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's print-outs off the user's terminal."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield

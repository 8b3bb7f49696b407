"""A trained Keras model to a bundle."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
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
from melanoma.inference.runtime import LiteRtNetwork, stderr_aside
from melanoma.processes import count_cores
from melanoma.training.models import check_int8, create_inference_model
from melanoma.training.pipeline import ImageSet

if TYPE_CHECKING:
    import keras

Quantize = Literal["none", "float16", "int8_weights", "int8"]
Floats = NDArray[np.float32]

# What stands outside the feature maps of a pooled network. It stays in float32: 256 steps are too few for a logit.
_HEAD = [
    "MEAN",
    "FULLY_CONNECTED",
    "MUL",
    "SUM",
    "RELU",
    "RESHAPE",
    "REVERSE_V2",
    "TRANSPOSE",
    "CONCATENATION",
]
_HEAD += ["SPLIT", "PACK"]
_SAMPLES = 200  # images that say which values the layers give


def export_litert(
    model: "keras.Model",
    path: Path,
    quantize: Quantize = "none",
    views: int = 1,
    *,
    samples: Iterable[Floats] = (),
) -> None:
    """Write the network for LiteRT with the outputs `logit`, `embedding` and `heatmap`.

    `float16` halves the file and leaves the arithmetic in float32; `int8_weights` stores weights in 8 bits,
    one scale per output channel, and computes with dynamically quantised activations; `int8` computes the feature maps
    in 8 bits, in ranges that scaled images `samples` (size, size, 3) give, and all behind them in float32. `views`: see
    `create_inference_model`. Raises ConfigError where `int8` does not go with the network.
    """
    import tensorflow as tf

    inference_model = create_inference_model(model, views)
    converter = tf.lite.TFLiteConverter.from_keras_model(inference_model)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with _quiet():
        content = _convert_to_int8(model, converter, samples) if quantize == "int8" else converter.convert()
    path.write_bytes(content)


def _convert_to_int8(model: "keras.Model", converter: Any, samples: Iterable[Floats]) -> bytes:
    import tensorflow as tf

    check_int8(model.name)
    given = [[image[None]] for image in samples]
    if not given:
        raise ValueError("int8 needs samples")
    converter.representative_dataset = lambda: iter(given)
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=_HEAD)
    with stderr_aside():  # the converter greets there from C++
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
        )
        return bytes(debugger.get_nondebug_quantized_model())


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

    `images`: the calibration split; `domain`: the check fitted on it. Where melanomas score no higher than the others
    the slope is 0, and every image is referred. Raises CalibrationError when it lacks a class.
    """
    with _scratch(folder) as network:
        samples = _sample(images) if recipe.export.quantize == "int8" else ()
        export_litert(model, network, recipe.export.quantize, recipe.export.views, samples=samples)
        logit, y_true = _score(network, images), images.y_true.astype(np.int64)
        calibration = fit_calibration(logit, y_true)
        if calibration.slope <= 0:  # not the wrong way round: one probability for all, who are then referred
            prevalence = calibration.prevalence
            calibration = replace(calibration, slope=0.0, intercept=math.log(prevalence / (1 - prevalence)))
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


def _sample(images: ImageSet) -> Iterator[Floats]:
    """Scaled images, evenly out of all."""
    rows = np.unique(np.linspace(0, len(images) - 1, _SAMPLES).astype(np.int64))
    return iter(scale(images.batch(rows)[0], images.spec))


def _score(network: Path, images: ImageSet) -> NDArray[np.float64]:
    """Logit (n,) of prepared images from the exported network."""
    runtime = LiteRtNetwork(network, threads=count_cores())
    rows = np.arange(len(images))
    logits = [runtime.run(scale(images.batch(rows[i : i + 1])[0], images.spec)).logit for i in rows]
    return np.concatenate(logits, dtype=np.float64)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's print-outs and warnings off the user's terminal."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        yield

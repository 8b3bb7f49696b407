"""A trained Keras model to the network file of a bundle."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from melanoma.training.models import create_inference_model

if TYPE_CHECKING:
    import keras

Quantize = Literal["none", "float16", "int8_weights"]


def export_litert(model: "keras.Model", path: Path, quantize: Quantize = "none") -> None:
    """Write the network for LiteRT with the outputs `logit`, `embedding` and `heatmap`.

    `float16` halves the file and leaves the arithmetic in float32; `int8_weights` stores weights in 8 bits,
    one scale per output channel, and computes with dynamically quantised activations.
    """
    import tensorflow as tf

    inference_model = create_inference_model(model)
    converter = tf.lite.TFLiteConverter.from_keras_model(inference_model)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    with _quiet():
        content = converter.convert()
    path.write_bytes(content)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's print-outs off the user's terminal."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield

"""A run's network as a TensorFlow SavedModel."""

import contextlib
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from melanoma.errors import OutputError
from melanoma.inference.bundle import Bundle
from melanoma.training.models import create_inference_model
from melanoma.training.onnx_file import describe

if TYPE_CHECKING:
    import keras

DESCRIPTION = Path("assets.extra", "melanoma.json")  # the folder that SavedModel leaves to its users


def write_saved_model(model: "keras.Model", bundle: Bundle, folder: Path, views: int = 1) -> None:
    """Write the trained `model` of `bundle` with the signature `serve`, as `write_onnx` has its input and outputs.

    `assets.extra/melanoma.json` holds the bundle's description. The folder appears whole or not at all. Raises
    OutputError.
    """
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            _take_pixels(model, bundle, views).export(temporary, format="tf_saved_model", verbose=False)
        (temporary / DESCRIPTION).parent.mkdir()
        (temporary / DESCRIPTION).write_text(describe(bundle) + "\n", encoding="utf-8")
        temporary.replace(folder)
    except OSError as error:
        raise OutputError(
            f"cannot write {folder}: {error.strerror or error}; choose another place"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_pixels(model: "keras.Model", bundle: Bundle, views: int) -> "keras.Model":
    """Pixels in, probability out, beside the outputs of the network."""
    import keras
    from keras import ops

    spec, calibration = bundle.preprocessing, bundle.calibration
    factor, offset = (1 / 255, 0.0) if spec.scale == "zero_one" else (1 / 127.5, -1.0)
    image = keras.Input((spec.size, spec.size, 3), batch_size=1, dtype="uint8", name="image")
    outputs = create_inference_model(model, views)(ops.cast(image, "float32") * factor + offset)
    y_prob = ops.sigmoid(outputs["logit"] * calibration.slope + calibration.intercept)
    return keras.Model(image, {"y_prob": y_prob, **outputs})

"""A bundle behind MLflow's pyfunc interface; MLflow imports this file, from the copy beside the bundle."""

from typing import Any

import pandas as pd

from melanoma.inference.predictor import Predictor, load_predictor

INPUT_COLUMN = "image"
OUTPUT_COLUMNS = ("y_prob", "decision", "reason", "error")


class BundleModel:
    """What `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """One row a picture: `image` (the bytes of an image file) to the columns OUTPUT_COLUMNS.

        `y_prob` in [0, 1], missing where the bytes could not be decoded; `error` says why.
        """
        rows = [self._predictor.predict(bytes(image)).to_dict() for image in model_input[INPUT_COLUMN]]
        result = pd.DataFrame(rows, columns=list(OUTPUT_COLUMNS), index=model_input.index)
        return result.astype({"y_prob": "float64"})


def _load_pyfunc(path: str) -> BundleModel:
    """The name and form that MLflow asks of a loader module; `path` is the bundle folder."""
    return BundleModel(load_predictor(path))

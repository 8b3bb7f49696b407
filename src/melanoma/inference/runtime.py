"""Load and run an exported network: the only importer of LiteRT."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from melanoma.errors import BundleError
from melanoma.inference.prediction import NetworkOutput

OUTPUTS = ("logit", "embedding", "heatmap")


class LiteRtNetwork:
    """A LiteRT network with one input image and the outputs `OUTPUTS`.

    Images go through one at a time, so that an image's numbers never depend on its neighbours in a batch.
    Safe to call from several threads; they take turns.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
            self._input: int = self._interpreter.get_input_details()[0]["index"]
            self._outputs = self._find_outputs()
        except (ValueError, RuntimeError, KeyError, IndexError) as error:
            raise BundleError(f"{path.name} is no network this version can run: {error}") from error
        self._lock = threading.Lock()

    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Run float32 (n, size, size, 3), scaled as the bundle's preprocessing says."""
        rows = [self._run_one(image) for image in batch]
        return NetworkOutput(*(np.stack(column) for column in zip(*rows, strict=True)))

    def _run_one(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        with self._lock:
            self._interpreter.set_tensor(self._input, image[None])
            self._interpreter.invoke()
            logit, *rest = (self._interpreter.get_tensor(index)[0] for index in self._outputs)
        return logit.reshape(()), *rest

    def _find_outputs(self) -> list[int]:
        """Tensor indices in the order of `OUTPUTS`; the signature carries the names."""
        signature = self._interpreter.get_signature_runner()
        details = signature.get_output_details()
        return [int(details[name]["index"]) for name in OUTPUTS]

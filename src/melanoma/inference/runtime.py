"""Load and run an exported network: the only place where LiteRT runs."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from melanoma.errors import BundleError
from melanoma.inference.prediction import NetworkOutput

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

OUTPUTS = ("logit", "embedding", "heatmap")

_FIRST_LOAD = threading.Lock()
_GREETED = threading.Event()


class LiteRtNetwork:
    """A LiteRT network, from a file or its bytes, with one input image and the outputs `OUTPUTS`.

    Images go through one at a time, so that an image's numbers never depend on its neighbours in a batch.
    Every thread that calls `run` gets an interpreter of its own; `threads` is what each may use inside.
    """

    def __init__(self, network: Path | bytes, threads: int = 1) -> None:
        self._network = network
        self._name = network.name if isinstance(network, Path) else "the network"
        self._threads = threads
        self._local = threading.local()
        first = self._load()  # tells at once whether it can be run
        self._input = int(first.get_input_details()[0]["index"])
        self._outputs = _find_outputs(first, self._name)
        self._spare = [first]  # the first thread that runs the network takes it

    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Run float32 (n, size, size, 3), scaled as the bundle's preprocessing says; n is at least 1."""
        rows = [self._run_one(image) for image in batch]
        return NetworkOutput(*(np.stack(column) for column in zip(*rows, strict=True)))

    def _run_one(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        interpreter = self._interpreter()
        interpreter.set_tensor(self._input, image[None])
        interpreter.invoke()
        logit, embedding, heatmap = (interpreter.get_tensor(index)[0] for index in self._outputs)
        return logit.reshape(()), embedding, heatmap

    def _interpreter(self) -> "Interpreter":
        """The interpreter of the calling thread, made at its first call."""
        if not hasattr(self._local, "interpreter"):
            try:
                interpreter = self._spare.pop()
            except IndexError:
                interpreter = self._load()
            self._local.interpreter = interpreter
        return self._local.interpreter

    def _load(self) -> "Interpreter":
        from ai_edge_litert.interpreter import Interpreter

        is_file = isinstance(self._network, Path)
        source = {"model_path": str(self._network)} if is_file else {"model_content": self._network}
        try:
            with _quiet_stderr():
                interpreter = Interpreter(**source, num_threads=self._threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{self._name} is no network this version can run: {error}") from error
        return interpreter


def _find_outputs(interpreter: "Interpreter", name: str) -> list[int]:
    """Tensor indices in the order of `OUTPUTS`; the network's signature carries the names."""
    try:
        details = interpreter.get_signature_runner().get_output_details()
        return [int(details[output]["index"]) for output in OUTPUTS]
    except (KeyError, ValueError) as error:
        raise BundleError(f"{name} lacks the outputs {', '.join(OUTPUTS)}") from error


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep LiteRT's "Created TensorFlow Lite XNNPACK delegate" off standard error at the first load.

    LiteRT says it once a process, past Python, and no setting or environment variable stops it (measured with
    2.3.0). So standard error is put aside for the first load only, which the others wait for.
    """
    with _FIRST_LOAD:
        if not _GREETED.is_set():
            with stderr_aside():
                yield
            _GREETED.set()
            return
    yield


@contextlib.contextmanager
def stderr_aside() -> Iterator[None]:
    """Send what native code prints to standard error nowhere for a while."""
    with contextlib.ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:  # standard error is closed
            yield
            return
        stack.callback(os.close, saved)
        stack.callback(os.dup2, saved, 2)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        yield

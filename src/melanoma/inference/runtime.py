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
    """A LiteRT network, from a file or its bytes, with images as input and the outputs `OUTPUTS`.

    `batch` images go through together where so many are given and the network takes them, the rest one at a time; an
    image's numbers are the same bits either way, so they never depend on its neighbours. Every thread that calls `run`
    gets interpreters of its own; `threads` is what each may use inside.
    """

    def __init__(self, network: Path | bytes, threads: int = 1, batch: int = 1) -> None:
        self._network = network
        self._name = network.name if isinstance(network, Path) else "the network"
        self._threads = threads
        self._local = threading.local()
        first = self._load(1)  # tells at once whether it can be run
        details = first.get_input_details()[0]
        self._input = int(details["index"])
        self._outputs = _find_outputs(first, self._name)
        self._spare = [first]  # the first thread that runs the network takes it
        self.batch = batch if details["shape_signature"][0] == -1 else 1

    def run(self, images: NDArray[np.float32]) -> NetworkOutput:
        """Run float32 (n, size, size, 3), scaled as the bundle's preprocessing says; n is at least 1."""
        whole = len(images) // self.batch * self.batch
        sizes = [self.batch] * (whole // self.batch) + [1] * (len(images) - whole)
        parts = np.split(images, np.cumsum(sizes)[:-1])
        return NetworkOutput(*map(np.concatenate, zip(*map(self._run_together, parts), strict=True)))

    def _run_together(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        interpreter = self._interpreter(len(images))
        interpreter.set_tensor(self._input, images)
        interpreter.invoke()
        logit, embedding, heatmap = (interpreter.get_tensor(index) for index in self._outputs)
        return logit.reshape(-1), embedding, heatmap

    def _interpreter(self, size: int) -> "Interpreter":
        """The calling thread's interpreter for so many images, made at its first call."""
        own: dict[int, Interpreter] = self._local.__dict__.setdefault("interpreters", {})
        if size not in own:
            try:
                own[size] = self._spare.pop() if size == 1 else self._load(size)
            except IndexError:
                own[size] = self._load(size)
        return own[size]

    def _load(self, size: int) -> "Interpreter":
        from ai_edge_litert.interpreter import Interpreter

        is_file = isinstance(self._network, Path)
        source = {"model_path": str(self._network)} if is_file else {"model_content": self._network}
        try:
            with _quiet_stderr():
                interpreter = Interpreter(**source, num_threads=self._threads)
                if size > 1:
                    details = interpreter.get_input_details()[0]
                    interpreter.resize_tensor_input(details["index"], [size, *details["shape"][1:]])
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

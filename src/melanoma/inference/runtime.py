"""Load and run an exported network: the only importer of LiteRT."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from melanoma.errors import BundleError
from melanoma.inference.prediction import NetworkOutput

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

OUTPUTS = ("logit", "embedding", "heatmap")
_WEIGHT_TYPES: Final = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8}
_PLAIN_TYPES: Final = {"INT32", "INT64", "BOOL", "STRING"}  # shapes, indices and switches

_FIRST_LOAD = threading.Lock()
_GREETED = threading.Event()


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A constant of a network; writing to `values` or `scale` changes the network's bytes.

    `values` float32, float16 or int8, any shape. `scale` float32: the weights are int8 values times the scale of
    their output channel, the first axis of a dense kernel; empty for the other types.
    """

    values: NDArray[Any]
    scale: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """An operator with weights: what it does, such as CONV_2D, and its kernel and then its bias, if any."""

    kind: str
    weights: tuple[Weights, ...]


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
        self._interpreter()

    def run(self, batch: NDArray[np.float32]) -> NetworkOutput:
        """Run float32 (n, size, size, 3), scaled as the bundle's preprocessing says; n is at least 1."""
        rows = [self._run_one(image) for image in batch]
        return NetworkOutput(*(np.stack(column) for column in zip(*rows, strict=True)))

    def _run_one(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        interpreter = self._interpreter()
        interpreter.set_tensor(self._local.input, image[None])
        interpreter.invoke()
        logit, embedding, heatmap = (interpreter.get_tensor(index)[0] for index in self._local.outputs)
        return logit.reshape(()), embedding, heatmap

    def _interpreter(self) -> "Interpreter":
        """The interpreter of the calling thread, made at its first call."""
        if not hasattr(self._local, "interpreter"):
            interpreter = self._load()
            self._local.input = interpreter.get_input_details()[0]["index"]
            self._local.outputs = _find_outputs(interpreter, self._name)
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


def find_layers(content: bytearray) -> list[Layer]:
    """The layers of a network's bytes in the order in which they run, their weights open to be changed in place.

    Constants that say shapes, indices or switches, and single numbers, are no weights. Weights that two layers
    share stand with the first. Raises BundleError for weights of a type that `Weights` does not have.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    kinds, types = _name_values(schema.BuiltinOperator), _name_values(schema.TensorType)
    widened: dict[int, int] = {}  # float16 weights pass through an operator of their own on their way
    seen: set[int] = set()
    layers = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = kinds.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "CUSTOM")
        inputs = [widened.get(index, index) for index in operator.InputsAsNumpy().tolist() if index >= 0]
        if kind == "DEQUANTIZE":
            widened[int(operator.Outputs(0))] = inputs[0]
            continue
        new = [index for index in inputs if graph.Tensors(index).Buffer() not in seen]
        seen |= {graph.Tensors(index).Buffer() for index in new}
        found = [_read_weights(model, graph.Tensors(index), types) for index in new]
        if weights := tuple(one for one in found if one is not None):
            layers.append(Layer(kind, weights))
    return layers


def _name_values(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


def _read_weights(model: Any, tensor: Any, types: dict[int, str]) -> Weights | None:
    """A tensor's values where they lie in the network's bytes; None when it is no constant, or no weights."""
    buffer, quantization = model.Buffers(tensor.Buffer()), tensor.Quantization()
    has_scale = quantization is not None and quantization.ScaleLength() > 0
    kind = types.get(tensor.Type(), "an unknown type")
    if buffer.DataLength() + buffer.Size() == 0 or (kind in _PLAIN_TYPES and not has_scale):
        return None
    if kind not in _WEIGHT_TYPES or buffer.DataLength() == 0:
        raise BundleError(
            f"the weights of this network ({kind}) cannot be changed; export it with --quantize none, float16 or"
            " int8_weights"
        )
    shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
    values = buffer.DataAsNumpy().view(_WEIGHT_TYPES[kind]).reshape(shape)
    scale = quantization.ScaleAsNumpy() if has_scale else np.zeros(0, dtype=np.float32)
    return Weights(values, scale) if values.size > 1 else None


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

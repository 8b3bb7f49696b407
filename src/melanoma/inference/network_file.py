"""What stands in a network's file: its layers' weights, and which part of the image its heat map is about.

The file is a FlatBuffer; LiteRT ships the reader that its schema gives. Nothing is run here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from melanoma.errors import BundleError

_WEIGHT_TYPES: Final = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8, "INT32": np.int32}
_PLAIN_TYPES: Final = {"INT32", "INT64", "BOOL", "STRING"}  # without a scale: shapes, indices and switches
_WINDOWS: Final = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
}

Box = tuple[float, float, float, float]
WHOLE: Final[Box] = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A constant of a network; writing to `values` or `scale` changes the network's bytes.

    `values` float32, float16, int8 or int32, any shape. `scale` float32: the weights are whole numbers times the scale
    of their output channel, the first axis of a dense kernel; empty for the other types.
    """

    values: NDArray[Any]
    scale: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """An operator with weights: what it does, such as CONV_2D, and its kernel and then its bias, if any."""

    kind: str
    weights: tuple[Weights, ...]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where the places of a tensor lie along one side of the network's input, pixels: middle of the first, step."""

    first: float
    step: float

    def slide(self, window: int, stride: int, padding: int) -> "_Grid":
        """The places after a window of so many places was moved over this grid, padded in front."""
        return _Grid(self.first + ((window - 1) / 2 - padding) * self.step, self.step * stride)

    def span(self, places: int) -> tuple[float, float]:
        """From the near edge of the first place to the far edge of the last, pixels."""
        return self.first - self.step / 2, self.first + (places - 0.5) * self.step


@dataclass(frozen=True, slots=True, eq=False)
class _File:
    """The model that a file holds, and its one graph."""

    model: Any
    graph: Any

    def shape(self, tensor: int) -> list[int]:
        return list(self.graph.Tensors(tensor).ShapeAsNumpy().tolist())


def find_layers(content: bytearray) -> list[Layer]:
    """The layers of a network's bytes in the order in which they run, their weights open to be changed in place.

    Constants that say shapes, indices or switches, and single numbers, are no weights. Weights that two layers
    share stand with the first. Raises BundleError for weights of a type that `Weights` does not have.
    """
    file = _open(content)
    widened: dict[int, int] = {}  # float16 weights pass through an operator of their own on their way
    seen: set[int] = set()
    layers = []
    for kind, operator in _list_operators(file):
        inputs = [widened.get(index, index) for index in operator.InputsAsNumpy().tolist() if index >= 0]
        if kind == "DEQUANTIZE":
            widened[int(operator.Outputs(0))] = inputs[0]
            continue
        new = [index for index in inputs if file.graph.Tensors(index).Buffer() not in seen]
        seen |= {file.graph.Tensors(index).Buffer() for index in new}
        found = [_read_weights(file, index) for index in new]
        if weights := tuple(one for one in found if one is not None):
            layers.append(Layer(kind, weights))
    return layers


def find_heat_box(content: bytes) -> Box:
    """The part of the network's input that the cells of its heat map stand for: left, upper, right, lower, in sides.

    A cell stands for the middle of what it sees (Luo et al. 2016, "Understanding the effective receptive field"):
    convolutions without padding bring the outermost cells inwards, strides with padding may bring them out, below 0
    or above 1; the mean over mirrored views is about the middle again. WHOLE for a network whose path from the image to
    the heat map cannot be followed.
    """
    file = _open(content)
    image = int(file.graph.Inputs(0))
    height, width = file.shape(image)[1:3]
    grids = {image: (_Grid(0.5, 1.0), _Grid(0.5, 1.0))}
    for kind, operator in _list_operators(file):
        source = next((index for index in operator.InputsAsNumpy().tolist() if index in grids), None)
        if source is None:
            continue
        moved = _follow(file, kind, operator, grids[source], source)
        if moved is not None:
            grids[int(operator.Outputs(0))] = moved
    heat = _find_heatmap(file)
    if heat not in grids:
        return WHOLE
    rows, columns = file.shape(heat)[1:3]
    upper, lower = grids[heat][0].span(rows)
    left, right = grids[heat][1].span(columns)
    if any(kind == "REVERSE_V2" for kind, _ in _list_operators(file)):
        upper, lower = (height - (lower - upper)) / 2, (height + (lower - upper)) / 2
        left, right = (width - (right - left)) / 2, (width + (right - left)) / 2
    return left / width, upper / height, right / width, lower / height


def _open(content: bytes | bytearray) -> _File:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    return _File(model, model.Subgraphs(0))


def _list_operators(file: _File) -> Iterator[tuple[str, Any]]:
    """Each operator with what it does, in the order in which they run."""
    from ai_edge_litert import schema_py_generated as schema

    kinds = _name_values(schema.BuiltinOperator)
    for number in range(file.graph.OperatorsLength()):
        operator = file.graph.Operators(number)
        code = file.model.OperatorCodes(operator.OpcodeIndex())
        yield kinds.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "CUSTOM"), operator


def _name_values(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


def _read_weights(file: _File, number: int) -> Weights | None:
    """A tensor's values where they lie in the network's bytes; None when it is no constant, or no weights."""
    from ai_edge_litert import schema_py_generated as schema

    tensor = file.graph.Tensors(number)
    buffer, quantization = file.model.Buffers(tensor.Buffer()), tensor.Quantization()
    has_scale = quantization is not None and quantization.ScaleLength() > 0
    kind = _name_values(schema.TensorType).get(tensor.Type(), "of an unknown type")
    if buffer.DataLength() + buffer.Size() == 0 or (kind in _PLAIN_TYPES and not has_scale):
        return None
    if kind not in _WEIGHT_TYPES or buffer.DataLength() == 0:
        raise BundleError(
            f"the weights of this network ({kind}) cannot be changed; export it with --quantize none, float16,"
            " int8_weights or int8"
        )
    shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
    values = buffer.DataAsNumpy().view(_WEIGHT_TYPES[kind]).reshape(shape)
    scale = quantization.ScaleAsNumpy() if has_scale else np.zeros(0, dtype=np.float32)
    return Weights(values, scale) if values.size > 1 else None


def _follow(
    file: _File, kind: str, operator: Any, grids: tuple[_Grid, _Grid], source: int
) -> tuple[_Grid, _Grid] | None:
    """The grids of rows and columns behind an operator; None where it leaves no picture, or one of unknown place."""
    before, after = file.shape(source), file.shape(int(operator.Outputs(0)))
    if kind in {"PAD", "PADV2"}:
        buffer = file.model.Buffers(file.graph.Tensors(operator.Inputs(1)).Buffer())
        added = buffer.DataAsNumpy().view(np.int32).reshape(-1, 2)
        return grids[0].slide(1, 1, int(added[1, 0])), grids[1].slide(1, 1, int(added[2, 0]))
    if kind not in _WINDOWS:
        return grids if len(after) > 2 and before[1:3] == after[1:3] else None
    windows, strides, same = _read_window(file, kind, operator)
    moved = []
    for axis in range(2):
        needed = (after[1 + axis] - 1) * strides[axis] + windows[axis] - before[1 + axis]
        moved.append(grids[axis].slide(windows[axis], strides[axis], max(needed, 0) // 2 if same else 0))
    return moved[0], moved[1]


def _read_window(file: _File, kind: str, operator: Any) -> tuple[tuple[int, int], tuple[int, int], bool]:
    """Height and width of a window, its strides, and whether the input is padded to keep its size."""
    from ai_edge_litert import schema_py_generated as schema

    options = getattr(schema, _WINDOWS[kind])()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    if kind.endswith("POOL_2D"):
        window = options.FilterHeight(), options.FilterWidth()
    else:
        height, width = file.shape(operator.Inputs(1))[1:3]
        dilation = options.DilationHFactor(), options.DilationWFactor()
        window = (height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1
    return window, (options.StrideH(), options.StrideW()), options.Padding() == schema.Padding.SAME


def _find_heatmap(file: _File) -> int:
    """The number of the tensor that the network's signature calls `heatmap`, -1 when there is none."""
    for number in range(file.model.SignatureDefsLength()):
        signature = file.model.SignatureDefs(number)
        for place in range(signature.OutputsLength()):
            output = signature.Outputs(place)
            if output.Name() == b"heatmap":
                return int(output.TensorIndex())
    return -1

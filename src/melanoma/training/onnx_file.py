"""A bundle's network as one ONNX file that says all that the bundle says."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from melanoma.files import replacing
from melanoma.inference.bundle import CLASSES, Bundle
from melanoma.inference.calibration import Calibration
from melanoma.inference.preprocessing import Preprocessing
from melanoma.inference.runtime import OUTPUTS, stderr_aside

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Weights = Literal["none", "float16", "int8_weights"]
OPSET = 17  # of 2022: what runs in browsers and in older runtimes as well
SMALL = 1024  # numbers; smaller tables stay as they are, since they hold no weights
RANKS = {1: "logit", 2: "embedding", 3: "heatmap"}
KEY = "melanoma"


def write_onnx(bundle: Bundle, path: Path, weights: Weights = "none") -> None:
    """Write a bundle's network for ONNX Runtime.

    Input `image`: uint8 (1, size, size, 3), RGB, prepared as the bundle's preprocessing says. Outputs: `y_prob` (1,),
    calibrated; `logit` (1,), `embedding` (1, d) and `heatmap` (1, h, w), float32. The metadata's entry `melanoma` is
    the bundle's description as JSON. `weights` are stored as float16, or as int8 with a scale per output channel, and
    computed with as float32. Raises OutputError.
    """
    import onnx

    model = _convert(bundle.read_network())
    _name_outputs(model)
    _take_pixels(model, bundle.preprocessing)
    _give_probability(model, bundle.calibration)
    _store_weights(model, weights)
    _describe(model, bundle)
    onnx.checker.check_model(model, full_check=True)
    with replacing(path) as part:
        part.write_bytes(model.SerializeToString())


def describe(bundle: Bundle) -> str:
    """All that a program needs beside the network to judge as the bundle does, as JSON."""
    values = {
        "name": bundle.name,
        "bundle_digest": bundle.digest,
        "classes": list(CLASSES),
        "preprocessing": bundle.preprocessing.to_dict(),
        "calibration": bundle.calibration.to_dict(),
        "operating_point": bundle.operating_point.to_dict(),
        "notice": "Research software, not a medical device. Trained on images for non-commercial use.",
    }
    return json.dumps(values)


def _convert(network: bytes) -> "ModelProto":
    """The LiteRT network in ONNX's operations."""
    from tf2onnx import convert

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.tflite"
        file.write_bytes(network)
        with stderr_aside():  # the converter's own LiteRT warns and greets there
            model: ModelProto = convert.from_tflite(str(file), opset=OPSET)[0]
    return model


def _name_outputs(model: "ModelProto") -> None:
    """Names in place of the converter's; the outputs are told apart by how many axes they have."""
    names = {one.name: RANKS[len(one.type.tensor_type.shape.dim)] for one in model.graph.output}
    names[model.graph.input[0].name] = "scaled"
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.input, *model.graph.output):
        value.name = names[value.name]
    ordered = sorted(model.graph.output, key=lambda value: OUTPUTS.index(value.name))
    del model.graph.output[:]
    model.graph.output.extend(ordered)


def _take_pixels(model: "ModelProto", spec: Preprocessing) -> None:
    """Pixels in, scaled within the graph."""
    from onnx import TensorProto, helper

    factor, offset = (1 / 255, 0.0) if spec.scale == "zero_one" else (1 / 127.5, -1.0)
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", _constant(model, "factor", factor)], ["multiplied"]),
        helper.make_node("Add", ["multiplied", _constant(model, "offset", offset)], ["scaled"]),
    ]
    _put_first(model, nodes)
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, spec.size, spec.size, 3])
    model.graph.input[0].CopyFrom(image)


def _give_probability(model: "ModelProto", calibration: Calibration) -> None:
    """`y_prob` out of `logit`, by Platt scaling."""
    from onnx import TensorProto, helper

    slope, intercept = (
        _constant(model, "slope", calibration.slope),
        _constant(model, "intercept", calibration.intercept),
    )
    model.graph.node.extend(
        [
            helper.make_node("Mul", ["logit", slope], ["sloped"]),
            helper.make_node("Add", ["sloped", intercept], ["calibrated"]),
            helper.make_node("Sigmoid", ["calibrated"], ["y_prob"]),
        ]
    )
    model.graph.output.insert(0, helper.make_tensor_value_info("y_prob", TensorProto.FLOAT, [1]))


def _store_weights(model: "ModelProto", weights: Weights) -> None:
    """Large float32 tables as something smaller, and an operation that makes them float32 again."""
    from onnx import TensorProto, helper, numpy_helper

    if weights == "none":
        return
    first: list[NodeProto] = []
    for tensor in list(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL:
            continue
        name, small = tensor.name, f"{tensor.name}_{weights}"
        table = np.asarray(numpy_helper.to_array(tensor))
        if weights == "float16":
            tensor.CopyFrom(numpy_helper.from_array(table.astype(np.float16), small))
            first.append(helper.make_node("Cast", [small], [name], to=TensorProto.FLOAT))
            continue
        axis = _find_output_axis(model, name)
        whole, scale = _quantise(table, axis)
        tensor.CopyFrom(numpy_helper.from_array(whole, small))
        inputs = [small, _constant(model, f"{name}_scale", scale)]
        first.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
    _put_first(model, first)


def _find_output_axis(model: "ModelProto", name: str) -> int:
    """The axis of a table that counts output channels."""
    node = next(node for node in model.graph.node if name in node.input)
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else -1


def _quantise(table: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers in [-127, 127] and the scale of each channel, which multiplied give the table again."""
    others = tuple(i for i in range(table.ndim) if i != axis % table.ndim)
    scale = np.maximum(np.abs(table).max(axis=others, keepdims=True) / 127, 1e-12)
    return np.rint(table / scale).astype(np.int8), scale.reshape(-1).astype(np.float32)


def _describe(model: "ModelProto", bundle: Bundle) -> None:
    from onnx import helper

    helper.set_model_props(model, {KEY: describe(bundle)})
    model.producer_name = "melanoma"
    model.doc_string = f"melanoma bundle {bundle.name}, {bundle.digest}"


def _constant(model: "ModelProto", name: str, value: float | NDArray[np.float32]) -> str:
    """A constant of the graph, and its name."""
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
    return name


def _put_first(model: "ModelProto", nodes: "list[NodeProto]") -> None:
    """Operations before all others, as ONNX wants what is used to stand before its use."""
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])

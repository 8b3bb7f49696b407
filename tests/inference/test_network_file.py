import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from melanoma.errors import BundleError
from melanoma.inference.network_file import WHOLE, find_heat_box, find_layers
from melanoma.inference.runtime import LiteRtNetwork


@pytest.fixture(scope="module")
def content(tiny_bundle):
    return (tiny_bundle / "network.tflite").read_bytes()


def rewrite(content, change):
    """The network with `change` made to its unpacked form."""
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    change(model)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_layers_come_in_order_with_kernel_and_bias(content):
    layers = find_layers(bytearray(content))
    assert [layer.kind for layer in layers] == ["CONV_2D"] * 3 + ["FULLY_CONNECTED"] * 3
    assert [[one.values.shape for one in layer.weights] for layer in layers] == [
        [(32, 3, 3, 3), (32,)],
        [(64, 3, 3, 32), (64,)],
        [(128, 3, 3, 64), (128,)],
        [(128, 512), (128,)],
        [(128, 128)],
        [(1, 128)],
    ]
    kinds = [layer.weights[0].values.dtype for layer in layers]
    assert kinds == [np.float32, np.int8, np.int8, np.int8, np.int8, np.float32]
    assert [len(layer.weights[0].scale) for layer in layers] == [0, 64, 128, 128, 128, 0]


def test_writing_to_weights_changes_the_network(content):
    pixels = np.random.default_rng(0).random((1, 32, 32, 3), dtype=np.float32)
    before = LiteRtNetwork(content).run(pixels)
    changed = bytearray(content)
    output = find_layers(changed)[-1].weights[0].values
    output *= 2
    assert len(changed) == len(content)
    after = LiteRtNetwork(bytes(changed)).run(pixels)
    bias = 2 * before.logit - after.logit
    np.testing.assert_allclose(before.logit - bias, before.embedding @ output[0] / 2, rtol=1e-4)
    np.testing.assert_array_equal(before.embedding, after.embedding)


def test_weights_of_another_type_are_one_clear_line(content):
    def to_int4(model):
        kernel = next(one for one in model.subgraphs[0].tensors if one.type == schema.TensorType.INT8)
        kernel.type = schema.TensorType.INT4

    with pytest.raises(BundleError, match=r"\(INT4\) cannot be changed; export it with --quantize none"):
        find_layers(bytearray(rewrite(content, to_int4)))


def test_cells_without_padding_stand_for_the_middle_of_what_they_see(content):
    # Places along a side of 32: 30, pooled to 15; 13, pooled to 6; 4, pooled to 2. The first cell pools places 0 and
    # 1 of the last convolution, whose middles lie at pixels 9 and 13, the second cell those at 17 and 21.
    assert find_heat_box(content) == (7 / 32, 7 / 32, 23 / 32, 23 / 32)


def pad(model, sides, strides):
    """Give every window padding, and the strides and sides of its output; all that follows has the last side."""
    graph = model.subgraphs[0]
    for operator, side, stride in zip(graph.operators[:6], sides, strides, strict=True):
        options = operator.builtinOptions
        options.padding, options.strideH, options.strideW = schema.Padding.SAME, stride, stride
        set_side(graph.tensors[operator.outputs[0]], side)
    for operator in graph.operators[6:]:
        tensor = graph.tensors[operator.outputs[0]]
        if tensor.shape is not None and list(tensor.shape[1:3]) == [2, 2]:
            set_side(tensor, sides[-1])


def set_side(tensor, side):
    tensor.shape = np.array([tensor.shape[0], side, side, *tensor.shape[3:]], np.int32)


def test_padding_and_strides_move_the_cells(content):
    even = rewrite(content, lambda model: pad(model, [32, 16, 16, 8, 8, 4], [1, 2] * 3))
    assert find_heat_box(even) == WHOLE
    # A window of 3 at stride 2 is padded behind only, so its first place lies at pixel 1.5 and not at 1.
    moved = rewrite(content, lambda model: pad(model, [16, 8, 8, 4, 4, 2], [2, 2, 1, 2, 1, 2]))
    assert find_heat_box(moved) == pytest.approx([0.5 / 32, 0.5 / 32, 32.5 / 32, 32.5 / 32])


def test_an_operator_that_pads_moves_the_cells(content):
    def put_pad_first(model):
        graph = model.subgraphs[0]
        paddings = np.array([[0, 0], [1, 0], [2, 0], [0, 0]], np.int32)
        buffer, code = schema.BufferT(), schema.OperatorCodeT()
        buffer.data, code.builtinCode = (
            np.frombuffer(paddings.tobytes(), np.uint8),
            schema.BuiltinOperator.PAD,
        )
        model.buffers.append(buffer)
        model.operatorCodes.append(code)
        constant, padded = schema.TensorT(), schema.TensorT()
        constant.shape, constant.type = np.array([4, 2], np.int32), schema.TensorType.INT32
        constant.buffer = len(model.buffers) - 1
        padded.shape = np.array([1, 33, 34, 3], np.int32)
        graph.tensors += [constant, padded]
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs = np.array([graph.inputs[0], len(graph.tensors) - 2], np.int32)
        operator.outputs = np.array([len(graph.tensors) - 1], np.int32)
        graph.operators.insert(0, operator)
        inputs = list(graph.operators[1].inputs)
        graph.operators[1].inputs = np.array([len(graph.tensors) - 1, *inputs[1:]], np.int32)

    changed = rewrite(content, put_pad_first)
    assert find_heat_box(changed) == (5 / 32, 6 / 32, 21 / 32, 22 / 32)
    assert len(find_layers(bytearray(changed))) == 6


def test_a_path_that_cannot_be_followed_gives_the_whole_image(content):
    def rename(model):
        output = next(one for one in model.signatureDefs[0].outputs if one.name == b"heatmap")
        output.name = b"something"

    assert find_heat_box(rewrite(content, rename)) == WHOLE

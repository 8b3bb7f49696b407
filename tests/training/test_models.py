import numpy as np
import pytest

from conftest import require_extra

require_extra("tensorflow", "train")

import keras
import tensorflow as tf

from melanoma.config import InputConfig, ModelConfig, load_recipe
from melanoma.evaluation.randomisation import follows_weights, randomise
from melanoma.inference.network_file import find_heat_box, find_layers
from melanoma.inference.runtime import LiteRtNetwork
from melanoma.training.export import export_litert
from melanoma.training.models import create_inference_model, create_model


@pytest.fixture(scope="module")
def small_model() -> keras.Model:
    keras.utils.set_random_seed(3)
    return create_model(ModelConfig(), InputConfig(size=48))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).random((3, 48, 48, 3), dtype=np.float32)


def grad_cam(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Grad-CAM by automatic differentiation, Selvaraju et al. 2017: mean gradient, weighted sum, ReLU."""
    flatten = next(layer for layer in model.layers if isinstance(layer, keras.layers.Flatten))
    features = tf.constant(keras.Model(model.inputs, flatten.input)([pixels]))
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = features
        for layer in model.layers[model.layers.index(flatten) :]:
            value = layer(value, training=False)
    gradient = tape.gradient(value, features).numpy()
    return np.maximum((gradient.mean(axis=(1, 2), keepdims=True) * features.numpy()).sum(axis=-1), 0)


def test_the_original_network_layer_by_layer():
    recipe = load_recipe("original_cnn")
    model = create_model(recipe.model, recipe.input)
    assert model.count_params() == 4_828_481
    layers = [(type(layer).__name__, layer.output.shape[1:]) for layer in model.layers]
    assert layers == [
        ("Conv2D", (148, 148, 32)),
        ("MaxPooling2D", (74, 74, 32)),
        ("Conv2D", (72, 72, 64)),
        ("MaxPooling2D", (36, 36, 64)),
        ("Conv2D", (34, 34, 128)),
        ("MaxPooling2D", (17, 17, 128)),
        ("Flatten", (36992,)),
        ("Dense", (128,)),
        ("Dense", (1,)),
    ]
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert all(layer.kernel_size == (3, 3) and layer.padding == "valid" for layer in convolutions)
    assert [layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")] == [
        *["relu"] * 4,
        "linear",
    ]


def test_the_tuned_recipe_is_the_same_network_with_dropout():
    recipe = load_recipe("original_cnn_tuned")
    model = create_model(recipe.model, recipe.input)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_variables) == 4_828_481
    assert recipe.model.dropout == 0 or any(isinstance(layer, keras.layers.Dropout) for layer in model.layers)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_heatmap_in_the_graph_is_grad_cam(pixels, dropout):
    keras.utils.set_random_seed(4)
    model = create_model(ModelConfig(dropout=dropout), InputConfig(size=48))
    heatmaps = [create_inference_model(model)(pixels[i : i + 1])["heatmap"][0] for i in range(3)]
    expected = grad_cam(model, pixels)
    assert expected.max() > 0
    np.testing.assert_allclose(heatmaps, expected, atol=1e-6 * expected.max(), rtol=1e-4)


def test_a_model_read_from_a_file_can_be_exported(small_model, tmp_path):
    small_model.save(tmp_path / "model.keras")
    keras.backend.clear_session()  # as in a new process, where automatic layer names begin again
    model = keras.models.load_model(tmp_path / "model.keras")
    export_litert(model, tmp_path / "network.tflite")
    assert (tmp_path / "network.tflite").stat().st_size > 0


@pytest.mark.parametrize(
    ("quantize", "tolerance", "bytes_a_weight"),
    [("none", 1e-5, 4), ("float16", 2e-3, 2), ("int8_weights", 0.05, 1)],
)
def test_exported_network_agrees_with_keras(
    small_model, pixels, tmp_path, quantize, tolerance, bytes_a_weight
):
    path = tmp_path / "network.tflite"
    export_litert(small_model, path, quantize)
    output = LiteRtNetwork(path).run(pixels)
    expected = small_model.predict_on_batch(pixels)[:, 0]
    np.testing.assert_allclose(output.logit, expected, atol=tolerance)
    assert (output.logit.shape, output.embedding.shape) == ((3,), (3, 128))
    assert output.heatmap.shape == (3, 4, 4)
    assert (output.heatmap >= 0).all()
    np.testing.assert_allclose(output.heatmap, grad_cam(small_model, pixels), atol=tolerance)
    assert path.stat().st_size == pytest.approx(bytes_a_weight * small_model.count_params(), rel=0.15)
    assert find_heat_box(path.read_bytes()) == pytest.approx((7 / 48, 7 / 48, 39 / 48, 39 / 48))
    assert follows_weights(path.read_bytes())
    networks = [randomise(path.read_bytes(), 5, np.random.default_rng(seed)) for seed in range(4)]
    heats = np.array([LiteRtNetwork(network).run(pixels).heatmap for network in networks])
    empty = keras.models.clone_model(small_model)
    expected = np.array([grad_cam(read_weights(network, empty), pixels) for network in networks])
    assert expected.max() > 0
    np.testing.assert_allclose(heats, expected, atol=min(10 * tolerance, 0.1) * expected.max())


def read_weights(network: bytes, model: keras.Model) -> keras.Model:
    """The model with the weights that stand in a network's file."""
    layers = find_layers(bytearray(network))
    learnt = [layers[number] for number in (0, 1, 2, 3, 5)]
    with_weights = [layer for layer in model.layers if layer.weights]
    for layer, stored in zip(with_weights, learnt, strict=True):
        kernel = stored.weights[0].values.astype(np.float32)
        if len(stored.weights[0].scale):
            kernel = kernel * stored.weights[0].scale.reshape(-1, *[1] * (kernel.ndim - 1))
        layer.kernel.assign(np.moveaxis(kernel, 0, -1) if kernel.ndim == 4 else kernel.T)
        if len(stored.weights) > 1:
            layer.bias.assign(stored.weights[1].values.astype(np.float32))
    return model

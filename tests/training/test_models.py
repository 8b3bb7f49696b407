import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import require_extra

require_extra("tensorflow", "train")

import keras
import tensorflow as tf

from melanoma import load_predictor
from melanoma.config import InputConfig, ModelConfig, load_recipe
from melanoma.errors import ConfigError
from melanoma.evaluation.randomisation import follows_weights, randomise
from melanoma.inference import bundle as bundles
from melanoma.inference.calibration import Calibration
from melanoma.inference.decision import OperatingPoint
from melanoma.inference.network_file import find_heat_box, find_layers
from melanoma.inference.preprocessing import Preprocessing, prepare, scale
from melanoma.inference.runtime import LiteRtNetwork
from melanoma.training import efficientnet_lite
from melanoma.training.export import export_litert
from melanoma.training.folding import fold_normalisation
from melanoma.training.models import create_inference_model, create_model
from melanoma.training.weights import find_ancestor, locate_weights, name_weights

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
POOLED = InputConfig(size=48, scale="minus_one_one")


@pytest.fixture(scope="module")
def small_model() -> keras.Model:
    keras.utils.set_random_seed(3)
    return create_model(ModelConfig(), InputConfig(size=48))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).random((3, 48, 48, 3), dtype=np.float32)


def grad_cam(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Grad-CAM by automatic differentiation, Selvaraju et al. 2017: mean gradient, weighted sum, ReLU."""
    kinds = keras.layers.Flatten, keras.layers.GlobalAveragePooling2D
    flatten = next(layer for layer in model.layers if isinstance(layer, kinds))
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


def enliven(model: keras.Model) -> keras.Model:
    """The model with random weights that keep the size of what goes through, as training does (He et al. 2015)."""
    for layer in model.layers:
        if layer.weights:
            layer.kernel.assign(keras.initializers.HeNormal(seed=len(layer.name))(layer.kernel.shape))
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                layer.kernel.assign(layer.kernel * np.sqrt(layer.kernel.shape[2]))
    return model


@pytest.fixture(scope="module")
def pooled_model() -> keras.Model:
    keras.utils.set_random_seed(3)
    return create_model(ModelConfig(name="mobilenet_v2", dropout=0.2), POOLED)


def test_a_pooled_network_gives_its_class_activation_map(pixels, tmp_path):
    keras.utils.set_random_seed(3)
    image = keras.Input((48, 48, 3))
    features = keras.layers.Conv2D(8, 5, strides=4, activation="relu")(image)
    pooled = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(features))
    model = keras.Model(image, keras.layers.Dense(1, name="logit")(pooled))
    export_litert(model, tmp_path / "network.tflite")
    output = LiteRtNetwork(tmp_path / "network.tflite").run(pixels)
    kernel, bias = model.layers[-1].get_weights()
    maps = keras.Model(image, features).predict_on_batch(pixels) @ kernel[:, 0]
    np.testing.assert_allclose(output.logit, maps.mean(axis=(1, 2)) + bias, atol=1e-5)
    np.testing.assert_allclose(output.logit, model.predict_on_batch(pixels)[:, 0], atol=1e-5)
    np.testing.assert_allclose(output.heatmap, np.maximum(maps, 0), atol=1e-5)
    assert (output.embedding.shape, output.heatmap.shape) == ((3, 8), (3, 11, 11))


def test_normalisation_of_a_pretrained_network_is_folded_into_its_convolutions(pooled_model):
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in pooled_model.layers)
    assert pooled_model.count_params() == 2_208_097
    assert len(pooled_model.trainable_weights) == 2 * 52 + 2


def test_a_folded_network_is_the_same_function():
    keras.utils.set_random_seed(3)
    trunk = keras.applications.MobileNetV2(input_shape=(64, 64, 3), include_top=False, weights=None)
    rng = np.random.default_rng(1)
    for layer in trunk.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    images = rng.uniform(-1, 1, (4, 64, 64, 3)).astype(np.float32)
    expected = trunk.predict_on_batch(images)
    np.testing.assert_allclose(
        fold_normalisation(trunk).predict_on_batch(images), expected, atol=1e-4 * expected.max()
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("efficientnet_lite0", 3_413_024), ("efficientnet_lite1", 4_189_344), ("efficientnet_lite2", 4_869_168)],
)
def test_efficientnet_lite_is_what_was_published(name, parameters):
    """Its parameters without the top are those of the published file; Keras has no weights to download."""
    trunk = efficientnet_lite.create_trunk((64, 64, 3), name=name)
    assert trunk.count_params() == parameters
    assert trunk.output_shape == (None, 2, 2, 1280)


def test_keras_has_no_weights_of_efficientnet_lite():
    with pytest.raises(ConfigError, match="Keras has no weights of EfficientNet-Lite"):
        create_model(ModelConfig(name="efficientnet_lite0", weights="imagenet"), POOLED)


def test_published_weights_of_efficientnet_lite_land_in_their_layers():
    spec = importlib.util.spec_from_file_location("convert", SCRIPTS / "convert_efficientnet_lite.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rng, state = np.random.default_rng(0), {}
    trunk = efficientnet_lite.create_trunk((224, 224, 3))
    for here, there, norm in script._pairs("efficientnet_lite0"):
        shape = trunk.get_layer(here).get_weights()[0].shape
        torch_axes = (2, 3, 0, 1) if here.endswith("depthwise") else (3, 2, 0, 1)
        state[f"{there}.weight"] = rng.normal(size=shape).astype(np.float32).transpose(torch_axes)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = rng.uniform(0.5, 1, shape[2 if here.endswith("depthwise") else 3])
    found = script.convert(state)
    assert len(state) == 5 * len([layer for layer in found.layers if "conv" in type(layer).__name__.lower()])
    kernel = found.get_layer("block_3_depthwise").get_weights()[0]
    assert kernel[1, 4, 7, 0] == state["_blocks.3._depthwise_conv.weight"][7, 0, 1, 4]
    kernel = found.get_layer("block_3_project").get_weights()[0]
    assert kernel[0, 0, 7, 5] == state["_blocks.3._project_conv.weight"][5, 7, 0, 0]
    np.testing.assert_allclose(
        found.get_layer("stem_bn").get_weights()[3], state["_bn0.running_var"], rtol=1e-6
    )


def test_normalisation_behind_something_else_cannot_be_folded():
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.BatchNormalization(name="alone")(keras.layers.ReLU()(image)))
    with pytest.raises(ValueError, match="alone follows no convolution without bias"):
        fold_normalisation(network)


@pytest.mark.parametrize("name", ["original_cnn", "mobilenet_v2"])
def test_views_are_averaged_and_their_heat_is_turned_back(name, pixels, tmp_path):
    keras.utils.set_random_seed(3)
    scale = "zero_one" if name == "original_cnn" else "minus_one_one"
    model = create_model(ModelConfig(name=name), InputConfig(size=48, scale=scale))
    averaged = create_inference_model(model, 8)
    one = create_inference_model(model)
    image = pixels[:1]
    turned = [image, image[:, :, ::-1], image[:, ::-1], image[:, ::-1, ::-1]]
    turned += [
        np.swapaxes(view, 1, 2) for view in (image, image[:, :, ::-1], image[:, ::-1], image[:, ::-1, ::-1])
    ]
    outputs = [one.predict_on_batch(np.ascontiguousarray(view)) for view in turned]
    mean = averaged.predict_on_batch(image)
    np.testing.assert_allclose(mean["logit"], np.mean([o["logit"] for o in outputs], axis=0), atol=1e-5)
    np.testing.assert_allclose(
        mean["embedding"], np.mean([o["embedding"] for o in outputs], axis=0), atol=1e-5
    )
    again = averaged.predict_on_batch(np.ascontiguousarray(image[:, :, ::-1]))
    np.testing.assert_allclose(again["logit"], mean["logit"], atol=1e-5)
    np.testing.assert_allclose(again["heatmap"], mean["heatmap"][:, :, ::-1], atol=1e-5)
    export_litert(model, tmp_path / "network.tflite", views=8)
    output = LiteRtNetwork(tmp_path / "network.tflite").run(pixels)
    np.testing.assert_allclose(output.logit[:1], mean["logit"], atol=1e-4)
    np.testing.assert_allclose(output.heatmap[:1], mean["heatmap"], atol=1e-4)
    left, upper, right, lower = find_heat_box((tmp_path / "network.tflite").read_bytes())
    assert (left + right, upper + lower) == pytest.approx((1, 1))
    assert right - left == lower - upper == pytest.approx(32 / 48 if name == "original_cnn" else 64 / 48)


@pytest.mark.parametrize(
    ("name", "quantize"),
    [
        ("original_cnn", "int8_weights"),
        ("original_cnn", "float16"),
        ("mobilenet_v2", "none"),
        ("efficientnet_lite2", "int8"),
    ],
)
def test_an_image_is_the_same_bits_in_a_micro_batch(name, quantize, tmp_path):
    keras.utils.set_random_seed(3)
    scale = "zero_one" if name == "original_cnn" else "minus_one_one"
    model = enliven(create_model(ModelConfig(name=name), InputConfig(size=48, scale=scale)))
    images = np.random.default_rng(5).random((7, 48, 48, 3), dtype=np.float32)
    export_litert(model, tmp_path / "network.tflite", quantize, views=4, samples=images)
    together = LiteRtNetwork(tmp_path / "network.tflite", batch=3)
    assert together.batch == 3
    found, expected = together.run(images), LiteRtNetwork(tmp_path / "network.tflite").run(images)
    assert len(set(expected.logit.tolist())) == 7
    for output in ("logit", "embedding", "heatmap"):
        np.testing.assert_array_equal(getattr(found, output), getattr(expected, output))


def test_feature_maps_in_8_bits(tmp_path):
    """Beside float32: nearly the same logits and heat, a quarter of the file, and no logit rounded to 256 steps."""
    keras.utils.set_random_seed(3)
    model = enliven(create_model(ModelConfig(name="efficientnet_lite0"), POOLED))
    images = np.random.default_rng(5).uniform(-1, 1, (300, 48, 48, 3)).astype(np.float32)
    for quantize in ("none", "int8"):
        export_litert(model, tmp_path / quantize, quantize, views=4, samples=images[:20])
    exact, found = (LiteRtNetwork(tmp_path / quantize).run(images) for quantize in ("none", "int8"))
    assert np.corrcoef(exact.logit, found.logit)[0, 1] > 0.9
    np.testing.assert_allclose(found.heatmap, exact.heatmap, atol=0.3 * exact.heatmap.max())
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(found.logit, found.embedding @ kernel[:, 0] + bias, atol=1e-4)
    assert (tmp_path / "int8").stat().st_size < 0.35 * (tmp_path / "none").stat().st_size
    assert find_heat_box((tmp_path / "int8").read_bytes()) == find_heat_box((tmp_path / "none").read_bytes())
    changed = randomise((tmp_path / "int8").read_bytes(), 3, np.random.default_rng(1))
    assert not np.allclose(LiteRtNetwork(changed).run(images[:3]).heatmap, found.heatmap[:3], atol=1e-3)


def test_a_network_without_a_mean_has_no_8_bit_arithmetic(small_model, pixels, tmp_path):
    with pytest.raises(ConfigError, match=r"original_cnn has no 8-bit arithmetic; give int8_weights"):
        export_litert(small_model, tmp_path / "network.tflite", "int8", samples=pixels)


def test_training_begins_with_given_weights(pooled_model, tmp_path):
    pooled_model.save(tmp_path / "model.keras")
    config = ModelConfig(name="mobilenet_v2", dropout=0.2, weights=str(tmp_path))
    again = create_model(config, POOLED)
    for one, other in zip(again.get_weights(), pooled_model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    trunk = keras.applications.MobileNetV2(input_shape=(48, 48, 3), include_top=False, weights=None)
    trunk.save_weights(tmp_path / "trunk.weights.h5")
    config = ModelConfig(name="mobilenet_v2", weights=str(tmp_path / "trunk.weights.h5"))
    begun, expected = create_model(config, POOLED).get_weights(), fold_normalisation(trunk).get_weights()
    for one, other in zip(begun, expected, strict=False):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "quantize", "precision"),
    [
        ("original_cnn", "int8_weights", 0.01),
        ("mobilenet_v2", "int8_weights", 0.01),
        ("efficientnet_lite0", "float16", 1e-3),
        ("efficientnet_lite0", "int8", 0.01),
    ],
)
def test_training_begins_with_the_weights_of_a_bundle(name, quantize, precision, tmp_path):
    keras.utils.set_random_seed(5)
    image = InputConfig(size=48) if name == "original_cnn" else POOLED
    model = create_model(ModelConfig(name=name), image)
    model.layers[-1].bias.assign([0.7])
    samples = np.random.default_rng(5).uniform(-1, 1, (20, 48, 48, 3)).astype(np.float32)
    export_litert(model, tmp_path / "network.tflite", quantize, views=4, samples=samples)
    bundles.save(
        tmp_path / "bundle",
        tmp_path / "network.tflite",
        name="a bundle",
        preprocessing=Preprocessing(48, scale=image.scale),
        calibration=Calibration(1, 0, 0.5, 10),
        operating_point=OperatingPoint(0.5, 0.9, 0.9, 0.5, 5, 5),
        facts={},
    )
    again = create_model(ModelConfig(name=name, weights=str(tmp_path / "bundle")), image)
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=precision * np.abs(other).max())


def test_training_begins_with_the_bundle_that_ships():
    recipe = load_recipe(bundles.load(bundles.default_folder()).name)
    model = create_model(recipe.model.model_copy(update={"weights": "shipped"}), recipe.input)
    assert np.abs(model.get_weights()[0]).max() > 0


def test_heat_maps_of_the_bundle_that_ships_are_grad_cam():
    """As Keras computes it from the same weights, the mean over the same views; overlays show shares of the maximum."""
    predictor = load_predictor(domain_check=False)
    recipe = load_recipe(predictor.bundle.name)
    model = create_model(recipe.model.model_copy(update={"weights": "shipped"}), recipe.input)
    shown = 0
    for seed in range(8):
        blots = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(blots).resize((400, 300)))
        spec = predictor.bundle.preprocessing
        pixels = scale(prepare(image, spec)[None], spec)
        flips = [(), (2,), (1,), (1, 2)][: recipe.export.views]
        maps = [np.flip(grad_cam(model, np.flip(pixels, axes).copy()), axes) for axes in flips]
        expected, found = np.mean(maps, axis=0)[0], predictor.run(image).heatmap[0]
        assert recipe.export.views <= 4
        assert (found.max() > 0) == (expected.max() > 0)
        if expected.max() > 0:
            shown += 1
            np.testing.assert_allclose(found / found.max(), expected / expected.max(), atol=1e-3)
    assert shown


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ModelConfig(weights="imagenet"), "model.weights of original_cnn is none, shipped, or the folder"),
        (ModelConfig(frozen_until="block_4_add"), "original_cnn has no layer 'block_4_add'"),
        (
            ModelConfig(name="mobilenet_v2", weights="nowhere.h5"),
            "nowhere.h5 is no file, no folder of a run or",
        ),
        (ModelConfig(name="mobilenet_v2", weights="{folder}"), "holds no model.keras"),
        (ModelConfig(name="mobilenet_v2", weights="{folder}/note.txt"), "do not fit"),
        (ModelConfig(weights="{folder}/other"), "do not fit original_cnn"),
        (ModelConfig(name="mobilenet_v2", weights="{folder}/bundle"), "input.scale is zero_one, not minus"),
    ],
)
def test_weights_that_cannot_be_had_are_one_line(model, message, tmp_path, pooled_model, bundle_copy):
    (tmp_path / "note.txt").write_text("no weights")
    bundle_copy.rename(tmp_path / "bundle")
    (tmp_path / "other").mkdir()
    pooled_model.save(tmp_path / "other" / "model.keras")
    model = model.model_copy(update={"weights": model.weights.format(folder=tmp_path)})
    image = POOLED if model.name == "mobilenet_v2" else InputConfig(size=48)
    with pytest.raises(ConfigError, match=message) as caught:
        create_model(model, image)
    assert "\n" not in str(caught.value)


def test_a_download_that_fails_is_one_line(monkeypatch):
    def fail(**_: object) -> keras.Model:
        raise Exception("URL fetch failure on https://somewhere: None -- no route to host\n")  # noqa: TRY002, as Keras does

    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(
        ConfigError, match=r"cannot be loaded or downloaded here.*model.weights=FILE"
    ) as caught:
        create_model(ModelConfig(name="mobilenet_v2", weights="imagenet"), POOLED)
    assert "\n" not in str(caught.value)


def test_start_weights_are_found_from_anywhere_and_their_ancestors_named(tmp_path, monkeypatch, bundle_copy):
    monkeypatch.chdir(tmp_path)
    bundle_copy.rename(tmp_path / "bundle")
    located = locate_weights(ModelConfig(weights="bundle")).weights
    assert located == str(tmp_path / "bundle")
    assert locate_weights(ModelConfig(weights="imagenet")).weights == "imagenet"
    assert name_weights(ModelConfig(weights=located)).weights == "bundle"
    assert name_weights(ModelConfig(weights="shipped")).weights == "shipped"
    found = bundles.load("bundle")
    assert find_ancestor(located)["digest"] == found.digest
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.keras").touch()
    (tmp_path / "bundle").rename(run / "bundle")
    assert find_ancestor(str(run))["digest"] == found.digest
    assert find_ancestor("none") is find_ancestor("imagenet") is None


def test_a_scale_that_the_weights_do_not_know_is_refused():
    with pytest.raises(ConfigError, match="minus_one_one"):
        create_model(ModelConfig(name="mobilenet_v2"), InputConfig(size=48))

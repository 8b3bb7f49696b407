"""Networks. Every one maps scaled images to one logit, and can be asked for its heat map in the graph."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from melanoma.config import InputConfig, ModelConfig
from melanoma.data.diagnoses import DIAGNOSES
from melanoma.errors import ConfigError
from melanoma.training import efficientnet_lite
from melanoma.training.folding import fold_normalisation
from melanoma.training.weights import check_weights, is_whole, load_trunk, quote, take_whole

if TYPE_CHECKING:
    import keras


def check(model: ModelConfig, image: InputConfig) -> None:
    """Raise ConfigError when a network cannot be had so, as far as can be told without loading anything."""
    check_weights(model)
    if model.name in PRETRAINED and image.scale != "minus_one_one":
        raise ConfigError(f"{model.name} needs input.scale minus_one_one")


def check_int8(name: str) -> None:
    """Raise ConfigError when the network of this name cannot be exported as `int8`."""
    if name not in PRETRAINED:
        raise ConfigError(
            f"{name} has no 8-bit arithmetic; give int8_weights, or a network that ends in a mean"
        )


def try_out(model: ModelConfig, image: InputConfig) -> None:
    """Raise ConfigError when a network cannot be had so, even where only building it can tell."""
    check(model, image)
    if model.weights != "none" or model.frozen_until:
        import keras

        create_model(model, image)
        keras.utils.clear_session()  # the network that is trained gets the same layer names


def create_model(model: ModelConfig, image: InputConfig) -> "keras.Model":
    """A network to train: float32 (n, size, size, 3), scaled, to logit (n, 1).

    It begins with `model.weights`. Raises ConfigError when these cannot be had or do not fit.
    """
    check(model, image)
    network = BUILDERS[model.name](model, image)
    _freeze(network, model.frozen_until)
    if is_whole(model.weights):
        take_whole(network, model.weights, image.scale)
    return network


def add_diagnosis_head(model: "keras.Model") -> "keras.Model":
    """The same network with a second output to train with: logits (n, k) of `DIAGNOSES` beside `logit` (n, 1)."""
    import keras

    logit = model.layers[-1]
    diagnosis = keras.layers.Dense(len(DIAGNOSES), name="diagnosis")(logit.input)
    return keras.Model(model.inputs, {"logit": model.outputs[0], "diagnosis": diagnosis}, name=model.name)


def drop_diagnosis_head(model: "keras.Model") -> "keras.Model":
    """The network with its one output, sharing all weights with `model`."""
    import keras

    if len(model.outputs) == 1:
        return model
    return keras.Model(model.inputs, model.get_layer("logit").output, name=model.name)


def create_inference_model(model: "keras.Model", views: int = 1) -> "keras.Model":
    """The trained `model` for n images, with the outputs that a bundle needs: `logit`, `embedding`, `heatmap`.

    The heat map is Grad-CAM on the last feature map (Selvaraju et al. 2017, equations 1 and 2), in closed form.
    Every output is the mean over `views` (1, 4 or 8) of an image: itself, mirrored, upside down, half turned, and the
    same of its transpose; the heat maps are turned back first.
    """
    import keras
    from keras import ops

    mapped = _map(model)
    if views == 1:
        return mapped
    image = keras.Input(model.input_shape[1:], name="image")
    outputs = mapped(ops.concatenate([_turn(image, view) for view in range(views)]))
    parts = {name: ops.split(value, views) for name, value in outputs.items()}
    parts["heatmap"] = [_turn_back(one, view) for view, one in enumerate(parts["heatmap"])]
    means = {name: ops.mean(ops.stack(part, axis=-1), axis=-1) for name, part in parts.items()}
    return keras.Model(image, means)


def _map(model: "keras.Model") -> "keras.Model":
    """As `create_inference_model`, one view."""
    import keras

    pooled = any(isinstance(layer, keras.layers.GlobalAveragePooling2D) for layer in model.layers)
    return (_map_pooled if pooled else _map_flattened)(model)


def _turn(images: Any, view: int) -> Any:
    """One of the eight ways to lay a square: `images` (n, size, size, ...); view 0 is the image itself."""
    from keras import ops

    if view & 4:
        images = ops.swapaxes(images, 1, 2)
    axes = [axis for axis, bit in ((2, 1), (1, 2)) if view & bit]
    return ops.flip(images, axes) if axes else images


def _turn_back(maps: Any, view: int) -> Any:
    """The inverse of `_turn`: mirrors first, then the transpose."""
    return _turn(_turn(maps, view & 3), view & 4)


def _map_pooled(model: "keras.Model") -> "keras.Model":
    """Behind a mean over all places the gradient is the kernel itself: a class activation map (Zhou et al. 2016)."""
    import keras
    from keras import ops

    pool = next(layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D))
    logit = model.layers[-1]
    trunk = keras.Model(model.inputs, pool.input)
    image = keras.Input(model.input_shape[1:], name="image")
    feature_map = trunk(image)
    embedding = pool(feature_map)
    heatmap = ops.relu(ops.sum(feature_map * ops.reshape(logit.kernel, (1, 1, 1, -1)), axis=-1))
    outputs = {"logit": ops.reshape(logit(embedding), (-1,)), "embedding": embedding, "heatmap": heatmap}
    return keras.Model(image, outputs)


def _map_flattened(model: "keras.Model") -> "keras.Model":
    """The gradient of Flatten-Dense-ReLU-Dense at the features is the first kernel times the second.

    It is gated by the ReLU, so its mean over the places is a small matrix product.
    """
    import keras
    from keras import ops

    features, hidden, logit = _layers_of_interest(model)
    trunk = keras.Model(model.inputs, features.input)
    image = keras.Input(model.input_shape[1:], name="image")
    feature_map = trunk(image)
    embedding = hidden(features(feature_map))
    to_channel_weights = keras.layers.Dense(feature_map.shape[-1], use_bias=False, name="channel_weights")
    channel_weights = to_channel_weights(ops.cast(embedding > 0, "float32"))
    kernel = ops.reshape(hidden.kernel, (*feature_map.shape[1:], -1))
    to_channel_weights.kernel.assign(ops.transpose(ops.mean(kernel, axis=(0, 1))) * logit.kernel)
    heatmap = ops.relu(ops.sum(feature_map * channel_weights[:, None, None, :], axis=-1))
    outputs = {"logit": ops.reshape(logit(embedding), (-1,)), "embedding": embedding, "heatmap": heatmap}
    return keras.Model(image, outputs)


def _original_cnn(model: ModelConfig, image: InputConfig) -> "keras.Model":
    """The original's network: 4,828,481 parameters at 150 px. Dropout adds layers only where above 0."""
    import keras
    from keras import layers

    dropout = [layers.Dropout(model.dropout)] if model.dropout else []
    blocks = [
        layer
        for filters in (32, 64, 128)
        for layer in (layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D())
    ]
    head = [layers.Flatten(), *dropout, layers.Dense(128, activation="relu")]
    head += [layers.Dropout(model.dropout)] if model.dropout else []
    return keras.Sequential(
        [keras.Input((image.size, image.size, 3)), *blocks, *head, layers.Dense(1, name="logit")],
        name="original_cnn",
    )


def _mobilenet_v2(model: ModelConfig, image: InputConfig) -> "keras.Model":
    """MobileNetV2 (Sandler et al. 2018) with one logit: 2,208,097 parameters, normalisation folded."""
    import keras

    return _pooled(keras.applications.MobileNetV2, model, image)


def _efficientnet_lite(model: ModelConfig, image: InputConfig) -> "keras.Model":
    """EfficientNet-Lite0, 1 or 2 with one logit: 3,351,281, 4,110,129 or 4,783,305 parameters, normalisation folded."""
    return _pooled(efficientnet_lite.BUILDERS[model.name], model, image)


def _pooled(build: Any, model: ModelConfig, image: InputConfig) -> "keras.Model":
    """A pretrained trunk, the mean over all places, one logit.

    Its normalisation is folded into the convolutions, with ImageNet's statistics: batches that are balanced by source
    and class have other statistics than images to be judged.
    """
    import keras
    from keras import layers

    trunk = fold_normalisation(_load_pretrained(build, model.weights, (image.size, image.size, 3)))
    features = layers.GlobalAveragePooling2D()(trunk.output)
    if model.dropout:
        features = layers.Dropout(model.dropout)(features)
    return keras.Model(trunk.input, layers.Dense(1, name="logit")(features), name=model.name)


def _load_pretrained(build: Any, weights: str, shape: tuple[int, int, int]) -> "keras.Model":
    """A network of `keras.applications` without its top, with the weights that a recipe names for it."""
    if weights == "imagenet":
        try:
            return build(input_shape=shape, include_top=False, weights="imagenet")
        except Exception as error:  # Keras raises nothing more definite when it cannot download
            raise ConfigError(
                "ImageNet's weights cannot be loaded or downloaded here; fetch them elsewhere and name the file: "
                f"--set model.weights=FILE ({quote(error)})"
            ) from error
    trunk = build(input_shape=shape, include_top=False, weights=None)
    if weights != "none" and not is_whole(weights):
        load_trunk(trunk, Path(weights))
    return trunk


def _freeze(network: "keras.Model", last: str) -> None:
    """Keep the weights of all layers up to the one of this name."""
    names = [layer.name for layer in network.layers]
    if last and last not in names:
        raise ConfigError(f"model.frozen_until: {network.name} has no layer {last!r}")
    for layer in network.layers[: names.index(last) + 1 if last else 0]:
        layer.trainable = False


def _layers_of_interest(model: "keras.Model") -> "tuple[keras.Layer, keras.Layer, keras.Layer]":
    """The Flatten layer and the two dense layers behind it."""
    import keras

    flatten = next(layer for layer in model.layers if isinstance(layer, keras.layers.Flatten))
    hidden, logit = (layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    return flatten, hidden, logit


BUILDERS = {
    "original_cnn": _original_cnn,
    "mobilenet_v2": _mobilenet_v2,
    **dict.fromkeys(efficientnet_lite.BUILDERS, _efficientnet_lite),
}
PRETRAINED = set(BUILDERS) - {"original_cnn"}

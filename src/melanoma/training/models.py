"""Networks. Every one maps scaled images to one logit, and can be asked for its heat map in the graph."""

from pathlib import Path
from typing import TYPE_CHECKING

from melanoma.config import InputConfig, ModelConfig
from melanoma.errors import ConfigError

if TYPE_CHECKING:
    import keras


def check(model: ModelConfig, image: InputConfig) -> None:
    """Raise ConfigError when a network cannot be had so, as far as can be told without loading anything."""
    weights = Path(model.weights)
    if weights.is_dir():
        if not (weights / "model.keras").is_file():
            raise ConfigError(
                f"model.weights {weights} holds no model.keras; name the folder of a finished run"
            )
    elif model.name == "original_cnn" and model.weights != "none":
        raise ConfigError("model.weights of original_cnn is none, or the folder of a finished run")
    elif model.weights not in ("none", "imagenet") and not weights.is_file():
        raise ConfigError(f"model.weights {weights} is no file, no folder of a run, and not imagenet or none")
    if model.name == "mobilenet_v2" and image.scale != "minus_one_one":
        raise ConfigError("mobilenet_v2 needs input.scale minus_one_one")


def create_model(model: ModelConfig, image: InputConfig) -> "keras.Model":
    """A network to train: float32 (n, size, size, 3), scaled, to logit (n, 1).

    It begins with `model.weights`. Raises ConfigError when these cannot be had or do not fit.
    """
    check(model, image)
    network = BUILDERS[model.name](model, image)
    if Path(model.weights).is_dir():
        _take_weights(network, Path(model.weights))
    return network


def create_inference_model(model: "keras.Model") -> "keras.Model":
    """The trained `model` with the outputs that a bundle needs: `logit`, `embedding`, `heatmap`.

    The heat map is Grad-CAM on the last feature map (Selvaraju et al. 2017, equations 1 and 2), in closed form.
    """
    import keras

    if any(isinstance(layer, keras.layers.GlobalAveragePooling2D) for layer in model.layers):
        return _map_pooled(model)
    return _map_flattened(model)


def _map_pooled(model: "keras.Model") -> "keras.Model":
    """Behind a mean over all places the gradient is the kernel itself: a class activation map (Zhou et al. 2016)."""
    import keras
    from keras import ops

    pool = next(layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D))
    logit = model.layers[-1]
    trunk = keras.Model(model.inputs, pool.input)
    image = keras.Input(model.input_shape[1:], batch_size=1, name="image")
    feature_map = trunk(image)
    embedding = pool(feature_map)
    heatmap = ops.relu(ops.sum(feature_map * ops.reshape(logit.kernel, (1, 1, 1, -1)), axis=-1))
    outputs = {"logit": logit(embedding)[:, 0], "embedding": embedding, "heatmap": heatmap}
    return keras.Model(image, outputs)


def _map_flattened(model: "keras.Model") -> "keras.Model":
    """The gradient of Flatten-Dense-ReLU-Dense at the features is the first kernel times the second.

    It is gated by the ReLU, so its mean over the places is a small matrix product.
    """
    import keras
    from keras import ops

    features, hidden, logit = _layers_of_interest(model)
    trunk = keras.Model(model.inputs, features.input)
    image = keras.Input(model.input_shape[1:], batch_size=1, name="image")
    feature_map = trunk(image)
    embedding = hidden(features(feature_map))
    to_channel_weights = keras.layers.Dense(feature_map.shape[-1], use_bias=False, name="channel_weights")
    channel_weights = to_channel_weights(ops.cast(embedding > 0, "float32"))
    kernel = ops.reshape(hidden.kernel, (*feature_map.shape[1:], -1))
    to_channel_weights.kernel.assign(ops.transpose(ops.mean(kernel, axis=(0, 1))) * logit.kernel)
    heatmap = ops.relu(ops.sum(feature_map * channel_weights[:, None, None, :], axis=-1))
    outputs = {"logit": logit(embedding)[:, 0], "embedding": embedding, "heatmap": heatmap}
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
    """MobileNetV2 (Sandler et al. 2018), mean over all places, one logit: 2,259,265 parameters.

    Its normalisation layers stay as they are: batches that are balanced by source and class have other statistics
    than images to be judged.
    """
    import keras
    from keras import layers

    trunk = keras.applications.MobileNetV2(
        input_shape=(image.size, image.size, 3),
        include_top=False,
        weights="imagenet" if model.weights == "imagenet" else None,
    )
    if model.weights not in ("imagenet", "none") and not Path(model.weights).is_dir():
        _load_trunk(trunk, Path(model.weights))
    for layer in trunk.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    features = layers.GlobalAveragePooling2D()(trunk.output)
    if model.dropout:
        features = layers.Dropout(model.dropout)(features)
    return keras.Model(trunk.input, layers.Dense(1, name="logit")(features), name="mobilenet_v2")


def _load_trunk(trunk: "keras.Model", path: Path) -> None:
    """Weights of the network without its top, a file as Keras writes them."""
    try:
        trunk.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"model.weights {path} do not fit {trunk.name}: {_one_line(error)}") from error


def _take_weights(network: "keras.Model", run: Path) -> None:
    """All weights of a finished run of the same network."""
    import keras

    try:
        network.set_weights(keras.models.load_model(run / "model.keras").get_weights())
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.weights {run} do not fit {network.name}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _layers_of_interest(model: "keras.Model") -> "tuple[keras.Layer, keras.Layer, keras.Layer]":
    """The Flatten layer and the two dense layers behind it."""
    import keras

    flatten = next(layer for layer in model.layers if isinstance(layer, keras.layers.Flatten))
    hidden, logit = (layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    return flatten, hidden, logit


BUILDERS = {"original_cnn": _original_cnn, "mobilenet_v2": _mobilenet_v2}

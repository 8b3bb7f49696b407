"""Networks. Every one maps scaled images to one logit, and can be asked for its heat map in the graph."""

from typing import TYPE_CHECKING

from melanoma.config import InputConfig, ModelConfig

if TYPE_CHECKING:
    import keras


def create_model(model: ModelConfig, image: InputConfig) -> "keras.Model":
    """An untrained network: float32 (n, size, size, 3), scaled, to logit (n, 1)."""
    return BUILDERS[model.name](model, image)


def create_inference_model(model: "keras.Model") -> "keras.Model":
    """The trained `model` with the outputs that a bundle needs: `logit`, `embedding`, `heatmap`.

    The heat map is Grad-CAM on the last feature map, in closed form for Flatten-Dense-ReLU-Dense: the
    gradient of the logit at the flattened features is the first dense kernel times the second, gated by
    the ReLU, so its spatial mean is a small matrix product. Selvaraju et al. 2017, equations 1 and 2.
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


def _layers_of_interest(model: "keras.Model") -> "tuple[keras.Layer, keras.Layer, keras.Layer]":
    """The Flatten layer and the two dense layers behind it."""
    import keras

    flatten = next(layer for layer in model.layers if isinstance(layer, keras.layers.Flatten))
    hidden, logit = (layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    return flatten, hidden, logit


BUILDERS = {"original_cnn": _original_cnn}

"""A pretrained network without its normalisation layers: the same function, quicker to train and to convert."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras


def fold_normalisation(network: "keras.Model") -> "keras.Model":
    """A copy in which every BatchNormalization layer is part of the convolution before it.

    The normalisation is that of inference, with the statistics that the layer holds: kernel times gamma over the
    standard deviation, and a bias. `network` is functional, each layer of it used once. Raises ValueError on a
    normalisation that follows something else than a convolution without bias.
    """
    import keras

    image = keras.Input(network.input_shape[1:])
    made: dict[int, Any] = {id(network.input): image}
    convolution: dict[int, tuple[keras.Layer, NDArray[np.float32]]] = {}
    folded = []
    for layer in network.layers[1:]:
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        inputs = [made[id(tensor)] for tensor in given]
        if isinstance(layer, keras.layers.BatchNormalization):
            if id(layer.input) not in convolution:
                raise ValueError(f"{layer.name} follows no convolution without bias")
            copy, kernel = convolution[id(layer.input)]
            folded.append((copy, _fold(copy, kernel, layer)))
            made[id(layer.output)] = inputs[0]
            continue
        copy = _copy(layer)
        made[id(layer.output)] = copy(inputs if len(inputs) > 1 else inputs[0])
        if _is_convolution(layer) and not layer.use_bias:
            kernel = layer.get_weights()[0]
            copy.kernel.assign(kernel)  # its bias is 0 until a normalisation follows
            convolution[id(layer.output)] = copy, kernel
        else:
            copy.set_weights(layer.get_weights())
    for copy, weights in folded:
        copy.set_weights(weights)
    return keras.Model(image, made[id(network.output)], name=network.name)


def _is_convolution(layer: "keras.Layer") -> bool:
    import keras

    return isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)


def _copy(layer: "keras.Layer") -> "keras.Layer":
    """The same layer, a convolution with a bias; ReLU6 as the one operation that it is."""
    import keras

    config = layer.get_config()
    if _is_convolution(layer):
        config["use_bias"] = True
    if isinstance(layer, keras.layers.ReLU) and config["max_value"] == 6 and not config["negative_slope"]:
        return keras.layers.Activation("relu6", name=layer.name)
    return layer.__class__.from_config(config)


def _fold(
    convolution: "keras.Layer", kernel: NDArray[np.float32], normalisation: "keras.Layer"
) -> list[NDArray[np.float32]]:
    """Kernel and bias of a convolution that does both."""
    import keras

    gamma, beta, mean, variance = (value.astype(np.float64) for value in normalisation.get_weights())
    factor = gamma / np.sqrt(variance + normalisation.epsilon)
    depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)  # kernel (h, w, channels, 1)
    scaled = kernel * (factor[:, None] if depthwise else factor)
    return [scaled.astype(np.float32), (beta - mean * factor).astype(np.float32)]

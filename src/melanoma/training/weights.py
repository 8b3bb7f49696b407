"""What a network begins with: a finished run, a bundle, or a file of pretrained weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from melanoma.config import ModelConfig
from melanoma.errors import BundleError, ConfigError
from melanoma.inference import bundle as bundles
from melanoma.inference.network_file import Weights, find_layers
from melanoma.inference.runtime import LiteRtNetwork

if TYPE_CHECKING:
    import keras

Floats = NDArray[np.float32]

SHIPPED = "shipped"
KEYWORDS = ("none", "imagenet", SHIPPED)
_AXES = {"CONV_2D": (1, 2, 3, 0), "DEPTHWISE_CONV_2D": (1, 2, 3, 0), "FULLY_CONNECTED": (1, 0)}


def check_weights(model: ModelConfig) -> None:
    """Raise ConfigError when `model.weights` cannot be had, as far as can be told without loading anything."""
    if model.weights in ("none", SHIPPED):
        return
    path = Path(model.weights)
    if is_whole(model.weights):
        if not ((path / "model.keras").is_file() or (path / bundles.NETWORK).is_file()):
            raise ConfigError(
                f"model.weights {path} holds no model.keras and no {bundles.NETWORK}; name the folder of a finished "
                "run or a bundle"
            )
    elif model.name == "original_cnn":
        raise ConfigError(
            f"model.weights of original_cnn is none, {SHIPPED}, or the folder of a finished run or a bundle"
        )
    elif model.weights != "imagenet" and not path.is_file():
        raise ConfigError(
            f"model.weights {path} is no file, no folder of a run or a bundle, and not imagenet, {SHIPPED} or none"
        )


def is_whole(weights: str) -> bool:
    """True when `model.weights` names a whole network, and not a pretrained trunk or nothing."""
    return weights == SHIPPED or (weights not in KEYWORDS and Path(weights).is_dir())


def locate_weights(model: ModelConfig) -> ModelConfig:
    """The same with an absolute path, so that a run can be resumed from anywhere."""
    if model.weights in KEYWORDS:
        return model
    return model.model_copy(update={"weights": str(Path(model.weights).expanduser().absolute())})


def name_weights(model: ModelConfig) -> ModelConfig:
    """The same with the mere name of a file or folder: a bundle tells nothing of the machine it was made on."""
    if model.weights in KEYWORDS:
        return model
    return model.model_copy(update={"weights": Path(model.weights).name})


def find_ancestor(weights: str) -> dict[str, Any] | None:
    """Digest, training sources and notice of the bundle that `model.weights` names; None where there is none."""
    if not is_whole(weights):
        return None
    folder = _find_folder(weights)
    try:
        found = bundles.load(folder / "bundle" if (folder / "model.keras").is_file() else folder)
    except BundleError:
        return None
    kept = {name: found.facts[name] for name in ("sources", "notice") if name in found.facts}
    return {"digest": found.digest, **kept}


def take_whole(network: "keras.Model", weights: str, scale: str) -> None:
    """All weights of a finished run or of a bundle with the same network; `scale`: the network's range of values.

    Raises ConfigError, and BundleError for a damaged bundle.
    """
    folder = _find_folder(weights)
    try:
        if (folder / "model.keras").is_file():
            _take_run(network, folder / "model.keras")
        else:
            _take_bundle(network, bundles.load(folder), scale)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"model.weights {weights} do not fit {network.name}: {quote(error)}") from error


def load_trunk(trunk: "keras.Model", path: Path) -> None:
    """Weights of the network without its top, a file as Keras writes them. Raises ConfigError."""
    try:
        trunk.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"model.weights {path} do not fit {trunk.name}: {quote(error)}") from error


def quote(error: Exception) -> str:
    """What a library said, on one line and not too long."""
    return " ".join(str(error).split())[:200]


def _find_folder(weights: str) -> Path:
    return bundles.default_folder() if weights == SHIPPED else Path(weights)


def _take_run(network: "keras.Model", path: Path) -> None:
    import keras

    network.set_weights(keras.models.load_model(path).get_weights())


def _take_bundle(network: "keras.Model", bundle: bundles.Bundle, scale: str) -> None:
    """The weights that stand in a bundle's network, in the precision they were stored in."""
    if bundle.preprocessing.scale != scale:
        raise ValueError(f"its input.scale is {bundle.preprocessing.scale}, not {scale}")
    stored = _list_kernels(bytearray(bundle.network.read_bytes()))
    layers = [layer for layer in network.layers if layer.weights]
    for layer in layers:
        layer.set_weights(_find(stored, layer))
    logit = layers[-1]
    kernel = logit.get_weights()[0]
    logit.set_weights([kernel, _find_last_bias(bundle, kernel[:, 0])])


def _find(stored: Iterator[list[Floats]], layer: "keras.Layer") -> list[Floats]:
    """Kernel and bias from the next of the layer's shape; the heat map's own in between are passed over."""
    for kernel, *bias in stored:
        if kernel.shape == tuple(layer.weights[0].shape):
            return [kernel, *(bias or [np.zeros(layer.weights[1].shape, np.float32)])]
    raise ValueError(f"it has no weights for the layer {layer.name}")


def _list_kernels(content: bytearray) -> Iterator[list[Floats]]:
    """Kernel, as Keras lays it, and bias of each layer, in the order in which they run.

    Where the heat map multiplies with the kernel of the last layer, that one's weights stand there.
    """
    for layer in find_layers(content):
        kernel, *bias = (_widen(one) for one in layer.weights)
        axes = _AXES.get(layer.kind)
        yield [kernel.transpose(axes) if axes else kernel.reshape(-1, 1), *bias]


def _find_last_bias(bundle: bundles.Bundle, kernel: Floats) -> Floats:
    """What is left of a logit without the product of embedding and kernel (n,)."""
    size = bundle.preprocessing.size
    output = LiteRtNetwork(bundle.network).run(np.zeros((1, size, size, 3), np.float32))
    return np.asarray(output.logit - output.embedding @ kernel, np.float32)


def _widen(stored: Weights) -> Floats:
    """Float32 values of stored weights; int8 ones times the scale of their output channel."""
    values: Floats = stored.values.astype(np.float32)
    if not len(stored.scale):
        return values
    axis = next((axis for axis in (0, -1) if values.shape[axis] == len(stored.scale)), None)
    if axis is None:
        raise ValueError("it has scales of another layout than one for each output channel")
    shape = [1] * values.ndim
    shape[axis] = -1
    return values * stored.scale.reshape(shape)

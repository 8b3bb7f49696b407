"""Copies of a network whose weights are random: a heat map that stays the same shows nothing that was learnt.

The test of Adebayo et al. 2018, "Sanity checks for saliency maps", in the form that goes from the output layer down.
Every value of a layer keeps its size and gets another place and a random sign. So each layer keeps its scale, in
whatever type the file stores it, and the values have no mean left; with values only moved, a dense layer whose mean
is below zero switches its units off, and most heat maps are empty (measured on the shipped bundle).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from skimage.metrics import structural_similarity

from melanoma.inference.network_file import Layer, Weights, find_layers

STEPS: Final = 6  # at most, from the output layer alone to all layers
_WINDOW: Final = 7  # cells, of the structural similarity
_TOLERANCE: Final = 0.02  # of the largest value, that storing weights in 8 bits may cost
_NAMES: Final = {
    "CONV_2D": "convolution",
    "DEPTHWISE_CONV_2D": "depthwise convolution",
    "FULLY_CONNECTED": "dense layer",
}


@dataclass(frozen=True, slots=True)
class Step:
    """The `depth` layers nearest the output are random; `name` is the deepest of them."""

    depth: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class _Stack:
    """The layers that were learnt, first to last, and the heat map's own kernel with the two that it comes from."""

    learnt: list[Layer]
    derived: tuple[Weights, Weights, Weights] | None


def list_steps(network: bytes) -> list[Step]:
    """At most STEPS steps from the output layer alone down to all layers. Raises BundleError as `find_layers`."""
    names = _name_layers(_read_stack(bytearray(network)).learnt)[::-1]
    depths = np.unique(np.rint(np.linspace(1, len(names), min(STEPS, len(names)))).astype(int))
    return [Step(int(depth), names[depth - 1]) for depth in depths]


def follows_weights(network: bytes) -> bool:
    """Whether the heat map's own weights are computed anew from the random ones, as for Flatten-Dense-ReLU-Dense.

    Those of another network are made random each for itself.
    """
    return _read_stack(bytearray(network)).derived is not None


def randomise(network: bytes, depth: int, rng: np.random.Generator) -> bytes:
    """The network with the `depth` layers nearest the output made random. Raises BundleError as `find_layers`."""
    content = bytearray(network)
    stack = _read_stack(content)
    for layer in stack.learnt[-depth:]:
        for weights in layer.weights:
            _shuffle(weights.values, rng)
    if stack.derived is not None:
        heat, hidden, output = stack.derived
        _store(heat, _derive(hidden, output, len(heat.values)))
    return bytes(content)


def correlate(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Spearman's rank correlation of two heat maps, in [-1, 1]; NaN when one is the same everywhere."""
    ranks = [rankdata(heat.ravel()) for heat in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def compare_structure(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Structural similarity of two heat maps, each scaled to its own maximum; at most 1.

    In windows of 7 cells, fewer on a smaller map; NaN when a map is empty or under 3 cells wide. Wang et al. 2004.
    """
    side = min(_WINDOW, *first.shape)
    window = side if side % 2 else side - 1
    if window < 3 or first.max() <= 0 or second.max() <= 0:
        return float("nan")
    scaled = [np.asarray(heat, dtype=np.float64) / float(heat.max()) for heat in (first, second)]
    return float(structural_similarity(*scaled, win_size=window, data_range=1.0))


def _shuffle(values: NDArray[Any], rng: np.random.Generator) -> None:
    signs = rng.choice(np.array([-1, 1], dtype=values.dtype), values.size)
    values[...] = (rng.permutation(values.ravel()) * signs).reshape(values.shape)


def _read_stack(content: bytearray) -> _Stack:
    layers = find_layers(content)
    kernels = [
        layer for layer in layers if layer.kind == "FULLY_CONNECTED" and layer.weights[0].values.ndim == 2
    ]
    for heat in kernels:
        for hidden in kernels:
            for output in kernels:
                if _is_derived(heat.weights[0], hidden.weights[0], output.weights[0]):
                    learnt = [layer for layer in layers if layer is not heat]
                    return _Stack(learnt, (heat.weights[0], hidden.weights[0], output.weights[0]))
    return _Stack(layers, None)


def _is_derived(heat: Weights, hidden: Weights, output: Weights) -> bool:
    channels, units = heat.values.shape
    fits = hidden.values.shape[0] == units and hidden.values.shape[1] % channels == 0
    if not fits or output.values.shape != (1, units) or hidden is heat:
        return False
    known, wanted = _read(heat), _derive(hidden, output, channels)
    return bool(np.abs(known - wanted).max() <= _TOLERANCE * np.abs(known).max())


def _derive(hidden: Weights, output: Weights, channels: int) -> NDArray[np.float32]:
    """The kernel (channels, units) of the heat map of Flatten-Dense-ReLU-Dense: the mean gradient over all places.

    As in `training.models.create_inference_model`; `hidden` (units, places * channels), `output` (1, units).
    """
    kernel = _read(hidden).reshape(len(hidden.values), -1, channels)
    return np.asarray(kernel.mean(axis=1).T * _read(output), dtype=np.float32)


def _read(weights: Weights) -> NDArray[np.float32]:
    """A dense kernel (outputs, inputs) as numbers."""
    values = weights.values.astype(np.float32)
    return values * weights.scale[:, None] if len(weights.scale) else values


def _store(weights: Weights, kernel: NDArray[np.float32]) -> None:
    if len(weights.scale) == 0:
        weights.values[...] = kernel
        return
    scale = np.maximum(np.abs(kernel).max(axis=1), np.finfo(np.float32).tiny) / 127
    weights.scale[...] = scale
    weights.values[...] = np.rint(kernel / scale[:, None])


def _name_layers(layers: Sequence[Layer]) -> list[str]:
    """Each layer's kind with its number among its kind, in the order in which they run."""
    count: Counter[str] = Counter()
    names = []
    for layer in layers:
        kind = _NAMES.get(layer.kind, layer.kind.lower().replace("_", " "))
        count[kind] += 1
        names.append(f"{kind} {count[kind]}")
    return names

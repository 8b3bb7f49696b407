"""Do heat maps change when the network's weights are made random? Each with its own map from the network as it is."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.localisation import pair_unrelated
from melanoma.evaluation.metrics import Estimate, Floats, draw_weights, estimate
from melanoma.evaluation.randomisation import (
    compare_structure,
    correlate,
    follows_weights,
    list_steps,
    randomise,
)
from melanoma.inference.bundle import Bundle
from melanoma.inference.preprocessing import Preprocessing, scale
from melanoma.inference.runtime import LiteRtNetwork
from melanoma.processes import count_cores

Heat = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike pairs of heat maps are, on average over those that both have heat.

    `spearman`, `spearman_size` (its absolute value) and `ssim`: see `randomisation`. `empty`: the share of pairs in
    which the second map has no heat at all.
    """

    spearman: Estimate
    spearman_size: Estimate
    ssim: Estimate
    empty: float


@dataclass(frozen=True, slots=True)
class RandomStep:
    """The likeness of maps before and after the layers from the output down to `name` were made random."""

    name: str
    depth: int
    likeness: Likeness


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """`steps` from the output layer alone to all layers; `unrelated`: maps of one image and of another.

    `follows_weights`: whether the heat map's own weights are computed anew from the random ones; if not, they were
    made random for themselves.
    """

    n_images: int
    n_networks: int
    steps: list[RandomStep]
    unrelated: Likeness
    follows_weights: bool


def check_weights(
    bundle: Bundle,
    images: Sequence[NDArray[np.uint8]],
    heats: Sequence[Heat],
    group: NDArray[np.int64],
    *,
    networks: int,
    resamples: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> WeightCheck:
    """Run `networks` random networks a step over prepared images.

    `images` uint8 (size, size, 3) and their `heats`, none empty; `group` (n,) numbered 0 .. G-1. Intervals draw groups
    and networks alike. `progress` is called with (networks run, networks in all). Raises BundleError when the weights
    cannot be changed.
    """
    network, spec = bundle.network.read_bytes(), bundle.preprocessing
    steps = list_steps(network)
    drawn = {"resamples": resamples, "seed": seed}
    found = []
    for number, step in enumerate(steps):
        pairs = []
        for which in range(networks):
            changed = randomise(network, step.depth, np.random.default_rng((seed, which)))
            pairs.append(list(zip(heats, _run(changed, images, spec), strict=True)))
            progress(number * networks + which + 1, len(steps) * networks)
        found.append(RandomStep(step.name, step.depth, _summarise(pairs, group, **drawn)))
    partner = pair_unrelated(group, np.random.default_rng((seed, 3)))
    known = np.flatnonzero(partner >= 0).tolist()
    others = [[(heats[one], heats[int(partner[one])]) for one in known]]
    alone = np.unique(group[known], return_inverse=True)[1].astype(np.int64)
    return WeightCheck(
        n_images=len(images),
        n_networks=networks,
        steps=found,
        unrelated=_summarise(others, alone, **drawn),
        follows_weights=follows_weights(network),
    )


def _run(network: bytes, images: Sequence[NDArray[np.uint8]], spec: Preprocessing) -> list[Heat]:
    loaded = LiteRtNetwork(network)
    with ThreadPoolExecutor(count_cores()) as pool:
        return list(pool.map(lambda image: loaded.run(scale(image[None], spec)).heatmap[0], images))


def _summarise(
    pairs: Sequence[Sequence[tuple[Heat, Heat]]], group: NDArray[np.int64], *, resamples: int, seed: int
) -> Likeness:
    """Means over pairs of maps: a row a network, in each a pair an image."""
    spearman = np.array([[correlate(*pair) for pair in row] for row in pairs])
    ssim = np.array([[compare_structure(*pair) for pair in row] for row in pairs])
    empty = np.array([[second.max() <= 0 for _, second in row] for row in pairs])
    return Likeness(
        spearman=_estimate_mean(spearman, group, resamples, seed),
        spearman_size=_estimate_mean(np.abs(spearman), group, resamples, seed),
        ssim=_estimate_mean(ssim, group, resamples, seed),
        empty=float(empty.mean()) if empty.size else 0.0,
    )


def _estimate_mean(values: Floats, group: NDArray[np.int64], resamples: int, seed: int) -> Estimate:
    """The mean of the finite values (networks, images); networks and groups of images are both drawn."""
    if not np.isfinite(values).any():
        return Estimate(None, None, None, "no two maps that can be compared")
    rng = np.random.default_rng((seed, 1))
    present = np.isfinite(values).astype(np.float64)
    filled = np.where(present > 0, values, 0.0)
    drawn = []
    for weights in draw_weights(group, resamples, seed):
        chosen = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=len(weights))
        total, count = (np.sum((chosen @ part) * weights, axis=1) for part in (filled, present))
        drawn.append(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0))
    return estimate(float(np.nanmean(values)), np.concatenate(drawn))

"""What a model loses when a feature is shuffled among the images: permutation importance, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from melanoma.evaluation.metrics import Estimate, Floats, Ranking, draw_weights, estimate

SHUFFLES: Final = 5
METHOD: Final = (
    f"fall of the AUROC when the columns are shuffled together, mean of {SHUFFLES} shuffles (Breiman 2001);"
    " 95 % percentile bootstrap over groups, model and shuffles being given. Features that say the same can"
    " stand in for each other, so look at the families first."
)


def measure(
    score: Callable[[Floats], Floats],
    features: Floats,
    y_true: NDArray[np.int64],
    group: NDArray[np.int64],
    parts: Mapping[str, Sequence[int]],
    *,
    seed: int,
    resamples: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Estimate]:
    """The fall of the AUROC for each part, which is a list of columns.

    `score`: features (n, k) to values (n,) that rank the images; `y_true` 0/1 (n,) of both classes; `group`
    (n,) numbered 0 .. G-1. `progress` is called with (parts done, parts in all).
    """
    once = np.ones((1, len(y_true)))
    weights = np.concatenate([once, *draw_weights(group, resamples, seed)])
    whole = Ranking.of(y_true, score(features)).auroc(weights)
    falls = {}
    for number, (name, columns) in enumerate(parts.items(), start=1):
        rng = np.random.default_rng((seed, number))
        shuffled = np.concatenate([_shuffle(features, columns, rng) for _ in range(SHUFFLES)])
        scores = score(shuffled).reshape(SHUFFLES, -1)
        left = np.mean([Ranking.of(y_true, each).auroc(weights) for each in scores], axis=0)
        fall = np.round(whole - left, 12)  # or the last bits would be a fall
        falls[name] = estimate(float(fall[0]), fall[1:])
        if progress is not None:
            progress(number, len(parts))
    return falls


def _shuffle(features: Floats, columns: Sequence[int], rng: np.random.Generator) -> Floats:
    """A copy in which these columns come from other images, all of them from the same one."""
    changed = features.copy()
    changed[:, columns] = features[rng.permutation(len(features))][:, columns]
    return changed

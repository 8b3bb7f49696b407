"""AUROCs of trees that are judged on images of groups that they have not seen, with intervals."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import ExtraTreeClassifier

from melanoma.evaluation.metrics import Ranking, draw_weights
from melanoma.processes import count_cores

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FOLDS: Final = 5
TREES: Final = 50
METHOD: Final = (
    f"AUROC of out-of-fold probabilities of {TREES} extremely randomised trees (Geurts et al. 2006) in {FOLDS}"
    " folds that no group crosses. Classes have equal weight in each fold, so that the probabilities of"
    " different folds compare and are pooled. 95 % percentile bootstrap over groups, the trees being given:"
    " with some hundred images the interval is too narrow."
)


def assign_strata(label: Integers, group: Integers) -> Integers:
    """For each group the rarest label that it holds, (G,)."""
    rarity = np.argsort(np.argsort(np.bincount(label), kind="stable"))
    rank = np.full(int(group.max()) + 1, len(rarity))
    np.minimum.at(rank, group, rarity[label])
    return np.asarray(np.argsort(rarity)[rank], dtype=np.int64)


def deal_folds(label: Integers, group: Integers, seed: int) -> Integers:
    """A fold 0 .. FOLDS-1 for each image (n,): groups dealt whole, large ones first, each stratum in turn."""
    stratum, size = assign_strata(label, group), np.bincount(group)
    shuffled = np.random.default_rng(seed).permutation(len(size))
    order = shuffled[np.lexsort((-size[shuffled], stratum[shuffled]))]
    turn = np.r_[np.arange(FOLDS), np.arange(FOLDS)[::-1]]
    fold = np.empty(len(size), np.int64)
    fold[order] = turn[np.arange(len(size)) % len(turn)]
    return np.asarray(fold[group])


def score_out_of_fold(x: NDArray[np.float32], label: Integers, fold: Integers, seed: int) -> Floats:
    """Probability of each label for each image (n, k), from trees that saw no image of its fold."""
    scores = np.zeros((len(label), int(label.max()) + 1))

    def score(number: int) -> None:
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        seen, unseen, truth = x[train], x[test], label[train].astype(np.float64)
        weight = 1 / np.bincount(label[train])[label[train]]
        for tree_seed in np.random.default_rng((seed, number)).integers(0, 2**31, TREES):
            tree = ExtraTreeClassifier(min_samples_leaf=4, max_features=0.2, random_state=int(tree_seed))
            tree.fit(seen, truth, sample_weight=weight, check_input=False)
            told = tree.predict_proba(unseen, check_input=False)
            scores[np.ix_(test, tree.classes_.astype(np.int64))] += told / TREES

    # Single trees and not scikit-learn's forest: its threads overwrite the process's warning filters.
    with ThreadPoolExecutor(min(FOLDS, count_cores())) as pool:
        list(pool.map(score, range(FOLDS)))
    return np.round(scores, 9)  # or the last bits would rank the folds where a cue says nothing


def bootstrap(rankings: Sequence[Ranking], group: Integers, resamples: int, seed: int) -> Floats:
    """AUROCs (1 + resamples, rankings): on all images first, then under draws of groups with replacement."""
    weightings = chain([np.ones((1, len(group)))], draw_weights(group, resamples, seed))
    return np.concatenate(
        [np.column_stack([ranking.auroc(weights) for ranking in rankings]) for weights in weightings]
    )

import warnings

import numpy as np

from melanoma.audit.crossvalidation import FOLDS, bootstrap, deal_folds, score_out_of_fold
from melanoma.evaluation.metrics import Ranking


def images(n_groups=200, seed=0):
    """Labels 0 (many), 1 (few) and the groups of some images each."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_groups), rng.integers(1, 6, n_groups))
    return (rng.random(len(group)) < 0.1).astype(np.int64), group


def test_no_group_crosses_a_fold_and_labels_spread_evenly():
    label, group = images()
    fold = deal_folds(label, group, seed=1)
    assert all(len(np.unique(fold[group == number])) == 1 for number in np.unique(group))
    for share in (np.bincount(fold), np.bincount(fold[label == 1], minlength=FOLDS)):
        assert len(share) == FOLDS
        assert share.max() < 1.6 * share.min()


def test_other_seed_other_folds():
    label, group = images()
    assert np.array_equal(deal_folds(label, group, 1), deal_folds(label, group, 1))
    assert not np.array_equal(deal_folds(label, group, 1), deal_folds(label, group, 2))


def test_scores_are_probabilities_and_leave_the_warning_filters_alone():
    label, group = images(60)
    x = np.random.default_rng(0).normal(size=(len(label), 3)).astype(np.float32)
    before = list(warnings.filters)
    scores = score_out_of_fold(x, label, deal_folds(label, group, 0), 0)
    assert warnings.filters == before
    assert np.allclose(scores.sum(axis=1), 1)


def test_score_of_an_image_does_not_come_from_its_own_fold():
    label, group = images(60)
    fold = deal_folds(label, group, 0)
    x = np.random.default_rng(0).normal(size=(len(label), 3)).astype(np.float32)
    flipped = np.where(fold == 2, 1 - label, label)
    scores, other = (score_out_of_fold(x, truth, fold, 0) for truth in (label, flipped))
    assert np.array_equal(scores[fold == 2], other[fold == 2])
    assert not np.array_equal(scores[fold != 2], other[fold != 2])


def test_copies_of_a_group_widen_nothing():
    label, group = np.arange(100) % 2, np.arange(100)
    score = label + np.random.default_rng(0).normal(0, 1.5, 100)
    once = bootstrap([Ranking.of(label, score)], group, 300, 0)
    many = [np.repeat(a, 5) for a in (label, score, group)]
    copied = bootstrap([Ranking.of(many[0], many[1])], many[2], 300, 0)
    assert np.allclose(copied, once)
    assert np.ptp(once) > 0.1

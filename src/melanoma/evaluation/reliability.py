"""How well predicted probabilities fit the labels: Brier score, ECE, calibration intercept and slope."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from melanoma.evaluation.metrics import Estimate, Floats, Outcomes, estimate_figures
from melanoma.inference.calibration import fit_calibration, fit_logistic, sigmoid

Integers = NDArray[np.int64]

FOLDS: Final = 10
_NORMAL: Final = 1.959964  # for 95 %


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibration judged on the images at their own prevalence.

    `brier`, `ece` as in `metrics.estimate_figures`; `intercept` in log odds, with the slope held at 1 (0 is right,
    above 0 the probabilities are too low); `slope` (1 is right, below 1 they are too extreme).
    """

    brier: Estimate
    ece: Estimate
    intercept: Estimate
    slope: Estimate


def judge_fit(
    log_odds: Floats, y_true: Integers, group: Integers, *, resamples: int = 1000, seed: int = 0
) -> Fit:
    """How well predicted log odds (n,) fit the labels; the intervals of the last two are cluster-robust.

    `y_true` 0/1 (n,), both of them there; `group` (n,) numbered 0 .. G-1, at least two.

    Cox 1958, "Two further applications of a model for binary regression"; Van Calster et al. 2019, "Calibration: the
    Achilles heel of predictive analytics"; Liang & Zeger 1986 for the variance.
    """
    y_prob = sigmoid(log_odds)
    every = np.ones(len(y_prob), dtype=np.bool_)
    outcomes = Outcomes(y_true, y_prob, y_prob >= 0.5, every, group)
    figures = estimate_figures(outcomes, resamples=resamples, seed=seed)
    return Fit(
        figures["brier"],
        figures["ece"],
        _find_intercept(log_odds, y_true, group),
        _find_slope(log_odds, y_true, group),
    )


def cross_fit(logit: Floats, y_true: Integers, group: Integers, seed: int) -> Floats:
    """Log odds (n,) of each image by Platt scaling fitted on the images of other groups, in 10 folds.

    Arguments as for `judge_fit`. Each class must stand in 10 groups; CalibrationError when a fold lacks one.
    """
    log_odds, fold = np.empty(len(logit)), _deal_folds(y_true, group, seed)
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        fitted = fit_calibration(logit[train], y_true[train])
        log_odds[test] = fitted.slope * logit[test] + fitted.intercept
    return log_odds


def _deal_folds(y_true: Integers, group: Integers, seed: int) -> Integers:
    """A fold for each image (n,): groups in the order of their share of melanomas, so that none lacks a class."""
    share = np.bincount(group, weights=y_true) / np.bincount(group)
    shuffled = np.random.default_rng(seed).permutation(len(share))
    fold = np.empty(len(share), dtype=np.int64)
    fold[shuffled[np.argsort(share[shuffled], kind="stable")]] = np.arange(len(share)) % FOLDS
    return np.asarray(fold[group])


def _find_intercept(log_odds: Floats, y_true: Integers, group: Integers) -> Estimate:
    reach = float(np.max(np.abs(log_odds))) + 50
    value = float(brentq(lambda shift: np.sum(sigmoid(log_odds + shift) - y_true), -reach, reach))
    return _add_robust_interval(value, np.ones((len(log_odds), 1)), y_true - sigmoid(log_odds + value), group)


def _find_slope(log_odds: Floats, y_true: Integers, group: Integers) -> Estimate:
    melanoma = y_true == 1
    if log_odds.min() == log_odds.max():
        return Estimate(None, None, None, "the model says the same of every image")
    if log_odds[melanoma].min() >= log_odds[~melanoma].max():
        return Estimate(None, None, None, "the model separates the classes")
    slope, intercept = fit_logistic(log_odds, y_true.astype(np.float64))
    design = np.stack([log_odds, np.ones_like(log_odds)], axis=1)
    return _add_robust_interval(slope, design, y_true - sigmoid(slope * log_odds + intercept), group)


def _add_robust_interval(value: float, design: Floats, residual: Floats, group: Integers) -> Estimate:
    """The interval of a logistic regression's first coefficient; `design` (n, k), `residual` (n,) label - y_prob."""
    spread = np.abs(residual) * (1 - np.abs(residual))  # y_prob * (1 - y_prob), whatever the label
    inverse = np.linalg.pinv(design.T @ (design * spread[:, None]))
    scores = np.zeros((int(group.max()) + 1, design.shape[1]))
    np.add.at(scores, group, design * residual[:, None])
    correction = len(scores) / (len(scores) - 1)
    variance = (inverse @ (scores.T @ scores) @ inverse)[0, 0] * correction
    reach = _NORMAL * math.sqrt(variance)
    return Estimate(value, value - reach, value + reach)

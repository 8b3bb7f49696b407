"""What docs/how-to/calibrate.md says of intervals and of calibrations, from drawn scores whose truth is known.

    python benchmarks/calibration_simulation.py

Prints the coverage of intervals of the sensitivity to expect, then the table of calibrations.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from melanoma.evaluation.threshold import expect_sensitivity
from melanoma.inference.calibration import fit_calibration, sigmoid
from melanoma.inference.decision import OperatingPoint, fit_operating_point

Floats = NDArray[np.float64]
Line = tuple[float, float]

TARGET, DRAWS, RESAMPLES = 0.95, 400, 200
SPREAD, SHARE = 2.5, 0.25  # standard deviation of the logits; share of melanomas


def cover_sensitivity(melanomas: int, rng: np.random.Generator) -> dict[str, tuple[float, float, float]]:
    """For each interval: how often the true value lies below it, above it, and the interval's mean width."""
    inside: dict[str, list[tuple[bool, bool, float]]] = {}
    for _ in range(DRAWS):
        score = rng.normal(size=melanomas)
        y_prob = norm.cdf(score)
        point = choose(y_prob)
        truth = 1 - point.threshold
        expected = expect_sensitivity(point, melanomas)
        intervals = {"beta": (expected.low or 0.0, expected.high or 1.0)} | bootstrap(y_prob, rng)
        for name, (low, high) in intervals.items():
            inside.setdefault(name, []).append((truth < low, truth > high, high - low))
    return {name: tuple(np.mean(found, axis=0)) for name, found in inside.items()}


def choose(y_prob: Floats) -> OperatingPoint:
    """The operating point on melanomas of these probabilities; one other image is there for form's sake."""
    y_true = np.r_[np.ones(len(y_prob), np.int64), 0]
    return fit_operating_point(np.r_[y_prob, 0.0], y_true, TARGET)


def bootstrap(y_prob: Floats, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Intervals by choosing the threshold on a draw and judging it on the images left out, or on all."""
    left_out, every = [], []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(y_prob), size=len(y_prob))
        threshold = choose(y_prob[drawn]).threshold
        rest = np.delete(y_prob, drawn)
        if len(rest):
            left_out.append((rest >= threshold).mean())
        every.append((y_prob >= threshold).mean())
    return {
        name: (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
        for name, values in (("bootstrap, left out", left_out), ("bootstrap, all", every))
    }


def fit_pulled(logit: Floats, y_true: NDArray[np.int64], spread: float) -> Line:
    """Slope and intercept, the slope with a normal prior around 1; a spread of nearly 0 moves the intercept only."""
    x = np.column_stack([logit, np.ones_like(logit)])
    line, prior, precision = np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.diag([spread**-2, 1e-9])

    def lose(at: Floats) -> float:
        values, pull = x @ at, at - prior
        return float(np.sum(np.logaddexp(0, values) - y_true * values) + pull @ precision @ pull / 2)

    for _ in range(60):
        told = sigmoid(x @ line)
        slope = x.T @ (told - y_true) + precision @ (line - prior)
        step = np.linalg.solve(x.T @ (x * (told * (1 - told))[:, None]) + precision, slope)
        while lose(line - step) > lose(line) and np.abs(step).max() > 1e-9:
            step = step / 2
        line = line - step
    return float(line[0]), float(line[1])


def fit_platt(logit: Floats, y_true: NDArray[np.int64]) -> Line:
    """What `melanoma calibrate` fits."""
    fitted = fit_calibration(logit, y_true)
    return fitted.slope, fitted.intercept


def find_intercept(slope: float, logit: Floats) -> float:
    """The intercept at which SHARE of the images are melanoma."""
    low, high = -20.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(middle + slope * logit).mean() < SHARE else (low, middle)
    return low


def lose_information(slope: float, images: int, rng: np.random.Generator) -> dict[str, float]:
    """Mean Kullback-Leibler divergence of each calibration from the truth, thousandths of a nat an image."""
    fits: dict[str, Callable[[Floats, NDArray[np.int64]], Line]] = {
        "Platt": fit_platt,
        "intercept only": lambda logit, y_true: fit_pulled(logit, y_true, 1e-4),
        "pulled slope": lambda logit, y_true: fit_pulled(logit, y_true, 0.5),
    }
    new = rng.normal(0, SPREAD, 20_000)
    intercept = find_intercept(slope, new)
    truth = sigmoid(intercept + slope * new)
    lost: dict[str, list[float]] = {name: [] for name in fits}
    while len(lost["Platt"]) < DRAWS:
        logit = rng.normal(0, SPREAD, images)
        y_true = (rng.random(images) < sigmoid(intercept + slope * logit)).astype(np.int64)
        if y_true.sum() < min(10, images // 8):
            continue
        for name, fit in fits.items():
            a, b = fit(logit, y_true)
            told = np.clip(sigmoid(b + a * new), 1e-12, 1 - 1e-12)
            gap = truth * np.log(truth / told) + (1 - truth) * np.log((1 - truth) / (1 - told))
            lost[name].append(float(gap.mean()))
    return {name: 1000 * float(np.mean(values)) for name, values in lost.items()}


def main() -> None:
    """Print both."""
    rng = np.random.default_rng(0)
    for melanomas in (15, 43, 200):
        for name, (below, above, width) in cover_sensitivity(melanomas, rng).items():
            print(f"{melanomas} melanomas, {name}: below {below:.3f}, above {above:.3f}, width {width:.3f}")
    for images in (40, 100, 400):
        for slope in (0.1, 0.3, 0.6, 1.0, 1.5):
            lost = lose_information(slope, images, rng)
            figures = ", ".join(f"{name} {value:.1f}" for name, value in lost.items())
            print(f"{round(images * SHARE)} melanomas, true slope {slope}: {figures}", flush=True)


if __name__ == "__main__":
    main()

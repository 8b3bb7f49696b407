"""The traditional method: features of the ABCD rule and gradient-boosted trees, to set the networks against."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from melanoma.config import EvaluationConfig
from melanoma.data.manifest import Manifest
from melanoma.data.splits import Splits
from melanoma.errors import SplitError
from melanoma.evaluation import importance
from melanoma.evaluation.abcd.features import FAMILIES, NAMES
from melanoma.evaluation.metrics import Estimate, Floats
from melanoma.inference.calibration import Calibration, fit_calibration, sigmoid
from melanoma.inference.decision import OperatingPoint, fit_operating_point

FITTED_ON: Final = ("train", "val", "calibration")
LEAVES: Final = (8, 16, 32, 64)
MOST_TREES: Final = 600
RESAMPLES: Final = 1000  # of the importances

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Of scikit-learn's HistGradientBoostingClassifier.

    `max_leaf_nodes` and `trees` are chosen on the validation images; the rest was fixed beforehand.
    """

    max_leaf_nodes: int
    trees: int
    learning_rate: float = 0.05
    min_samples_leaf: int = 20
    l2_regularization: float = 1.0
    max_features: float = 0.3


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried, and the log loss on the validation images that it came to."""

    hyperparameters: Hyperparameters
    val_log_loss: float


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """A fitted baseline and what it says.

    `trials`: the best first. `counts`: a split, how many `melanoma, other`, of them `without_features` (no
    lesion was found, or no skin around it) and `unreadable`. `families`, `features`: importance by name, on the
    validation images. `y_prob` float (n,), a row of the manifest, calibrated; NaN where the file is unreadable.
    """

    trials: list[Trial]
    counts: dict[str, dict[str, int]]
    calibration: Calibration
    operating_point: OperatingPoint
    families: dict[str, Estimate]
    features: dict[str, Estimate]
    y_prob: Floats

    def to_dict(self) -> dict[str, Any]:
        """Everything but `y_prob`, as plain JSON types."""
        parts = asdict(replace(self, y_prob=np.zeros(0)))
        del parts["y_prob"]
        return parts


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The readable images of one split: features (n, k), truth 0/1 (n,), group (n,) numbered 0 .. G-1."""

    features: Floats
    y_true: NDArray[np.int64]
    group: NDArray[np.int64]


def fit(
    manifest: Manifest, splits: Splits, table: pd.DataFrame, *, seed: int, progress: Progress | None = None
) -> Baseline:
    """Train on train, choose on val, calibrate and set the threshold on calibration; test is only scored.

    `table`: features a row of the manifest, see `abcd.table`. An image without a lesion has no features and is
    judged all the same; an unreadable one is left out. The same for the same seed. `progress` is called with a
    stage, the number done and of all. Raises SplitError when a split that is needed lacks a class.
    """
    # one thread: the same trees on any number of cores, and no waiting for a core that is busy
    with threadpool_limits(1, user_api="openmp"):
        return _fit(manifest, splits, table, seed, progress or (lambda *_: None))


def check(manifest: Manifest, splits: Splits) -> None:
    """Raise SplitError when train, val or calibration lacks a class."""
    for name in FITTED_ON:
        found = set(manifest.table.loc[splits.table["split"] == name, "y_true"])
        for label, meaning in ((1, "melanoma"), (0, "other")):
            if label not in found:
                raise SplitError(f"the {name} split holds no image of class {meaning}; give more images")


def _fit(manifest: Manifest, splits: Splits, table: pd.DataFrame, seed: int, tell: Progress) -> Baseline:
    features = table[list(NAMES)].to_numpy(np.float64)
    readable = (table["error"] == "").to_numpy()
    parts = {name: _take(name, manifest, splits, features, readable) for name in FITTED_ON}
    calibrating = parts["calibration"]
    trials = _choose(parts["train"], parts["val"], seed, tell)
    model = _grow(trials[0].hyperparameters, parts["train"], seed)
    calibration = fit_calibration(model.decision_function(calibrating.features), calibrating.y_true)
    y_prob = np.full(len(features), np.nan)
    y_prob[readable] = calibration.transform(model.decision_function(features[readable]))
    families, single = _explain(model, parts["val"], seed, tell)
    return Baseline(
        trials=trials,
        counts=_count(manifest, splits, table),
        calibration=calibration,
        operating_point=fit_operating_point(
            calibration.transform(model.decision_function(calibrating.features)),
            calibrating.y_true,
            EvaluationConfig().target_sensitivity,
        ),
        families=families,
        features=single,
        y_prob=y_prob,
    )


def _take(
    name: str, manifest: Manifest, splits: Splits, features: Floats, readable: NDArray[np.bool_]
) -> _Part:
    rows = (splits.table["split"] == name).to_numpy() & readable
    y_true = manifest.table["y_true"].to_numpy(np.int64)[rows]
    if len(np.unique(y_true)) < 2:
        raise SplitError(f"the {name} split holds no readable images of both classes; give more images")
    names = splits.table["group_id"][rows].to_numpy(dtype=str)
    return _Part(features[rows], y_true, np.unique(names, return_inverse=True)[1])


def _choose(train: _Part, val: _Part, seed: int, tell: Progress) -> list[Trial]:
    """For each number of leaves the number of trees with the lowest log loss on val; the best first."""
    trials = []
    for number, leaves in enumerate(LEAVES, start=1):
        tried = Hyperparameters(leaves, MOST_TREES)
        stages = _grow(tried, train, seed).staged_decision_function(val.features)
        losses = [log_loss(val.y_true, sigmoid(logit)) for logit in stages]
        best = int(np.argmin(losses))
        trials.append(Trial(replace(tried, trees=best + 1), float(losses[best])))
        tell("choosing on val", number, len(LEAVES))
    return sorted(trials, key=lambda trial: trial.val_log_loss)


def _grow(chosen: Hyperparameters, train: _Part, seed: int) -> HistGradientBoostingClassifier:
    """Boosted trees; a missing feature goes the way that fits best. Friedman 2001; Ke et al. 2017."""
    values = asdict(chosen)
    model = HistGradientBoostingClassifier(
        max_iter=values.pop("trees"), early_stopping=False, random_state=seed, **values
    )
    return model.fit(train.features, train.y_true)


def _explain(
    model: HistGradientBoostingClassifier, val: _Part, seed: int, tell: Progress
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Importance of the families and of the single features, the largest first."""
    place = {name: number for number, name in enumerate(NAMES)}
    parts = {family: [place[name] for name in names] for family, names in FAMILIES.items()}
    falls = importance.measure(
        model.decision_function,
        val.features,
        val.y_true,
        val.group,
        parts | {name: [number] for name, number in place.items()},
        seed=seed,
        resamples=RESAMPLES,
        progress=lambda done, total: tell("measuring importance", done, total),
    )
    ordered = sorted(falls.items(), key=lambda item: -(item[1].value or 0.0))
    families = {name: fall for name, fall in ordered if name in FAMILIES}
    return families, {name: fall for name, fall in ordered if name not in FAMILIES}


def _count(manifest: Manifest, splits: Splits, table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Images a split: by class, and those without features."""
    y_true = manifest.table["y_true"]
    facts = {
        "melanoma": y_true == 1,
        "other": y_true == 0,
        "without_features": table["problem"] != "",
        "unreadable": table["error"] != "",
    }
    names = sorted(splits.table["split"].unique())
    return {
        name: {what: int(mask[splits.table["split"] == name].sum()) for what, mask in facts.items()}
        for name in names
    }

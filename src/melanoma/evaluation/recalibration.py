"""A bundle's calibration and operating point, fitted anew on one's own images, and how sure they are.

Calibration is Platt scaling with smoothed targets, however few the images. Labels drawn from known calibrations
(10 to 100 melanomas, the true slope 0.1 to 1.5 of the old one) say why: a new intercept alone, or a slope that is
pulled towards the old one, gains little when the old slope happens to be right, and loses more when it is not, as
with another camera. The figures stand in docs/how-to/calibrate.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from melanoma.data.manifest import Manifest
from melanoma.data.threads import map_jobs
from melanoma.errors import BundleError, CalibrationError, ImageError, OutputError
from melanoma.evaluation.metrics import Estimate, Floats, Outcomes, estimate_figures
from melanoma.evaluation.reliability import Fit, cross_fit, judge_fit
from melanoma.evaluation.threshold import bound_threshold, count_effective, count_needed, expect_sensitivity
from melanoma.evaluation.utility import PREVALENCES, Projection, project
from melanoma.inference import bundle as bundles
from melanoma.inference import images
from melanoma.inference.calibration import Calibration, fit_calibration
from melanoma.inference.decision import OperatingPoint, fit_operating_point
from melanoma.inference.domain import Domain
from melanoma.inference.predictor import Predictor

Integers = NDArray[np.int64]

FEWEST: Final = 10  # groups of a class
FACT: Final = "recalibration"
MARGIN: Final = 0.03  # of sensitivity, for which the needed number of melanomas is told
_NAMED: Final = 5  # unreadable files


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """What a network says of the images of a manifest that can be read.

    `logit` (n,), `y_true` 0/1 (n,), `group` (n,) numbered 0 .. G-1; `unreadable`: path and reason of the others.
    `n_refused`: of those read, by the bundle's domain check; they count all the same.
    """

    logit: Floats
    y_true: Integers
    group: Integers
    unreadable: tuple[tuple[str, str], ...] = ()
    n_refused: int = 0


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A new calibration and operating point, and how sure they are.

    `calibration` stands at the stated prevalence, `operating_point.threshold` with it. `threshold`: where the
    threshold for the target sensitivity may lie, given so few melanomas; `sensitivity`: what to expect of new
    images at the one chosen; `specificity` and `auroc`: on these images. `fits`: the old calibration as it was, the
    old one re-based to the prevalence of these images, and the new one, fitted on other images than those it is
    judged on. `projections`: PPV and NPV from `sensitivity` and `specificity`.
    """

    calibration: Calibration
    operating_point: OperatingPoint
    threshold: Estimate
    sensitivity: Estimate
    specificity: Estimate
    auroc: Estimate
    fits: Mapping[str, Fit]
    projections: Sequence[Projection]
    n_melanoma_groups: int

    def to_dict(self) -> dict[str, Any]:
        """How sure it is, as plain JSON types; what the bundle holds elsewhere is left out."""
        plain = {
            name: getattr(self, name).to_dict()
            for name in ("threshold", "sensitivity", "specificity", "auroc")
        }
        plain["calibration"] = {name: asdict(fit) for name, fit in self.fits.items()}
        plain["projections"] = [projection.to_dict() for projection in self.projections]
        return {**plain, "n_melanoma_groups": self.n_melanoma_groups}


def check_folder(folder: Path, bundle: bundles.Bundle) -> None:
    """Raise OutputError unless `folder` may take the new bundle: new, empty, or an older one from the same bundle."""
    place, old = folder.resolve(), bundle.folder.resolve()
    if place == old or old in place.parents:
        raise OutputError(
            f"{folder} is the bundle that is to be calibrated, or lies in it; give another --output"
        )
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}; give another --output") from error
    if taken and not _is_older(folder, bundle):
        raise OutputError(f"{folder} holds something else; give --output a new folder")


def _is_older(folder: Path, bundle: bundles.Bundle) -> bool:
    """Whether all that a folder holds is a bundle that was calibrated from this one."""
    try:
        found = bundles.load(folder)
    except BundleError:
        return False
    names = {path.name for path in folder.iterdir()}
    ours = {bundles.DESCRIPTION, bundles.NETWORK} | ({bundles.DOMAIN} if found.domain else set())
    return found.facts.get(FACT, {}).get("parent") == bundle.digest and names == ours


def find_reuse(bundle: bundles.Bundle, manifest: Manifest) -> str:
    """A warning when these are the very images that the bundle was made from, else ''."""
    if manifest.digest == bundle.facts.get("manifest_digest"):
        return "the bundle was trained on these very images: expect worse of new ones than is said below"
    if manifest.digest == bundle.facts.get(FACT, {}).get("manifest_digest"):
        return "the bundle was calibrated on these very images before"
    return ""


def run_network(
    predictor: Predictor,
    manifest: Manifest,
    groups: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> Logits:
    """Run a bundle's network over labelled images; `groups`: one id a row, as for `evaluate.evaluate`.

    `progress` is called with (images done, images in all).
    """
    paths = [str(path) for path in manifest.table["path"]]

    domain = predictor.bundle.domain

    def run(path: str) -> tuple[float, str, bool]:
        try:
            image = images.load(path)
        except ImageError as error:
            return math.nan, str(error), False
        logit = float(predictor.run(image).logit[0])
        if not math.isfinite(logit):
            return math.nan, "the network gives no finite number", False
        return logit, "", domain is not None and bool(domain.refuse(image))

    answers = map_jobs(run, paths, progress)
    logit = np.array([answer[0] for answer in answers])
    read = np.isfinite(logit)
    return Logits(
        logit=logit[read],
        y_true=manifest.table["y_true"].to_numpy(dtype=np.int64)[read],
        group=np.unique(np.asarray(groups)[read], return_inverse=True)[1].astype(np.int64),
        unreadable=tuple((path, why) for path, (_, why, _) in zip(paths, answers, strict=True) if why),
        n_refused=sum(refused for _, _, refused in answers),
    )


def check_enough(y_true: Integers, group: ArrayLike) -> None:
    """Raise CalibrationError unless both classes have images of at least 10 groups. `y_true` 0/1 (n,), `group` (n,)."""
    for label, what in ((1, "melanoma"), (0, "other")):
        rows = y_true == label
        found = len(np.unique(np.asarray(group)[rows]))
        if found < FEWEST:
            raise CalibrationError(
                f"{int(rows.sum())} {what} images of {found} patients or lesions are too few to calibrate on;"
                f" give at least {FEWEST}, better hundreds"
            )


def recalibrate(
    old: Calibration,
    data: Logits,
    *,
    target_sensitivity: float = 0.95,
    prevalence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Recalibration:
    """Fit calibration and operating point, and say how sure they are.

    `prevalence` in (0, 1): that of the clinic where the images hold another share of melanomas; calibration and
    threshold are re-based to it together, so that it changes no decision. Intervals are of 95 %. Raises
    CalibrationError when there are too few images, or when they show the model to tell nothing.
    """
    check_enough(data.y_true, data.group)
    fitted = fit_calibration(data.logit, data.y_true)
    if fitted.slope <= 0:
        raise CalibrationError(
            "on these images melanomas score no higher than the others, which no calibration mends; check the labels"
        )
    calibration = fitted if prevalence is None else fitted.move(prevalence)
    y_prob = calibration.transform(data.logit)
    point = fit_operating_point(y_prob, data.y_true, target_sensitivity)
    every = np.ones(len(y_prob), dtype=np.bool_)
    outcomes = Outcomes(data.y_true, y_prob, y_prob >= point.threshold, every, data.group)
    figures = estimate_figures(outcomes, resamples=resamples, seed=seed)
    n_effective = count_effective(data.group[data.y_true == 1])
    sensitivity = expect_sensitivity(point, n_effective)
    stated = () if prevalence is None or prevalence in PREVALENCES else (prevalence,)
    return Recalibration(
        calibration=calibration,
        operating_point=point,
        threshold=bound_threshold(y_prob[data.y_true == 1], point, n_effective),
        sensitivity=sensitivity,
        specificity=figures["specificity"],
        auroc=figures["auroc"],
        fits=_compare_fits(old, fitted.prevalence, data, resamples, seed),
        projections=project(sensitivity, figures["specificity"], (*PREVALENCES, *stated)),
        n_melanoma_groups=len(np.unique(data.group[data.y_true == 1])),
    )


def _compare_fits(
    old: Calibration, prevalence: float, data: Logits, resamples: int, seed: int
) -> dict[str, Fit]:
    """The old calibration, the old one re-based, and the new one by cross-fitting."""
    moved = old.move(prevalence)
    log_odds = {
        "before": old.slope * data.logit + old.intercept,
        "rebased": moved.slope * data.logit + moved.intercept,
        "after": cross_fit(data.logit, data.y_true, data.group, seed),
    }
    return {
        name: judge_fit(values, data.y_true, data.group, resamples=resamples, seed=seed)
        for name, values in log_odds.items()
    }


def _name(bundle: bundles.Bundle, sources: Sequence[str]) -> str:
    """So that a comparison tells the old bundle from the new one."""
    return f"{bundle.name.partition(', calibrated on ')[0]}, calibrated on {', '.join(sources)}"


def save(
    result: Recalibration,
    bundle: bundles.Bundle,
    manifest: Manifest,
    data: Logits,
    folder: Path,
    *,
    domain: Domain | None = None,
) -> bundles.Bundle:
    """Write the new bundle: the old network, and where it was calibrated among its facts. Raises OutputError.

    `domain`: the check fitted on these images; without it the old one is kept.
    """
    sources = [source.name for source in manifest.sources]
    where = {
        "parent": bundle.digest,
        "sources": sources,
        "manifest_digest": manifest.digest,
        "n_melanoma": result.operating_point.n_melanoma,
        "n_other": result.operating_point.n_other,
        "n_groups": int(data.group.max()) + 1,
        "n_unreadable": len(data.unreadable),
        "prevalence_of_images": float(data.y_true.mean()),
        "n_domain": 0 if domain is None else domain.n,
    }
    facts = {
        name: value for name, value in bundle.facts.items() if name != "calibration_notice"
    }  # of the old one
    return bundles.save(
        folder,
        bundle.network,
        name=_name(bundle, sources),
        preprocessing=bundle.preprocessing,
        calibration=result.calibration,
        operating_point=result.operating_point,
        facts={**facts, FACT: {**where, **result.to_dict()}},
        domain=bundle.domain if domain is None else domain,
    )


def describe_unreadable(data: Logits) -> list[str]:
    """How many images were left out, and the first of them; empty when all could be read."""
    if not data.unreadable:
        return []
    count, every = len(data.unreadable), len(data.unreadable) + len(data.logit)
    lines = [f"{count:,} of {every:,} images cannot be read and are left out"]
    lines += [f"{path}: {why}" for path, why in data.unreadable[:_NAMED]]
    return lines + [f"and {count - _NAMED:,} more"] * (count > _NAMED)


def describe_before(bundle: bundles.Bundle, data: Logits) -> str:
    """What the old bundle's threshold gives on these images, those judged too that its domain check refuses."""
    threshold = bundle.operating_point.threshold
    referred = bundle.calibration.transform(data.logit) >= threshold
    found, spared = referred[data.y_true == 1].mean(), 1 - referred[data.y_true == 0].mean()
    judged = ", the images that it refuses judged like the others" if data.n_refused else ""
    return (
        f"before: threshold {threshold:.3f} at a prevalence of {bundle.calibration.prevalence:.3g};"
        f" here sensitivity {found:.3f}, specificity {spared:.3f}{judged}"
    )


def describe_domain(domain: Domain | None, bundle: bundles.Bundle, data: Logits) -> str:
    """What became of the domain check, given the one fitted on these images, and how many the old one refuses."""
    if domain is not None:
        return f"domain check: fitted on {domain.n:,} of these images; it takes no others into account"
    if bundle.domain is None:
        return "domain check: the bundle has none"
    refused = f"{data.n_refused:,} of these {len(data.logit):,} images"
    return f"domain check: that of the bundle is kept; it refuses {refused}"


def describe(result: Recalibration) -> list[str]:
    """The figures with their intervals, a line each, and in words what they are worth."""
    point = result.operating_point
    lines = [
        f"threshold: {result.threshold}, on y_prob at a prevalence of {result.calibration.prevalence:.3g}",
        f"sensitivity: {result.sensitivity} to expect; {point.sensitivity:.3f} here, where the threshold was chosen",
        f"specificity: {result.specificity}",
        f"auroc: {result.auroc}",
    ]
    for figure in ("brier", "ece", "intercept", "slope"):
        lines += [f"{figure} {name}: {getattr(fit, figure)}" for name, fit in result.fits.items()]
    for projection in result.projections:
        share = f"at a prevalence of {100 * projection.prevalence:.3g} %"
        lines.append(f"ppv and npv {share}: {projection.ppv}, {projection.npv}")
    found, alarms = result.sensitivity.value or 0.0, 1 - (result.specificity.value or 0.0)
    lines.append(
        f"Of 100 images with melanoma it refers about {100 * found:.0f}, of 100 without about {100 * alarms:.0f}."
    )
    return [*lines, _describe_certainty(result)]


def _describe_certainty(result: Recalibration) -> str:
    n, groups, found = result.operating_point.n_melanoma, result.n_melanoma_groups, result.sensitivity
    low, high = found.low or 0.0, found.high or 1.0
    basis = f"{n} melanomas" if n == groups else f"{n} images of {groups} patients or lesions with melanoma"
    line = f"With {basis} the sensitivity at this threshold is known to within {low:.2f} to {high:.2f}"
    if (high - low) / 2 <= MARGIN:
        return f"{line}."
    needed = count_needed(result.operating_point.target_sensitivity, MARGIN)
    return f"{line}; some {needed} independent ones would be needed for +-{MARGIN}."

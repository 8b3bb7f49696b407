"""One whole training run, start to end; killed anywhere, it goes on to the same result."""

import contextlib
import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock, Timeout

from melanoma import run_images
from melanoma.config import Recipe, dump_recipe, load_recipe
from melanoma.data.synthetic import NOTICE, is_drawn
from melanoma.errors import BundleError, OutputError, RunError
from melanoma.evaluation import card, card_results, looks, report
from melanoma.evaluation.evaluate import EvaluationReport, evaluate
from melanoma.evaluation.plain_words import Origin
from melanoma.evaluation.recalibration import FEWEST
from melanoma.files import write_text
from melanoma.inference import bundle as bundles
from melanoma.inference import results
from melanoma.inference.predictor import Predictor
from melanoma.listener import Listener
from melanoma.run_diary import TrackedProgress, note_end, note_epochs, note_start
from melanoma.run_images import Pixels, Request, RunImages
from melanoma.tracking import Tracker, default_tracking_uri
from melanoma.training import fit as fitting
from melanoma.training import models
from melanoma.training.draws import count_draws
from melanoma.training.export import Quantize, export_bundle
from melanoma.training.pipeline import ImageSet
from melanoma.training.saved_model import write_saved_model
from melanoma.training.step import Row
from melanoma.training.weights import find_ancestor, locate_weights, name_weights
from melanoma.version import __version__

if TYPE_CHECKING:
    import keras

JUDGED = ("train", "val", "test")
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
LIBRARIES = ("tensorflow-cpu", "tensorflow", "keras", "numpy", "pillow", "ai-edge-litert")


@dataclass(frozen=True)
class Result:
    """What came out: `reports` for train, val and test, and where the bundle and the page lie.

    `notice`: what must be said beside the figures, if anything.
    """

    folder: Path
    bundle: Path
    page: Path
    reports: list[EvaluationReport]
    notice: str | None


def start(
    request: Request,
    recipe: Recipe,
    folder: Path,
    listener: Listener | None = None,
    fit: fitting.Fit = fitting.fit,
) -> Result:
    """Make the run folder and run to the end; `fit` trains, in this process and alone unless given.

    Images and splits are found and decoded before anything is written, so a request that cannot be met
    leaves nothing behind. Raises RunError when the folder holds something already.
    """
    listener = listener or Listener()
    default_tracking_uri(Path.cwd())  # refuses what cannot be an address
    check_free(folder)
    recipe = recipe.model_copy(update={"model": locate_weights(recipe.model)})
    models.try_out(recipe.model, recipe.input)
    if recipe.export.quantize == "int8":
        models.check_int8(recipe.model.name)
    images = run_images.find(request, recipe, listener)
    request = replace(
        request,
        sources=[f"{source.name}={source.path}" for source in images.manifest.sources],
        notice=request.notice or " ".join(_find_notices(images).values()) or None,
    )
    with _locked(folder), run_images.open_pixels(images, request, recipe, listener) as pixels:
        check_free(folder)
        run_images.save(images, folder)
        run_images.list_left_out(images, pixels, folder, listener)
        write_text(folder / "recipe.yaml", dump_recipe(recipe))
        write_text(folder / "run.json", json.dumps(asdict(request), indent=2) + "\n")
        return _Run(folder, request, recipe, images, listener, fit=fit).execute(pixels)


def resume(folder: Path, listener: Listener | None = None, fit: fitting.Fit = fitting.fit) -> Result:
    """Go on where a run was stopped or killed. Raises RunError when there is none, or its images changed."""
    listener = listener or Listener()
    request, recipe = load(folder)
    with _locked(folder):
        images = run_images.load(folder, request)
        with run_images.open_pixels(images, request, recipe, listener) as pixels:
            return _Run(folder, request, recipe, images, listener, fit=fit).execute(pixels)


def load(folder: Path) -> tuple[Request, Recipe]:
    """What a run folder was asked for. Raises RunError when it is no run folder."""
    request = run_images.read_request(folder)
    if not (folder / "recipe.yaml").is_file():
        raise RunError(f"{folder} has lost its recipe.yaml; start a new run")
    return request, load_recipe(str(folder / "recipe.yaml"))


def load_model(folder: Path) -> "keras.Model":
    """The trained Keras model of a finished run. Raises RunError when there is none yet."""
    import keras

    path = folder / "model.keras"
    if not path.is_file():
        raise RunError(f"{folder} has no model.keras yet; finish it with: melanoma train --resume {folder}")
    return keras.models.load_model(path)


def export(
    folder: Path, target: Path, quantize: Quantize, listener: Listener | None = None
) -> bundles.Bundle:
    """Another bundle of a finished run, calibrated on the run's own calibration images."""
    listener = listener or Listener()
    request, recipe = load(folder)
    recipe = recipe.model_copy(update={"export": recipe.export.model_copy(update={"quantize": quantize})})
    model, images = load_model(folder), run_images.load(folder, request)
    with run_images.open_pixels(images, request, recipe, listener) as pixels:
        facts = _describe(request, recipe, images)
        domain = run_images.fit_domain_check(images, listener)
        bundle = export_bundle(model, pixels.sets["calibration"], recipe, target, facts, domain=domain)
    _say_if_blind(bundle, listener)
    return bundle


def export_saved_model(folder: Path, target: Path) -> None:
    """A finished run's network as a SavedModel, with the calibration of the run's own bundle."""
    recipe = load(folder)[1]
    write_saved_model(load_model(folder), bundles.load(folder / "bundle"), target, recipe.export.views)


class _Run:
    """The steps of one run. Each finds what an earlier try has left and goes on from there."""

    def __init__(
        self,
        folder: Path,
        request: Request,
        recipe: Recipe,
        images: RunImages,
        listener: Listener,
        *,
        fit: fitting.Fit,
    ) -> None:
        self.folder, self.request, self.recipe = folder, request, recipe
        self.images, self.listener, self._fit = images, listener, fit
        self.tracker = Tracker(folder, run_name=folder.name, say=listener.say)

    def execute(self, pixels: Pixels) -> Result:
        """All steps; however they end, the tracker is told."""
        try:
            result = self._execute(pixels)
        except BaseException as error:
            self.tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        self.tracker.finish("FINISHED")
        return result

    def _execute(self, pixels: Pixels) -> Result:
        note_start(self.tracker, self.folder, self.recipe, self.request, self.images)
        model, history = self._train(pixels.sets["train"], pixels.sets["val"])
        bundle = self._export(model, pixels.sets["calibration"])
        _say_if_blind(bundle, self.listener)
        reports = self._evaluate(bundle, history)
        note_end(self.tracker, self.folder, reports, history, self.request.register)
        page = self.folder / "evaluation" / "report.html"
        return Result(self.folder, bundle.folder, page, reports, self.request.notice)

    def _train(self, train: ImageSet, val: ImageSet) -> tuple["keras.Model", list[Row]]:
        fitting.make_deterministic(self.request.seed)
        model, state = self._fit(
            partial(models.create_model, self.recipe.model, self.recipe.input),
            train,
            val,
            self.recipe,
            seed=self.request.seed,
            folder=self.folder / "checkpoints",
            progress=TrackedProgress(
                self.listener, self.tracker, self.folder, count_draws(len(train), self.recipe.training)
            ),
        )
        note_epochs(self.tracker, state.history)
        temporary = self.folder / ".model.keras"
        model.save(temporary)
        temporary.replace(self.folder / "model.keras")
        write_text(self.folder / "history.csv", pd.DataFrame(state.history).to_csv(index=False))
        return model, state.history

    def _export(self, model: "keras.Model", calibration: ImageSet) -> bundles.Bundle:
        """The bundle; one that is there already is whole and stays, so that its digest does too."""
        target = self.folder / "bundle"
        with contextlib.suppress(BundleError):  # not there yet, or damaged since
            return bundles.load(target)
        facts = _describe(self.request, self.recipe, self.images)
        domain = run_images.fit_domain_check(self.images, self.listener)
        return export_bundle(model, calibration, self.recipe, target, facts, domain=domain)

    def _evaluate(self, bundle: bundles.Bundle, history: list[Row]) -> list[EvaluationReport]:
        predictor = Predictor(bundle)
        judged = [split for split in JUDGED if split in self.images.counts]
        reports = [self._judge(predictor, split) for split in judged]
        report.save(
            reports,
            self.folder / "evaluation",
            title=_title(self.recipe, self.request),
            facts={
                "recipe": self.recipe.name,
                "bundle": bundle.digest,
                "images": self.images.manifest.digest,
                "splits": self.images.splits.digest,
            },
            history=history,
            notice=self.request.notice,
            looks=self._note_look(bundle, reports[-1]),
            origin=Origin(
                [source.name for source in self.images.manifest.sources],
                reports[-1].n if reports[-1].name == "test" else 0,
            ),
        )
        made = card.gather(bundle, [self.folder / "evaluation"])
        write_text(bundle.folder / results.FILE, card_results.render(made))
        return reports

    def _note_look(self, bundle: bundles.Bundle, last: EvaluationReport) -> looks.LookCount | None:
        """The run's own look at its test images is the first one."""
        if last.name != "test":
            return None
        look = looks.look_now(
            "melanoma train",
            bundle_digest=bundle.digest,
            manifest_digest=last.manifest_digest,
            data=self.request.sources,
            splits=["test"],
            n=last.n,
        )
        return looks.record(self.folder, look, once=True)

    def _judge(self, predictor: Predictor, split: str) -> EvaluationReport:
        rows = self.images.rows_of(split)
        return evaluate(
            predictor,
            self.images.manifest.subset(rows),
            name=split,
            resamples=self.recipe.evaluation.resamples,
            seed=self.request.seed,
            groups=self.images.splits.table["group_id"][rows].tolist(),
            calibrated_to=predictor.bundle.calibration.prevalence,
            progress=self.listener.stage(f"judging {split} images"),
        )


def _say_if_blind(bundle: bundles.Bundle, listener: Listener) -> None:
    if bundle.calibration.slope == 0:
        listener.say(
            "on the calibration images melanomas score no higher than the others: this bundle refers every image; "
            "train on more images, or longer"
        )


def _title(recipe: Recipe, request: Request) -> str:
    members = ", ".join(Path(member).name for member in request.average)
    return f"{recipe.name}, mean of {members}" if members else f"{recipe.name}, seed {request.seed}"


def _describe(request: Request, recipe: Recipe, images: RunImages) -> dict[str, Any]:
    """The facts of a bundle; what it began with was trained on its sources too."""
    own, began_with = [source.name for source in images.manifest.sources], find_ancestor(recipe.model.weights)
    inherited = {"notice": began_with["notice"]} if began_with and "notice" in began_with else {}
    return {
        "melanoma_version": __version__,
        "recipe": recipe.model_copy(update={"model": name_weights(recipe.model)}).model_dump(),
        "seed": request.seed,
        "sources": list(dict.fromkeys([*own, *(began_with or {}).get("sources", [])])),
        "manifest_digest": images.manifest.digest,
        "splits_digest": images.splits.digest,
        "images": images.counts,
        "versions": {name: found for name in LIBRARIES if (found := _version(name))},
        "licence": "Apache-2.0 (code); the weights follow the licences of their training images",
        "use": "Research only; not a medical device.",
        **({"began_with": began_with["digest"]} if began_with else {}),
        **({"average_of": [Path(member).name for member in request.average]} if request.average else {}),
        **(inherited | _find_notices(images)),
    }


def _find_notices(images: RunImages) -> dict[str, str]:
    """What must be said of figures from these images, and of a calibration on them, by the names of `Bundle.notice`."""
    drawn = any(is_drawn(source.root) for source in images.manifest.sources)
    said = {"notice": NOTICE} if drawn else {}
    rows = images.rows_of("calibration")
    groups = images.splits.table["group_id"][rows].groupby(images.manifest.table["y_true"][rows]).nunique()
    n_melanoma, n_other = (int(groups.get(label, 0)) for label in (1, 0))
    if min(n_melanoma, n_other) < FEWEST:
        said["calibration_notice"] = (
            f"Calibrated on {n_melanoma} melanomas and {n_other} other lesions, where {FEWEST} of each are the least:"
            " its probabilities and its threshold mean little."
        )
    return said


def check_free(folder: Path) -> None:
    """Raise RunError when the folder holds more than a start leaves that was killed before `run.json`."""
    early = {"recipe.yaml", "manifest.csv", "manifest.digest", "splits.csv", "left_out.csv"}
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; give another --run-dir")
    if folder.exists() and any(p.name not in early and not p.name.startswith(".") for p in folder.iterdir()):
        resumable = (folder / "run.json").exists()
        advice = f", or go on with --resume {folder}" if resumable else ""
        raise RunError(f"{folder} is not empty; give another --run-dir{advice}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process alone, and take it away again when no run came of it.

    Raises RunError when another process holds it, OutputError when it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            try:
                yield
            finally:
                if not (folder / "run.json").exists():
                    _remove(folder)
    except Timeout as error:
        raise RunError(f"{folder} is in use by another run; wait for it or give another --run-dir") from error
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        place = error.filename or folder
        raise OutputError(f"cannot write {place}: {error.strerror}; mend that and resume") from error


def _remove(folder: Path) -> None:
    """Take away a lock, and its folder if nothing else is in it."""
    with contextlib.suppress(OSError):
        (folder / ".lock").unlink()
        folder.rmdir()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ModuleNotFoundError:  # PackageNotFoundError is one
        return None

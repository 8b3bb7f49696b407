"""One whole training run, start to end; killed anywhere, it goes on to the same result."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from melanoma.config import ExportConfig, Recipe, dump_recipe, load_recipe
from melanoma.data import manifest as manifests
from melanoma.data import splits as splitting
from melanoma.errors import ManifestError, OutputError, RunError
from melanoma.evaluation import report
from melanoma.evaluation.evaluate import EvaluationReport, evaluate, write_text
from melanoma.inference import bundle as bundles
from melanoma.inference.predictor import Predictor
from melanoma.inference.preprocessing import Preprocessing
from melanoma.run_diary import Listener, TrackedProgress, note_end, note_epochs, note_start
from melanoma.tracking import Tracker
from melanoma.training import fit as fitting
from melanoma.training.cache import ImageCache, open_cache
from melanoma.training.export import Quantize, export_bundle
from melanoma.training.models import create_model
from melanoma.training.pipeline import ImageSet
from melanoma.version import __version__

if TYPE_CHECKING:
    import keras

SPLITS = ("train", "val", "test")
LIBRARIES = (
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "numpy",
    "pillow",
    "ai-edge-litert",
    "opencv-python-headless",
)


@dataclass(frozen=True)
class Request:
    """What a run is asked for besides its recipe; kept as `run.json`, so that it can be resumed.

    `limit`: train on so many images only, drawn by `seed`, classes and given splits in proportion; 0 is all.
    `notice`: a sentence that the report carries on top.
    """

    sources: list[str]
    seed: int = 1
    labels: dict[str, int] = field(default_factory=dict)
    groups: str | None = None
    splits: str | None = None
    strict: bool = False
    limit: int = 0
    register: bool = True
    notice: str | None = None


@dataclass(frozen=True)
class Result:
    """What came out: `reports` for train, val and test, and where the bundle and the page lie."""

    folder: Path
    bundle: Path
    page: Path
    reports: list[EvaluationReport]


def start(request: Request, recipe: Recipe, folder: Path, listener: Listener | None = None) -> Result:
    """Make the run folder and run to the end. Raises RunError when the folder holds something already."""
    if _is_taken(folder):
        raise RunError(f"{folder} is not empty; give another --run-dir, or go on with --resume {folder}")
    with _locked(folder):
        write_text(folder / "recipe.yaml", dump_recipe(recipe))
        write_text(folder / "run.json", json.dumps(asdict(request), indent=2) + "\n")
        return _Run(folder, request, recipe, listener or Listener()).execute()


def resume(folder: Path, listener: Listener | None = None) -> Result:
    """Go on where a run was stopped or killed. Raises RunError when there is none, or its images changed."""
    request, recipe = load(folder)
    with _locked(folder):
        return _Run(folder, request, recipe, listener or Listener()).execute()


def load(folder: Path) -> tuple[Request, Recipe]:
    """What a run folder was asked for. Raises RunError when it is no run folder."""
    try:
        request = Request(**json.loads((folder / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{folder} holds no run that could be resumed: {error}") from error
    return request, load_recipe(str(folder / "recipe.yaml"))


def load_model(folder: Path) -> "keras.Model":
    """The trained Keras model of a finished run. Raises RunError when there is none yet."""
    import keras

    path = folder / "model.keras"
    if not path.is_file():
        raise RunError(f"{folder} has no model.keras yet; finish it with: melanoma train --resume {folder}")
    return keras.models.load_model(path)


def load_images(folder: Path) -> tuple[manifests.Manifest, splitting.Splits]:
    """The images and splits of a run. Raises RunError when the images have changed since."""
    request, _ = load(folder)
    manifest = _limit(_load_manifest(request), request)
    if manifest.digest != (folder / "manifest.digest").read_text().strip():
        raise RunError(f"the images of {folder} have changed since it began; start a new run")
    return manifest, splitting.load(folder / "splits.csv", manifest)


def export(folder: Path, target: Path, quantize: Quantize) -> bundles.Bundle:
    """Another bundle of a finished run, calibrated on the run's own calibration images."""
    request, recipe = load(folder)
    recipe = recipe.model_copy(update={"export": ExportConfig(quantize=quantize)})
    run = _Run(folder, request, recipe, Listener())
    manifest, splits = load_images(folder)
    with run.open_cache(manifest) as cache:
        images = run.select(manifest, splits, cache)["calibration"]
        return export_bundle(load_model(folder), images, recipe, target, run.describe(manifest, splits))


class _Run:
    """The steps of one run. Each finds what an earlier try has left and goes on from there."""

    def __init__(self, folder: Path, request: Request, recipe: Recipe, listener: Listener) -> None:
        self.folder, self.request, self.recipe, self.listener = folder, request, recipe, listener
        self.spec = Preprocessing(**recipe.input.model_dump())
        self.tracker = Tracker(folder, run_name=folder.name, say=listener.say)

    def execute(self) -> Result:
        try:
            result = self._execute()
        except BaseException as error:
            self.tracker.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        self.tracker.finish("FINISHED")
        return result

    def _execute(self) -> Result:
        manifest, splits = self._prepare()
        with self.open_cache(manifest) as cache:
            sets = self.select(manifest, splits, cache)
            seed = self.request.seed
            note_start(
                self.tracker, self.folder, recipe=self.recipe, seed=seed, manifest=manifest, splits=splits
            )
            model, history = self._train(sets["train"], sets["val"])
            bundle = self._export(model, sets["calibration"], self.describe(manifest, splits))
        reports = self._evaluate(bundle, manifest, splits, history)
        note_end(self.tracker, self.folder, reports, history, self.request.register)
        return Result(self.folder, bundle.folder, self.folder / "evaluation" / "report.html", reports)

    def _prepare(self) -> tuple[manifests.Manifest, splitting.Splits]:
        """Manifest and splits: made at the first try, checked against the images at every later one."""
        if (self.folder / "splits.csv").exists():
            return load_images(self.folder)
        manifest = _load_manifest(self.request, self.listener.stage("reading the images"))
        for line in manifests.describe(manifest).splitlines():
            self.listener.say(line)
        if manifest.skipped and self.request.strict:
            path, reason = manifest.skipped[0]
            raise ManifestError(f"--strict: {len(manifest.skipped)} images left out, first {path}: {reason}")
        manifest = _limit(manifest, self.request)
        splits = self._split(manifest)
        manifest.save(self.folder / "manifest.csv")
        write_text(self.folder / "manifest.digest", manifest.digest + "\n")
        splitting.save(splits, self.folder / "splits.csv")
        return manifest, splits

    def _split(self, manifest: manifests.Manifest) -> splitting.Splits:
        if self.request.splits:
            return splitting.load(Path(self.request.splits), manifest)
        groups = splitting.load_groups(Path(self.request.groups)) if self.request.groups else None
        shares = self.recipe.splits.model_dump()
        return splitting.assign(manifest, **shares, seed=self.request.seed, groups=groups)

    def open_cache(self, manifest: manifests.Manifest) -> ImageCache:
        paths, digests = manifest.table["path"].tolist(), manifest.table["content_digest"].tolist()
        cache = open_cache(paths, digests, self.spec, progress=self.listener.stage("decoding"))
        broken = [(paths[row], reason) for row, reason in sorted(cache.broken.items())]
        if broken and self.request.strict:
            raise ManifestError(
                f"--strict: {len(broken)} broken images, first {broken[0][0]}: {broken[0][1]}"
            )
        if broken:
            table = pd.DataFrame(broken, columns=["path", "reason"])
            write_text(self.folder / "broken.csv", table.to_csv(index=False))
            self.listener.say(f"{len(broken)} broken images are left out; see {self.folder / 'broken.csv'}")
        return cache

    def select(
        self, manifest: manifests.Manifest, splits: splitting.Splits, cache: ImageCache
    ) -> dict[str, ImageSet]:
        whole = ~manifest.table.index.isin(list(cache.broken))
        y_true = manifest.table["y_true"].to_numpy(np.float32)
        sets = {}
        for name in ("train", "val", "calibration"):
            rows = np.flatnonzero(whole & (splits.table["split"] == name).to_numpy())
            if len(np.unique(y_true[rows])) < 2:
                raise ManifestError(f"the {name} split holds one class only; give more images of both")
            sets[name] = ImageSet(cache, rows, y_true[rows], self.spec)
        return sets

    def _train(self, train: ImageSet, val: ImageSet) -> tuple["keras.Model", list[fitting.Row]]:
        fitting.make_deterministic(self.request.seed)
        model, state = fitting.fit(
            create_model(self.recipe.model, self.recipe.input),
            train,
            val,
            self.recipe,
            seed=self.request.seed,
            folder=self.folder / "checkpoints",
            progress=TrackedProgress(self.listener, self.tracker, self.folder, len(train)),
        )
        note_epochs(self.tracker, state.history)
        temporary = self.folder / ".model.keras"
        model.save(temporary)
        temporary.replace(self.folder / "model.keras")
        write_text(self.folder / "history.csv", pd.DataFrame(state.history).to_csv(index=False))
        return model, state.history

    def _export(self, model: "keras.Model", images: ImageSet, facts: Mapping[str, Any]) -> bundles.Bundle:
        """The bundle; one that is there already is whole and stays, so that its digest does too."""
        target = self.folder / "bundle"
        return (
            bundles.load(target)
            if target.exists()
            else export_bundle(model, images, self.recipe, target, facts)
        )

    def _evaluate(
        self,
        bundle: bundles.Bundle,
        manifest: manifests.Manifest,
        splits: splitting.Splits,
        history: list[fitting.Row],
    ) -> list[EvaluationReport]:
        predictor = Predictor(bundle)
        reports = []
        for name in SPLITS:
            rows = (splits.table["split"] == name).to_numpy()
            if rows.any():
                reports.append(
                    evaluate(
                        predictor,
                        manifest.subset(rows),
                        name=name,
                        resamples=self.recipe.evaluation.resamples,
                        seed=self.request.seed,
                        groups=splits.table["group_id"][rows].tolist(),
                        progress=self.listener.stage(f"judging {name} images"),
                    )
                )
        report.save(
            reports,
            self.folder / "evaluation",
            title=f"{self.recipe.name}, seed {self.request.seed}",
            facts={"recipe": self.recipe.name, "bundle": bundle.digest, "images": manifest.digest},
            history=history,
            notice=self.request.notice,
        )
        return reports

    def describe(self, manifest: manifests.Manifest, splits: splitting.Splits) -> dict[str, Any]:
        counts = splits.table["split"].value_counts()
        return {
            "melanoma_version": __version__,
            "recipe": self.recipe.model_dump(),
            "seed": self.request.seed,
            "sources": [source.name for source in manifest.sources],
            "manifest_digest": manifest.digest,
            "splits_digest": splits.digest,
            "images": {name: int(count) for name, count in sorted(counts.items())},
            "versions": {name: found for name in LIBRARIES if (found := _version(name))},
            "licence": "Apache-2.0 (code); the weights follow the licences of their training images",
            "use": "Research only; not a medical device.",
            **({"notice": self.request.notice} if self.request.notice else {}),
        }


def _is_taken(folder: Path) -> bool:
    """True when the folder holds more than a start leaves that was killed before it wrote `run.json`."""
    if not folder.exists():
        return False
    return any(path.name != "recipe.yaml" and not path.name.startswith(".") for path in folder.iterdir())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process alone. Raises RunError when another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise RunError(f"{folder} is in use by another run; wait for it or give another --run-dir") from error
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}; resume when mended") from error


def _load_manifest(
    request: Request, progress: Callable[[int, int], None] | None = None
) -> manifests.Manifest:
    return manifests.load(request.sources, labels=request.labels, progress=progress)


def _limit(manifest: manifests.Manifest, request: Request) -> manifests.Manifest:
    """The manifest, or `limit` of its images with classes, sources and given splits in proportion."""
    if not 0 < request.limit < len(manifest.table):
        return manifest
    share = request.limit / len(manifest.table)
    strata = manifest.table.groupby(["source", "given_split", "y_true"])
    return manifest.subset(sorted(strata.sample(frac=share, random_state=request.seed).index))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ModuleNotFoundError:  # PackageNotFoundError is one
        return None

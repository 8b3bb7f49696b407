"""The images of one run: which they are, how they are split, and their pixels."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from melanoma.config import Recipe
from melanoma.data import domain_fitting
from melanoma.data import manifest as manifests
from melanoma.data import splits as splitting
from melanoma.data.diagnoses import number_diagnoses
from melanoma.data.manifest import Manifest
from melanoma.data.splits import Splits
from melanoma.data.tables import write_table
from melanoma.errors import ManifestError, RunError
from melanoma.files import write_text
from melanoma.inference.domain import Domain
from melanoma.inference.preprocessing import Preprocessing
from melanoma.listener import Listener
from melanoma.training.cache import ImageCache, open_cache
from melanoma.training.pipeline import ImageSet


@dataclass(frozen=True)
class Request:
    """What a run is asked for besides its recipe; kept as `run.json`, so that it can be resumed.

    `limit`: train on so many images only, drawn by `seed`, classes and given splits in proportion; 0 is all.
    `notice`: a sentence that the report carries on top. `parent`: the MLflow run that this one belongs to.
    `workers`: devices of this machine, or processes on the `cluster`, that train together. `average`: folders of
    finished runs whose mean is taken instead of training.
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
    parent: str | None = None
    workers: int = 1
    cluster: str | None = None
    average: list[str] = field(default_factory=list)


def read_request(folder: Path) -> Request:
    """What a run folder was asked for. Raises RunError when it is no run folder."""
    try:
        return Request(**json.loads((folder / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{folder} holds no run: its run.json is missing or damaged") from error


@dataclass(frozen=True)
class RunImages:
    """Images and splits, row by row aligned."""

    manifest: Manifest
    splits: Splits

    def rows_of(self, split: str) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """A mask (n,) of the images of one split."""
        return (self.splits.table["split"] == split).to_numpy(copy=True)

    @property
    def counts(self) -> dict[str, int]:
        """Images a split."""
        counts = self.splits.table["split"].value_counts()
        return {str(name): int(count) for name, count in sorted(counts.items())}


def find(request: Request, recipe: Recipe, listener: Listener) -> RunImages:
    """Read and split the images that a new run asks for. Raises ManifestError and SplitError."""
    manifest = _load_manifest(request, listener.stage("reading the images"))
    for line in manifests.describe(manifest).splitlines():
        listener.say(line)
    if manifest.skipped and request.strict:
        path, reason = manifest.skipped[0]
        raise ManifestError(f"--strict: {len(manifest.skipped)} images left out, first {path}: {reason}")
    manifest = limit(manifest, request)
    if request.splits:
        return RunImages(manifest, splitting.load(Path(request.splits), manifest))
    groups = splitting.load_groups(Path(request.groups)) if request.groups else None
    shares = recipe.splits.model_dump()
    return RunImages(manifest, splitting.assign(manifest, **shares, seed=request.seed, groups=groups))


def save(images: RunImages, folder: Path) -> None:
    """Keep in the run folder what `load` needs."""
    images.manifest.save(folder / "manifest.csv")
    write_text(folder / "manifest.digest", images.manifest.digest + "\n")
    splitting.save(images.splits, folder / "splits.csv")


def load(folder: Path, request: Request) -> RunImages:
    """The images of a run that has begun. Raises RunError when they have changed since."""
    manifest = limit(_load_manifest(request), request)
    try:
        known = (folder / "manifest.digest").read_text().strip()
    except OSError as error:
        raise RunError(f"{folder} has lost its manifest.digest; start a new run") from error
    if manifest.digest != known:
        raise RunError(f"the images of {folder} have changed since it began; start a new run")
    return RunImages(manifest, splitting.load(folder / "splits.csv", manifest))


@dataclass(frozen=True)
class Pixels:
    """Decoded images of a run: `sets` for train, val and calibration; `broken`: (path, reason) of the others."""

    sets: dict[str, ImageSet]
    broken: list[tuple[str, str]]


@contextmanager
def open_pixels(images: RunImages, request: Request, recipe: Recipe, listener: Listener) -> Iterator[Pixels]:
    """Decode the images, or find them decoded.

    Raises ManifestError when a split lacks a class, or on a broken image where `strict` is asked for.
    """
    spec = Preprocessing(**recipe.input.model_dump())
    margin = recipe.augmentation.margin
    with ExitStack() as stack:
        cache = stack.enter_context(_decode(images, spec, listener))
        paths = images.manifest.table["path"].tolist()
        broken = [(paths[row], reason) for row, reason in sorted(cache.broken.items())]
        if broken and request.strict:
            path, reason = broken[0]
            raise ManifestError(f"--strict: {len(broken)} broken images, first {path}: {reason}")
        sets = {split: _select(images, cache, spec, split) for split in ("train", "val", "calibration")}
        if margin:
            larger = stack.enter_context(_decode(images, replace(spec, size=spec.size + margin), listener))
            sets["train"] = replace(sets["train"], cache=larger)
        yield Pixels(sets, broken)


def _decode(images: RunImages, spec: Preprocessing, listener: Listener) -> ImageCache:
    table = images.manifest.table
    digests = table["content_digest"].tolist()
    return open_cache(table["path"].tolist(), digests, spec, progress=listener.stage("decoding"))


def fit_domain_check(images: RunImages, listener: Listener) -> Domain | None:
    """The domain check, from the files of the calibration split: the cache holds what the network sees of them."""
    paths = images.manifest.table["path"][images.rows_of("calibration")].tolist()
    domain = domain_fitting.fit_files(paths, progress=listener.stage("fitting the domain check"))
    if domain is None:
        listener.say(
            f"too few calibration images ({len(paths)}) for a domain check: the bundle will judge any picture"
        )
    return domain


def list_left_out(images: RunImages, pixels: Pixels, folder: Path, listener: Listener) -> None:
    """Write `left_out.csv` (path, reason) when files could not be used, and say how many."""
    left_out = [*images.manifest.skipped, *pixels.broken]
    if left_out:
        write_table(pd.DataFrame(left_out, columns=["path", "reason"], dtype=object), folder / "left_out.csv")
        listener.say(
            f"{len(left_out)} files are left out; {folder / 'left_out.csv'} lists them with the reason"
        )


def limit(manifest: Manifest, request: Request) -> Manifest:
    """The manifest, or `limit` of its images with classes, sources and given splits in proportion."""
    if not 0 < request.limit < len(manifest.table):
        return manifest
    share = request.limit / len(manifest.table)
    strata = manifest.table.groupby(["source", "given_split", "y_true"])
    return manifest.subset(sorted(strata.sample(frac=share, random_state=request.seed).index))


def _load_manifest(request: Request, progress: Callable[[int, int], None] | None = None) -> Manifest:
    return manifests.load(request.sources, labels=request.labels, progress=progress)


def _select(images: RunImages, cache: ImageCache, spec: Preprocessing, split: str) -> ImageSet:
    y_true = images.manifest.table["y_true"].to_numpy(np.float32)
    wanted = images.rows_of(split)
    wanted[list(cache.broken)] = False
    rows = np.flatnonzero(wanted)
    if len(np.unique(y_true[rows])) < 2:
        raise ManifestError(f"the {split} split does not hold images of both classes; give more images")
    source = np.unique(images.manifest.table["source"], return_inverse=True)[1]
    diagnosis = number_diagnoses(images.manifest.table)
    return ImageSet(cache, rows, y_true[rows], spec, source[rows], diagnosis[rows])

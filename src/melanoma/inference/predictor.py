"""Image in, `Prediction` out: the one place where an image is judged."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from melanoma.ahead import map_ahead
from melanoma.errors import BundleError, ConfigError, ImageError
from melanoma.inference import bundle as bundles
from melanoma.inference import images
from melanoma.inference.calibration import rebase
from melanoma.inference.decision import Decision, OperatingPoint, decide
from melanoma.inference.explain import STRENGTH, overlay, shrink
from melanoma.inference.network_file import Box, find_heat_box
from melanoma.inference.prediction import NetworkOutput, Prediction
from melanoma.inference.preprocessing import as_picture, prepare, scale
from melanoma.inference.quality import find_hints
from melanoma.inference.runtime import LiteRtNetwork
from melanoma.inference.sources import ImageFile
from melanoma.processes import count_cores

AnyImage = str | Path | bytes | Image.Image | NDArray[np.uint8]
Draw = Callable[[NDArray[np.uint8]], None]

__all__ = ["Prediction", "Predictor", "load_predictor"]


def load_predictor(
    bundle: str | Path | None = None,
    *,
    prevalence: float | None = None,
    threads: int = 1,
    domain_check: bool = True,
    max_pixels: int = images.MAX_PIXELS,
    micro_batch: int = 1,
) -> "Predictor":
    """A predictor for the bundle in a folder, or for the one that ships with the package.

    `prevalence` in (0, 1) re-bases the probabilities; `threads` is what one image may use; without `domain_check`
    every image that can be read is judged; one with more than `max_pixels` counts as one that cannot be read;
    `micro_batch` images of `predict_files` go through the network together. Raises BundleError.
    """
    if isinstance(bundle, str) and bundle.startswith("models:/"):
        raise BundleError(f"fetch {bundle} from MLflow first, with melanoma.tracking.fetch_bundle")
    loaded = bundles.load(bundle if bundle is not None else bundles.default_folder())
    return Predictor(
        loaded,
        prevalence=prevalence,
        threads=threads,
        domain_check=domain_check,
        max_pixels=max_pixels,
        micro_batch=micro_batch,
    )


class Predictor:
    """Judges images with one bundle. Safe to use from several threads.

    The bundle's files are read once, so they may be replaced while it works (`scoring.score_files` reads them again
    in every process that it starts).
    """

    def __init__(
        self,
        bundle: bundles.Bundle,
        *,
        prevalence: float | None = None,
        threads: int = 1,
        domain_check: bool = True,
        max_pixels: int = images.MAX_PIXELS,
        micro_batch: int = 1,
    ) -> None:
        if prevalence is not None and not 0 < prevalence < 1:
            raise ConfigError(f"a prevalence of {prevalence} makes no sense; give a share between 0 and 1")
        self.bundle = bundle
        self.recreate = partial(
            Predictor,
            bundle,
            prevalence=prevalence,
            threads=threads,
            domain_check=domain_check,
            max_pixels=max_pixels,
            micro_batch=micro_batch,
        )  # what makes another that judges alike, in another process
        self._prevalence = prevalence
        self._domain = bundle.domain if domain_check else None
        self._max_pixels = max_pixels
        self._content = bundle.read_network()
        self._network = LiteRtNetwork(self._content, threads, micro_batch)
        self._helpers = ThreadPoolExecutor(count_cores())

    @property
    def digest(self) -> str:
        """What names the bundle in every result row."""
        return self.bundle.digest

    @property
    def operating_point(self) -> OperatingPoint:
        """Where this bundle refers."""
        return self.bundle.operating_point

    @property
    def prevalence(self) -> float:
        """The share of melanomas that the probabilities in its rows are calibrated to."""
        return self.bundle.calibration.prevalence if self._prevalence is None else self._prevalence

    @property
    def checks_domain(self) -> bool:
        """Whether an image that does not look dermoscopic is refused."""
        return self._domain is not None

    @cached_property
    def heat_box(self) -> Box:
        """The part of the network's input that the cells of its heat maps stand for."""
        return find_heat_box(self._content)

    def predict(self, image: AnyImage) -> Prediction:
        """Judge one image: a path, a file's bytes, a Pillow image, or RGB uint8 (h, w, 3).

        An image that cannot be decoded gives a `Prediction` with `error` set and no exception, as in a
        folder of many. Raises TypeError for anything else.
        """
        name = str(image) if isinstance(image, str | Path) else ""
        file = ImageFile("", name, Path(name).stem)
        try:
            picture = as_picture(self._to_rgb(image))
        except ImageError as error:
            return self.refuse(file, error)
        seen = self._helpers.submit(self._inspect, picture)  # beside the network, which lets Python go on
        return self._judge(file, self.run(picture).logit, seen.result())

    def predict_file(
        self, file: ImageFile, image: AnyImage | None = None, *, draw: Draw | None = None
    ) -> Prediction:
        """Judge the image of a result row; `image` in place of the file's own path where given.

        `draw` is called with the overlay that `explain` gives, from the same run of the network.
        """
        try:
            rgb = self._to_rgb(file.path if image is None else image)
        except ImageError as error:
            return self.refuse(file, error)
        picture = as_picture(rgb)
        output = self.run(picture)
        if draw is not None:
            draw(self._lay_over(rgb, output))
        return self._judge(file, output.logit, self._inspect(picture))

    def predict_files(self, files: Sequence[tuple[ImageFile, AnyImage]]) -> list[Prediction]:
        """The rows of `predict_file`, in order, from images that go through the network in micro-batches."""
        rows: dict[int, Prediction] = {}
        seen: dict[int, tuple[bool, str]] = {}
        prepared = []
        for place, (file, image) in enumerate(files):
            try:
                picture = as_picture(self._to_rgb(image))
            except ImageError as error:
                rows[place] = self.refuse(file, error)
                continue
            seen[place] = self._inspect(picture)
            prepared.append(prepare(picture, self.bundle.preprocessing))
        if prepared:
            logits = self._network.run(scale(np.stack(prepared), self.bundle.preprocessing)).logit
            for (place, found), logit in zip(seen.items(), logits[:, None], strict=True):
                rows[place] = self._judge(files[place][0], logit, found)
        return [rows[place] for place in range(len(files))]

    def refuse(self, file: ImageFile, error: ImageError) -> Prediction:
        """The row of an image that cannot be read."""
        return self._row(file, None, Decision.CANNOT_ASSESS, "the image cannot be read", str(error))

    def score(self, paths: Sequence[str]) -> Iterator[Prediction]:
        """Judge many image files, in order, as they get done."""
        return self.score_files(ImageFile("", path, Path(path).stem) for path in paths)

    def score_files(
        self,
        files: Iterable[ImageFile],
        workers: int | None = None,
        *,
        draws: Iterable[Draw | None] | None = None,
    ) -> Iterator[Prediction]:
        """Judge many files, in order, as they get done; `workers` threads at once, one a core unless given.

        Of `draws`, one a file, each is called with the overlay of its own, where that can be read.
        """
        workers = workers or count_cores()
        jobs = zip(files, repeat(None) if draws is None else draws, strict=False)
        pool = ThreadPoolExecutor(workers)
        try:
            yield from map_ahead(pool, self._predict_job, jobs, ahead=4 * workers)
        finally:
            pool.shutdown(
                cancel_futures=True
            )  # a caller who stops early waits for no more than `workers` images

    def _predict_job(self, job: tuple[ImageFile, Draw | None]) -> Prediction:
        file, draw = job
        return self.predict_file(file, draw=draw)

    def run(self, image: NDArray[np.uint8] | Image.Image) -> NetworkOutput:
        """The network's raw output, n = 1, for RGB uint8 (h, w, 3)."""
        spec = self.bundle.preprocessing
        return self._network.run(scale(prepare(image, spec)[None], spec))

    def explain(
        self, image: AnyImage, *, strength: float = STRENGTH, longest_side: int | None = None
    ) -> NDArray[np.uint8]:
        """The image, RGB uint8 (h, w, 3), with where the network saw melanoma laid over it.

        `strength`: opacity where it saw most, 0 (the image alone) to 1. The picture, not what the network sees, is made
        smaller where a side is longer than `longest_side` pixels. Raises ImageError.
        """
        rgb = self._to_rgb(image)
        picture = rgb if longest_side is None else shrink(rgb, longest_side)
        return picture if strength == 0 else self._lay_over(picture, self.run(rgb), strength)

    def _lay_over(
        self, rgb: NDArray[np.uint8], output: NetworkOutput, strength: float = STRENGTH
    ) -> NDArray[np.uint8]:
        return overlay(rgb, output.heatmap[0], self.bundle.preprocessing, self.heat_box, strength)

    def _to_rgb(self, image: AnyImage) -> NDArray[np.uint8]:
        if isinstance(image, bytes | bytearray | memoryview):
            return images.decode(bytes(image), self._max_pixels)
        if isinstance(image, Image.Image):
            return images.convert(image, self._max_pixels)
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ImageError(f"need RGB uint8 (h, w, 3), got {image.dtype} {image.shape}")
            images.check_size(image.shape[1], image.shape[0], self._max_pixels)
            return image
        if isinstance(image, str | Path):
            return images.decode(images.read_file(image), self._max_pixels)
        raise TypeError(
            f"give a path, bytes, a Pillow image or RGB uint8 (h, w, 3), not {type(image).__name__}"
        )

    def _inspect(self, image: Image.Image) -> tuple[bool, str]:
        """Whether the image can be assessed, and why not, or what to know about it."""
        refusal = self._domain.refuse(image) if self._domain is not None else ""
        if refusal:
            return False, refusal
        hints = find_hints(image) if self.bundle.format_version >= 2 else []
        return True, "; ".join(hints)

    def _judge(self, file: ImageFile, logit: NDArray[np.float32], seen: tuple[bool, str]) -> Prediction:
        """The row of an image from its logit (1,) and what `_inspect` says of it."""
        y_prob = float(self.bundle.calibration.transform(logit)[0])
        assessable, reason = seen
        decision = decide(y_prob, self.operating_point) if assessable else Decision.CANNOT_ASSESS
        return self._row(file, self._rebase(y_prob), decision, reason)

    def _rebase(self, y_prob: float) -> float:
        if self._prevalence is None:
            return y_prob
        return float(rebase(np.asarray(y_prob), self.bundle.calibration.prevalence, self._prevalence))

    def _row(
        self, file: ImageFile, y_prob: float | None, decision: Decision, reason: str = "", error: str = ""
    ) -> Prediction:
        return Prediction(file.source, file.path, file.image_id, y_prob, decision, reason, error, self.digest)

"""Judges blocks, wherever: what every worker does."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melanoma.archive.blocks import Archive, Block
from melanoma.archive.output import Output
from melanoma.archive.reading import read
from melanoma.errors import ImageError
from melanoma.inference import bundle as bundles
from melanoma.inference.prediction import Prediction
from melanoma.inference.predictor import Predictor, load_predictor


@dataclass(frozen=True, slots=True)
class Task:
    """What makes a predictor anywhere: the bundle's files, by name, and how to judge with it; and where rows go.

    `base`: the folder that relative paths are relative to.
    """

    files: Mapping[str, bytes]
    prevalence: float | None
    domain_check: bool
    output: Output
    base: str

    def load(self) -> Predictor:
        """The predictor. Its bundle is read once, so its folder need not last."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self.files.items():
                Path(folder, name).write_bytes(content)
            return load_predictor(folder, prevalence=self.prevalence, domain_check=self.domain_check)


def pack(predictor: Predictor, prevalence: float | None, output: Output) -> Task:
    """A task that gives what `predictor` does. Raises BundleError when its files have changed."""
    folder = predictor.bundle.folder
    names = (bundles.DESCRIPTION, *predictor.bundle.files)
    files = {name: Path(folder, name).read_bytes() for name in names}
    return Task(files, prevalence, predictor.checks_domain, output, str(Path.cwd()))


def describe(predictor: Predictor, archive: Archive) -> dict[str, Any]:
    """What a row depends on, as `Output.begin` wants it."""
    return {
        "bundle": predictor.digest,
        "prevalence": predictor.prevalence,
        "domain_check": predictor.checks_domain,
        "images": archive.n,
        "archive": archive.digest,
    }


class BlockScorer:
    """Judges block after block with one predictor in one thread."""

    def __init__(self, task: Task) -> None:
        with contextlib.suppress(OSError):  # a node that has no such folder reads from addresses
            os.chdir(task.base)
        self._output = task.output
        self._predictor = task.load()

    def score(self, number: int, block: Block) -> int:
        """Judge a block and write its part, unless it is there already; how many images it has.

        Raises StorageError when the images of a table or the place for the part are out of reach.
        """
        if not self._output.has(number):
            self._output.write(number, [self._judge(file, content) for file, content in read(block)])
        return block.n

    def _judge(self, file: Any, content: bytes | ImageError) -> Prediction:
        if isinstance(content, ImageError):
            return self._predictor.refuse(file, content)
        return self._predictor.predict_file(file, content)

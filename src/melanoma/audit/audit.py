"""The whole audit: labelled or unlabelled sources in, an `Audit` out."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from melanoma.audit import checks, confounding, duplicates, leaks, pictures
from melanoma.audit.confounding import ConfoundingReport
from melanoma.audit.groups import join
from melanoma.audit.pictures import Pictures
from melanoma.audit.result import IMAGE_COLUMNS, Audit, Problem
from melanoma.data.manifest import UNLABELLED, Manifest, load_leniently
from melanoma.data.splits import find_groups
from melanoma.errors import ManifestError

WORK = ".audit"

Progress = Callable[[str, int, int], None]


def run(
    sources: Sequence[str],
    output: Path,
    *,
    labels: Mapping[str, int] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    elsewhere: pictures.Elsewhere | None = None,
) -> Audit:
    """Audit every `PATH` or `NAME=PATH`; what was read is kept in `output` until `discard_work`.

    Large audits use processes of their own, so in a script call it below `if __name__ == "__main__":`.
    `labels` overrides what a label text means; `elsewhere`: see `pictures.read`. `progress` is called with a stage, the
    number done and of all.
    Raises ManifestError when there is nothing to audit, and OutputError.
    """
    tell = progress or (lambda *_: None)
    clock = _Clock()
    manifest = load_leniently(sources, labels=labels, progress=lambda *count: tell("hashing files", *count))
    with clock.time("reading images"):
        manifest, found, problems = _read(manifest, output / WORK, tell, elsewhere)
    with clock.time("looking for repeats"):
        pairs, plain = duplicates.find_pairs(
            found.grey,
            found.colour,
            found.content.tolist(),
            found.pixels.tolist(),
            work=output / WORK,
            progress=tell,
        )
    joined = join(len(manifest.table), pairs)
    images = _describe_images(manifest, found, joined)
    with clock.time("measuring what tells the class"):
        measured, reason = _measure(images, found, seed, tell)
    return Audit(
        images=images,
        pairs=pairs,
        problems=tuple(problems),
        overlaps=leaks.find_overlaps(images, pairs, joined),
        leaks=leaks.find_leaks(images, pairs),
        confounding=measured,
        no_confounding=reason,
        plain=plain,
        notes=_write_notes(manifest),
        roots={source.name: str(source.root) for source in manifest.sources},
        digest=manifest.digest,
        seconds=clock.seconds,
    )


def discard_work(output: Path) -> None:
    """Remove what was kept for going on, once the results are written."""
    shutil.rmtree(output / WORK, ignore_errors=True)


class _Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Note how long the block takes."""
        began = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - began, 2)


def _read(
    manifest: Manifest, work: Path, tell: Progress, elsewhere: pictures.Elsewhere | None
) -> tuple[Manifest, Pictures, list[Problem]]:
    """The images that can be read, and what is wrong with files and metadata. Raises ManifestError if none can."""
    table = manifest.table
    found = pictures.read(
        table["path"].tolist(),
        table["content_digest"].tolist(),
        work,
        lambda *count: tell("reading images", *count),
        elsewhere,
    )
    problems = [*checks.check_files(manifest, found), *checks.check_metadata(manifest)]
    whole = np.flatnonzero(found.error == "")
    if not len(whole):
        raise ManifestError(f"not one of {len(table):,} images can be read; the first: {problems[0].detail}")
    return manifest.subset(whole.tolist()), found.take(whole), problems


def _describe_images(manifest: Manifest, found: Pictures, joined: NDArray[np.int64]) -> pd.DataFrame:
    """One row an image, with its group: what pairs, lesions and patients tie together."""
    table = manifest.table
    tied = table[["source", "image_id"]].assign(group_id=joined.astype(str))
    images = table.assign(
        y_true=table["y_true"].astype("Int64").mask(table["y_true"] == UNLABELLED),
        width=found.width,
        height=found.height,
        group_id=find_groups(manifest, tied),
    )
    return images[list(IMAGE_COLUMNS)]


def _measure(
    images: pd.DataFrame, found: Pictures, seed: int, tell: Progress
) -> tuple[ConfoundingReport | None, str]:
    """What tells the class without the lesion, or why that could not be measured."""
    labelled = images["y_true"].notna().to_numpy()
    if not labelled.any():
        return None, "no image has a label"
    rows = np.flatnonzero(labelled)
    report = confounding.measure(
        {name: vectors[rows] for name, vectors in found.cues.items()},
        images["y_true"].to_numpy()[rows].astype(np.int64),
        images["source"].iloc[rows].tolist(),
        images["group_id"].iloc[rows].tolist(),
        seed=seed,
        progress=lambda *count: tell("measuring cues", *count),
    )
    return report, ""


def _write_notes(manifest: Manifest) -> tuple[str, ...]:
    """What a reader should know of how the sources were read."""
    notes = [
        f"{source.name}: {source.layout}, {source.ignored:,} other files left aside"
        for source in manifest.sources
    ]
    named = ((1, "melanoma"), (0, "other"))
    for y_true, meaning in named:
        texts = [label for label, value in manifest.label_map.items() if value == y_true]
        if texts:
            notes.append(f"counted as {meaning}: {', '.join(texts)}")
    return tuple(notes)

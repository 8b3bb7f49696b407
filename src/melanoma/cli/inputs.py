"""What commands that judge labelled images have in common: which images, where results go, and the look noted."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from melanoma.cli import options
from melanoma.cli.progress import say, show_progress
from melanoma.errors import ConfigError, ManifestError, OutputError

if TYPE_CHECKING:
    import pandas as pd

    from melanoma.data.manifest import Manifest
    from melanoma.evaluation.looks import LookCount

_SHARED = ("report.html", "predictions.csv")  # names that several commands give their results


def check_output(output: Path, given: Sequence[str | Path | None], names: Sequence[str]) -> None:
    """Before minutes of work: the results `names`, files in the folder `output`, have a place.

    `given`: what the command reads. Raises ConfigError when a result would take its place, OutputError when the
    folder cannot be written or holds results of another command under the same name.
    """
    inputs = options.resolve_inputs([str(place) for place in given if place is not None])
    if output.resolve() in inputs:
        raise ConfigError(f"{output} is one of the inputs; give another --output")
    for name in names:
        if (output / name).resolve() in inputs:
            raise ConfigError(f"{output / name} is one of the inputs; give another --output")
    above = next(place for place in (output, *output.absolute().parents) if place.exists())
    if not above.is_dir():
        raise OutputError(f"{above} is a file; give a folder as --output")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write to {above}: no permission; give another --output")
    shared = [name for name in names if name in _SHARED and (output / name).exists()]
    if shared and not any((output / name).exists() for name in names if name not in _SHARED):
        raise OutputError(f"{output / shared[0]} is of another command; give another --output")


def find_images(
    data: list[str], label: list[str] | None, split: str | None, groups: Path | None
) -> "tuple[Manifest, Manifest, pd.Series[str]]":
    """All images of the data, those that a given split names so, and the group of each of these.

    Folders without labels pass. Raises ManifestError, and SplitError for groups that do not fit.
    """
    from melanoma.data import manifest as manifests
    from melanoma.data import splits as splitting

    with show_progress("reading the images") as update:
        known = manifests.load_leniently(data, labels=options.parse_labels(label), progress=update)
    if known.contradictions:
        raise ManifestError(known.contradictions[0][2])
    found = splitting.find_groups(known, splitting.load_groups(groups) if groups else None)
    if split is None:
        return known, known, found
    rows = (known.table["given_split"] == split).to_numpy()
    if not rows.any():
        raise ManifestError(f"no image is given as {split!r}; leave --split out to take all")
    return known, known.subset(rows), found[rows]


def describe_refused(decisions: "pd.Series[str]") -> str:
    """How many images the bundle does not assess, of those that could be read."""
    from melanoma.inference.decision import Decision

    return f"{int((decisions == Decision.CANNOT_ASSESS).sum()):,} of {len(decisions):,}; judged here all the same"


def note_look(
    command: str,
    table: "pd.DataFrame",
    *,
    bundle: Path | None,
    bundle_digest: str,
    manifest_digest: str,
    data: list[str],
    output: Path,
) -> "LookCount | None":
    """Write down, and say, that test images were judged: beside the bundle's run or else in `output`.

    None when there are none in a manifest's `table`. `bundle`: its folder, if a bundle judged.
    """
    from melanoma.evaluation import looks

    noted = looks.note(
        command,
        table,
        bundle=bundle,
        bundle_digest=bundle_digest,
        manifest_digest=manifest_digest,
        data=data,
        otherwise=output,
    )
    if noted is None:
        return None
    count, file = noted
    say(f"this look at test images is noted in {file}")
    return count

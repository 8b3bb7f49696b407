"""Every look at test images is written down: whoever looks often and picks the best measures their own luck."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from melanoma.data.tables import read_table
from melanoma.errors import ManifestError, OutputError

NAME = "test-looks.jsonl"


@dataclass(frozen=True, slots=True)
class Look:
    """One judgement of test images.

    `time`: UTC, ISO 8601. `n`: test images judged. `splits`: what the images are called. `data` as the
    command was given them.
    """

    time: str
    command: str
    bundle_digest: str
    manifest_digest: str
    data: list[str]
    splits: list[str]
    n: int


@dataclass(frozen=True, slots=True)
class LookCount:
    """How often test images have been looked at: in all, and exactly these images."""

    total: int
    same_images: int


def find_run(bundle: Path) -> Path | None:
    """The run folder that a bundle's folder lies in, None when it lies in none."""
    parent = bundle.absolute().parent
    return parent if (parent / "run.json").is_file() else None


def count_test_images(table: pd.DataFrame, run: Path | None) -> int:
    """How many of the images are test images: a given test split's, or, by content, what the run calls test.

    `table` of a manifest. A run whose lists cannot be read counts for nothing.
    """
    is_test = table["given_split"] == "test"
    if run is not None:
        is_test |= table["content_digest"].isin(_list_test_contents(run))
    return int(is_test.sum())


def record(folder: Path, look: Look, *, once: bool = False) -> LookCount:
    """Append a look to the folder's `test-looks.jsonl` and count. Raises OutputError.

    `once`: not when the same command has judged the same images with the same bundle before, as in a run that
    was resumed.
    """
    path = folder / NAME
    seen = [_identify(old) for old in read(folder)]
    if once and _identify(look) in seen:
        return _count(folder, look)
    line = json.dumps(asdict(look)).encode() + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Appended and not replaced: two commands at once must not lose each other's line.
        with path.open("ab+") as file:
            if file.tell() and not _ends_line(path):
                line = b"\n" + line  # the process before was killed while it wrote
            file.write(line)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another place") from error
    return _count(folder, look)


def read(folder: Path) -> list[Look]:
    """The looks noted in a folder, oldest first; a line that was not written whole is passed over."""
    try:
        lines = (folder / NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    looks = []
    for line in lines:
        try:
            looks.append(Look(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return looks


def note(
    command: str,
    table: pd.DataFrame,
    *,
    bundle: Path | None,
    bundle_digest: str,
    manifest_digest: str,
    data: Sequence[str],
    otherwise: Path,
) -> tuple[LookCount, Path] | None:
    """Write down a look at a manifest's table, beside the run of the bundle or else in the folder `otherwise`.

    Gives the count and the file, None when no test image is among them. `bundle`: its folder, if a bundle
    judged. Raises OutputError.
    """
    run = find_run(bundle) if bundle else None
    n = count_test_images(table, run)
    if n == 0:
        return None
    look = look_now(
        command,
        bundle_digest=bundle_digest,
        manifest_digest=manifest_digest,
        data=data,
        splits=sorted(table["given_split"].replace("", "none given").unique()),
        n=n,
    )
    folder = run or otherwise
    return record(folder, look), folder / NAME


def look_now(
    command: str,
    *,
    bundle_digest: str,
    manifest_digest: str,
    data: Sequence[str],
    splits: Sequence[str],
    n: int,
) -> Look:
    """A look at this moment."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return Look(time, command, bundle_digest, manifest_digest, list(data), list(splits), n)


def _identify(look: Look) -> tuple[str, str, str]:
    return look.command, look.bundle_digest, look.manifest_digest


def _count(folder: Path, look: Look) -> LookCount:
    looks = read(folder)
    same = sum(old.manifest_digest == look.manifest_digest for old in looks)
    return LookCount(len(looks), same)


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _list_test_contents(run: Path) -> set[str]:
    key = ["source", "image_id"]
    try:
        images, splits = read_table(run / "manifest.csv"), read_table(run / "splits.csv")
        test = splits.loc[splits["split"] == "test", key].merge(images, on=key)
        return set(test["content_digest"])
    except (ManifestError, KeyError):
        return set()

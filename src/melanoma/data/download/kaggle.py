"""The 10,000-image melanoma set from Kaggle, as class folders."""

import contextlib
import errno
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from melanoma.data.download import folder as folders
from melanoma.data.download.folder import Result
from melanoma.errors import DownloadError, MissingExtraError
from melanoma.files import replacing, write_text
from melanoma.inference.images import SUFFIXES

HANDLE = "hasnainjaved/melanoma-skin-cancer-dataset-of-10000-images"
URL = f"https://www.kaggle.com/datasets/{HANDLE}"
TRIES = 4
_REQUEST = {"source": "melanoma10k", "handle": HANDLE}
_CLASSES = ("benign", "malignant")
_STATED = "CC0, as the Kaggle page states"
_TERMS = (
    "The images come from collections of the ISIC Archive, which stand under CC BY-NC. Treat them as for"
    " non-commercial research."
)


def fetch(output: Path, *, sleep: Callable[[float], object] = time.sleep) -> Path:
    """The set as it lies in kagglehub's cache, where a call that was broken off is gone on with.

    Nothing is fetched when `output` cannot be used. Raises MissingExtraError, OutputError, DownloadError.
    """
    folders.check(output, _REQUEST)
    kagglehub = _import()
    for attempt in range(1, TRIES + 1):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return Path(kagglehub.dataset_download(HANDLE))
        except Exception as error:  # kagglehub raises of its own, requests' and the system's
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            if attempt == TRIES or not _may_pass(error):
                raise DownloadError(f"kagglehub cannot fetch {HANDLE}: {_explain(error)}") from error
        sleep(2.0**attempt)
    raise AssertionError


def unpack(cache: Path, output: Path, *, progress: Callable[[int, int], object] | None = None) -> Result:
    """Copy what `fetch` brought into `output/train` and `output/test`, each with `benign` and `malignant`.

    Images that are there already stay. Raises OutputError, and DownloadError when the set looks different.
    """
    root = _find_root(cache)
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    folders.claim(output, _REQUEST)
    _write_terms(output, cache)
    fetched = 0
    for number, path in enumerate(files, start=1):
        fetched += _copy(path, output / path.relative_to(root))
        if progress:
            progress(number, len(files))
    return Result(output, f"Kaggle, {HANDLE}", fetched, len(files) - fetched, [], {_STATED: len(files)})


def _import() -> Any:
    """The kagglehub module. Raises MissingExtraError."""
    try:
        with contextlib.redirect_stdout(
            sys.stderr
        ):  # its log goes where standard output is when it is imported
            import kagglehub
    except ModuleNotFoundError as error:
        if error.name != "kagglehub":
            raise
        raise MissingExtraError("data", "kagglehub") from error
    return kagglehub


def _may_pass(error: Exception) -> bool:
    """Whether another try may help: all but an answer that refuses, such as 404."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is None or status in {408, 425, 429} or status >= 500


def _explain(error: Exception) -> str:
    """One line; requests says in 300 characters that a host is not there."""
    if isinstance(error, ConnectionError) or type(error).__name__ in {"ConnectionError", "ConnectTimeout"}:
        return "Kaggle cannot be reached; check the connection and run the same command again"
    return folders.tidy(error)[:200] or type(error).__name__


def _find_root(cache: Path) -> Path:
    """The folder whose `train` and `test` hold the classes. Raises DownloadError when there is none."""
    for folder in sorted({cache, *(path.parent for path in cache.rglob("train"))}):
        if all((folder / split / name).is_dir() for split in ("train", "test") for name in _CLASSES):
            return folder
    raise DownloadError(
        f"{cache} does not hold train and test with {' and '.join(_CLASSES)}; the set has changed"
    )


def _copy(path: Path, target: Path) -> bool:
    """Copy a file unless one of the same size is there; whether it was. Raises OutputError."""
    if target.is_file() and target.stat().st_size == path.stat().st_size:
        return False
    with replacing(target) as temporary:
        shutil.copyfile(path, temporary)
    return True


def _write_terms(output: Path, cache: Path) -> None:
    """Where the images come from and under what terms. Raises OutputError."""
    version = cache.name if cache.parent.name == "versions" else ""
    said = (
        f"Melanoma Skin Cancer Dataset of 10000 Images\n{URL}{f', version {version}' if version else ''}\n\n"
    )
    write_text(output / "LICENCE.txt", f"{said}Licence: {_STATED}.\n{_TERMS}\n")
    row = {"collection": HANDLE, "version": version, "licence": _STATED, "attribution": URL, "note": _TERMS}
    folders.write_rows(output / "attribution.csv", tuple(row), [row])

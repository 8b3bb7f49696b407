"""A model as one folder: `bundle.json` says everything, and hashes every other file and itself."""

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from melanoma.errors import BundleError, OutputError
from melanoma.inference.calibration import Calibration
from melanoma.inference.decision import OperatingPoint
from melanoma.inference.domain import Domain
from melanoma.inference.preprocessing import Preprocessing

FORMAT_VERSION = 2
DESCRIPTION = "bundle.json"
NETWORK = "network.tflite"
DOMAIN = "domain.npz"
CLASSES = ("other", "melanoma")
NOTICES = ("notice", "calibration_notice")  # facts: of the training images, and of too few to calibrate on


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in `folder`.

    `digest`: sha256 of all that `bundle.json` says, the hashes of the other files among it, so it names the
    whole. `facts`: what describes the model and changes no prediction (training data, figures, versions,
    licence). `domain`: what dermoscopic images look like, None where it was not fitted. `format_version`: 1 had no
    domain check and gives no hints on quality. `files`: sha256 of every other file, by name.
    """

    folder: Path
    digest: str
    name: str
    preprocessing: Preprocessing
    calibration: Calibration
    operating_point: OperatingPoint
    facts: Mapping[str, Any] = field(default_factory=dict)
    domain: Domain | None = field(default=None, compare=False, repr=False)  # named by the digest
    format_version: int = FORMAT_VERSION
    files: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def read_network(self) -> bytes:
        """The runtime network's bytes. Raises BundleError when they are not those the bundle was loaded with."""
        content = _read(self.network)
        if hashlib.sha256(content).hexdigest() != self.files[NETWORK]:
            raise BundleError(f"{self.network} has changed since the bundle was loaded; load it again")
        return content

    @property
    def network(self) -> Path:
        """The runtime network's file."""
        return self.folder / NETWORK

    @property
    def notice(self) -> str | None:
        """What must be said beside every figure of this bundle, if anything."""
        return " ".join(str(self.facts[name]) for name in NOTICES if self.facts.get(name)) or None


def default_folder() -> Path:
    """The bundle that ships with the package."""
    return Path(str(resources.files("melanoma"))) / "bundles" / "default"


def load(folder: str | Path) -> Bundle:
    """Read and verify a bundle.

    Raises BundleError when it is missing, damaged, or written by a newer format.
    """
    folder = Path(folder)
    values = _parse(_read(folder / DESCRIPTION), folder)
    try:
        for name, expected in values["files"].items():
            _verify(folder, name, expected)
        return Bundle(
            folder=folder,
            digest=values["digest"],
            name=values["name"],
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
            calibration=Calibration.from_dict(values["calibration"]),
            operating_point=OperatingPoint.from_dict(values["operating_point"]),
            facts=values.get("facts", {}),
            domain=_read_domain(folder / DOMAIN) if DOMAIN in values["files"] else None,
            format_version=values["format_version"],
            files=values["files"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"{folder / DESCRIPTION} is not complete: {error}; fetch the bundle again"
        ) from error


def save(
    folder: Path,
    network: Path,
    *,
    name: str,
    preprocessing: Preprocessing,
    calibration: Calibration,
    operating_point: OperatingPoint,
    facts: Mapping[str, Any],
    domain: Domain | None = None,
) -> Bundle:
    """Write a bundle that appears whole or not at all, and load it back. Without `domain` it refuses no image.

    One that is there already is replaced when the new one is whole, and stays when that fails. Raises
    OutputError.
    """
    temporary = folder.with_name(f".{folder.name}.part")
    values = {
        "format_version": FORMAT_VERSION,
        "name": name,
        "classes": list(CLASSES),
        "preprocessing": preprocessing.to_dict(),
        "calibration": calibration.to_dict(),
        "operating_point": operating_point.to_dict(),
        "facts": dict(facts),
    }
    try:
        with _removing(temporary):
            temporary.mkdir(parents=True)
            shutil.copyfile(network, temporary / NETWORK)
            if domain is not None:
                np.savez(temporary / DOMAIN, allow_pickle=False, **domain.to_arrays())
            values["files"] = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
            text = json.dumps({"digest": _digest(values), **values}, indent=2)
            (temporary / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
            _replace(temporary, folder)
    except OSError as error:
        raise OutputError(f"cannot write the bundle {folder}: {error.strerror or error}") from error
    return load(folder)


@contextlib.contextmanager
def _removing(folder: Path) -> Iterator[None]:
    """No such folder, neither when the context begins nor when it ends."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(new: Path, folder: Path) -> None:
    """Put `new` in the place of `folder`; a folder cannot be replaced in one step, so the old one waits aside."""
    old = folder.with_name(f".{folder.name}.old")
    if not folder.exists():
        new.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
        return
    with _removing(old):
        folder.replace(old)
        try:
            new.replace(folder)
        except BaseException:
            old.replace(folder)
            raise


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        folder, missing = path.parent, isinstance(error, FileNotFoundError) and path.parent.is_dir()
        why = f"it holds no {path.name}" if missing else error.strerror or error
        raise BundleError(
            f"no bundle in {folder}: {why}; give the folder of a bundle, or models:/NAME@ALIAS"
        ) from error


def _parse(content: bytes, folder: Path) -> dict[str, Any]:
    """What `bundle.json` says, once its own digest is found right."""
    try:
        values = json.loads(content)
        version, digest, files = values["format_version"], values["digest"], values["files"]
        newer = version > FORMAT_VERSION
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{folder / DESCRIPTION} is damaged: {error}; fetch the bundle again") from error
    if newer:
        raise BundleError(f"{folder} has format {version}, newer than this version of melanoma; update it")
    if digest != _digest(values):
        raise BundleError(f"{folder / DESCRIPTION} is damaged: its digest differs; fetch the bundle again")
    if NETWORK not in files:
        raise BundleError(f"{folder / DESCRIPTION} names no {NETWORK}; fetch the bundle again")
    return dict(values)


def _read_domain(path: Path) -> Domain:
    """The domain check of a file that is found whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Domain.from_arrays(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"cannot read {path}: {error}; fetch the bundle again") from error


def _digest(values: Mapping[str, Any]) -> str:
    """sha256 of everything but the digest itself, whatever the order and the white space in the file."""
    said = {key: value for key, value in values.items() if key != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _verify(folder: Path, name: str, expected: str) -> None:
    if Path(name).name != name:
        raise BundleError(f"{folder / DESCRIPTION} names a file outside the bundle: {name}")
    path = folder / name
    try:
        same = _sha256(path) == expected
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror or error}; fetch the bundle again") from error
    if not same:
        raise BundleError(f"{path} is not the file the bundle was made with (sha256 differs); fetch it again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""A model as one folder: `bundle.json` says everything, and hashes every other file."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from melanoma.errors import BundleError, OutputError
from melanoma.inference.calibration import Calibration
from melanoma.inference.decision import OperatingPoint
from melanoma.inference.preprocessing import Preprocessing

FORMAT_VERSION = 1
DESCRIPTION = "bundle.json"
NETWORK = "network.tflite"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle in `folder`.

    `digest`: sha256 of `bundle.json`, which hashes every other file, so it names the whole. `facts`: what
    describes the model and changes no prediction (training data, figures, versions, licence).
    """

    folder: Path
    digest: str
    name: str
    preprocessing: Preprocessing
    calibration: Calibration
    operating_point: OperatingPoint
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def network(self) -> Path:
        """The runtime network's file."""
        return self.folder / NETWORK


def default_folder() -> Path:
    """The bundle that ships with the package."""
    return Path(str(resources.files("melanoma"))) / "bundles" / "default"


def load(folder: str | Path) -> Bundle:
    """Read and verify a bundle.

    Raises BundleError when it is missing, damaged, or written by a newer format.
    """
    folder = Path(folder)
    content = _read(folder)
    values = _parse(content, folder)
    for name, expected in values["files"].items():
        _verify(folder, name, expected)
    try:
        return Bundle(
            folder=folder,
            digest=hashlib.sha256(content).hexdigest(),
            name=values["name"],
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
            calibration=Calibration.from_dict(values["calibration"]),
            operating_point=OperatingPoint.from_dict(values["operating_point"]),
            facts=values.get("facts", {}),
        )
    except (KeyError, TypeError) as error:
        raise BundleError(f"{folder / DESCRIPTION} is not complete: {error}") from error


def save(
    folder: Path,
    network: Path,
    *,
    name: str,
    preprocessing: Preprocessing,
    calibration: Calibration,
    operating_point: OperatingPoint,
    facts: Mapping[str, Any],
) -> Bundle:
    """Write a bundle that appears whole or not at all, in place of one that is there, and load it back."""
    temporary = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        shutil.copyfile(network, temporary / NETWORK)
        values = {
            "format_version": FORMAT_VERSION,
            "name": name,
            "classes": ["other", "melanoma"],
            "preprocessing": preprocessing.to_dict(),
            "calibration": calibration.to_dict(),
            "operating_point": operating_point.to_dict(),
            "facts": dict(facts),
            "files": {NETWORK: _sha256(temporary / NETWORK)},
        }
        (temporary / DESCRIPTION).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    except OSError as error:
        raise OutputError(f"cannot write the bundle {folder}: {error.strerror or error}") from error
    return load(folder)


def _read(folder: Path) -> bytes:
    try:
        return (folder / DESCRIPTION).read_bytes()
    except OSError as error:
        raise BundleError(f"no bundle in {folder}: {error.strerror or error}") from error


def _parse(content: bytes, folder: Path) -> dict[str, Any]:
    try:
        values = json.loads(content)
        version, files = int(values["format_version"]), values["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / DESCRIPTION} is damaged: {error}; fetch the bundle again") from error
    if version > FORMAT_VERSION:
        raise BundleError(f"{folder} has format {version}, newer than this version of melanoma; update it")
    if NETWORK not in files:
        raise BundleError(f"{folder / DESCRIPTION} names no {NETWORK}; fetch the bundle again")
    return dict(values)


def _verify(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    if Path(name).name != name:
        raise BundleError(f"{folder / DESCRIPTION} names a file outside the bundle: {name}")
    if not path.is_file():
        raise BundleError(f"the bundle {folder} lacks {name}; fetch it again")
    if _sha256(path) != expected:
        raise BundleError(f"{path} is not the file the bundle was made with (sha256 differs); fetch it again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

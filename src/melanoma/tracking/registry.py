"""MLflow's models: writing a bundle in its format, naming the best version, fetching one."""

import hashlib
import importlib.metadata
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from melanoma.errors import BundleError, RunError
from melanoma.tracking.connection import (
    default_tracking_uri,
    import_mlflow,
    is_wrong_request,
    one_line,
    open_client,
)

MODEL_NAME = "melanoma"
TIMEOUT = 60  # seconds that one request may hang
REQUIREMENTS = ("numpy", "pillow", "ai-edge-litert")
CODE = ("__init__.py", "version.py", "errors.py", "ahead.py", "processes.py", "pyfunc.py", "inference")


def promote(
    version: str, *, name: str = MODEL_NAME, alias: str = "champion", tracking_uri: str | None = None
) -> None:
    """Point `models:/name@alias` to a version; nothing else moves an alias.

    Raises RunError when there is no such version, TrackingError when MLflow cannot be reached.
    """
    with open_client(tracking_uri or default_tracking_uri(Path.cwd()), TIMEOUT, create=False) as client:
        try:
            client.get_model_version(name, version)
            client.set_registered_model_alias(name, alias, version)
        except Exception as error:
            if not is_wrong_request(error):
                raise
            raise RunError(f"cannot promote version {version} of {name}: {one_line(error)}") from error


def fetch_bundle(uri: str, folder: Path, *, tracking_uri: str | None = None) -> Path:
    """Bundle folder of `models:/name@alias` or `models:/name/3`, downloaded below `folder` the first time.

    Raises BundleError when there is no such model or it holds no bundle, TrackingError when MLflow cannot
    be reached.
    """
    parts = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))", uri)
    if parts is None:
        raise BundleError(f"{uri!r} names no model; write models:/name@alias or models:/name/3")
    name, alias, number = parts.groups()
    tracking_uri = tracking_uri or default_tracking_uri(Path.cwd())
    with open_client(tracking_uri, TIMEOUT, create=False) as client:
        try:
            version = (
                client.get_model_version_by_alias(name, alias)
                if alias
                else client.get_model_version(name, number)
            )
        except Exception as error:
            if not is_wrong_request(error):
                raise
            raise BundleError(f"MLflow has no {uri}: {one_line(error)}") from error
        origin = hashlib.sha256(f"{tracking_uri} {version.source}".encode()).hexdigest()[:12]
        target = folder / f"{name}-{version.version}-{origin}"
        if not target.exists():
            _download(f"models:/{name}/{version.version}", target)
    return target


def _download(uri: str, target: Path) -> None:
    """Download a model's files and move the bundle among them to `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as temporary:
        import_mlflow().artifacts.download_artifacts(artifact_uri=uri, dst_path=temporary)
        found = sorted(Path(temporary).glob("data/*/bundle.json"))
        if not found:
            raise BundleError(f"{uri} holds no bundle; melanoma train has not made this model")
        try:
            found[0].parent.rename(target)
        except OSError:
            if not target.exists():  # another process was quicker
                raise


def save_pyfunc(bundle: Path, folder: Path, model: Any, run_id: str) -> None:
    """Write the bundle, and a copy of the code that reads it, in MLflow's model format."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, Schema

    texts = [ColSpec("string", name) for name in ("decision", "reason", "error")]
    outputs = Schema([ColSpec("double", "y_prob", required=False), *texts])
    code = folder.parent / "melanoma"
    _copy_code(code)
    save_model(
        path=str(folder),
        loader_module="melanoma.pyfunc",
        data_path=str(bundle),
        code_paths=[str(code)],
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            model_uuid=model.model_id,
            model_id=model.model_id,
            run_id=run_id,
        ),
        signature=ModelSignature(inputs=Schema([ColSpec("binary", "image")]), outputs=outputs),
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS],
    )


def _copy_code(target: Path) -> None:
    """The part of this package that a model needs where the package is not installed."""
    target.mkdir()
    source = Path(__file__).parents[1]
    for name in CODE:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source / name, target / name)

"""A client of MLflow that is quiet, gives up soon, and leaves the process as it was."""

import contextlib
import logging
import os
import re
import sqlite3
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from urllib.parse import unquote

from melanoma.errors import ConfigError, MelanomaError, MissingExtraError, TrackingError

NOISY_LOGGERS = ("mlflow", "alembic", "urllib3")
SQLITE = "sqlite:///"
ADDRESS = r"(https?|sqlite|postgresql|mysql|mssql|oracle|databricks)(\+\w+)?(:|$)"


@contextlib.contextmanager
def open_client(uri: str, timeout: int, *, create: bool = True) -> Iterator[Any]:
    """An `mlflow.MlflowClient` for a `with` block, in which MLflow is quiet and gives up soon.

    What the user has set in the environment counts. Without `create` a missing SQLite file is an error.
    Whatever MLflow raises leaves as TrackingError.
    """
    settings = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    with _quiet(), _environment(settings):
        mlflow = import_mlflow()
        for name in NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            # The registry reads `models:/` sources at the global address, whatever its client was given.
            mlflow.set_tracking_uri(uri)
            _create_database(uri, create)
            yield mlflow.MlflowClient(tracking_uri=uri)
        except MelanomaError:
            raise
        except Exception as error:
            raise TrackingError(f"MLflow at {without_credentials(uri)}: {one_line(error)}") from error
        finally:
            mlflow.set_tracking_uri(None)


def default_tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else the SQLite file `mlflow.db` in `root`."""
    chosen = os.environ.get("MLFLOW_TRACKING_URI")
    path = re.sub("%(?=[0-9A-Fa-f]{2})", "%25", (root / "mlflow.db").as_posix())
    return absolute_uri(chosen or SQLITE + path.replace("?", "%3F"))


def absolute_uri(uri: str) -> str:
    """The same SQLite file whatever the current folder is; other addresses unchanged.

    Raises ConfigError for what cannot be an address of MLflow's, before anything is done.
    """
    if not re.match(ADDRESS, uri):
        raise ConfigError(
            f"MLFLOW_TRACKING_URI={uri!r} cannot be used; give sqlite:///mlflow.db or http://HOST:PORT"
        )
    if not uri.startswith(SQLITE):
        return uri
    return SQLITE + Path(uri.removeprefix(SQLITE)).absolute().as_posix()


def artifact_location(uri: str) -> str | None:
    """Where a new experiment keeps files: `mlartifacts` beside an SQLite file; a server knows its own."""
    path = _database_path(uri)
    return (path.parent / "mlartifacts").as_uri() if path else None


def is_wrong_request(error: Exception) -> bool:
    """Whether MLflow answered, and asking again cannot help."""
    return getattr(error, "error_code", "") in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}


def without_credentials(uri: str) -> str:
    """An address that may be shown and kept: `http://user:password@host` becomes `http://host`."""
    return re.sub(r"^([\w.+-]+://)[^/]*@", r"\1", uri)


def one_line(error: Exception) -> str:
    """What an error says, short enough for one line."""
    text = " ".join(str(error).split())
    if "Max retries exceeded" in text:
        return "it cannot be reached"
    return textwrap.shorten(text, 200, placeholder=" ...") or type(error).__name__


def import_mlflow() -> ModuleType:
    """Import MLflow, with its telemetry off unless the user has chosen."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow
    except ModuleNotFoundError as error:
        raise MissingExtraError("train", "mlflow") from error
    return cast(ModuleType, mlflow)


def _create_database(uri: str, create: bool) -> None:
    """Make a missing SQLite file elsewhere and move it into place, whole.

    MLflow takes seconds to bring a new file up to its schema. A kill in between, or a second run that
    starts meanwhile, leaves one that it refuses for ever.
    """
    path = _database_path(uri)
    if path is None or path.exists():
        return
    if not create:
        raise TrackingError(f"there is no database {path}; go to its folder or set MLFLOW_TRACKING_URI")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        made = Path(temporary, "new.db")
        import_mlflow().MlflowClient(tracking_uri=f"{SQLITE}{made.as_posix()}").search_experiments()
        whole = path.with_name(f".{path.name}.{os.getpid()}")
        with (
            contextlib.closing(sqlite3.connect(made)) as source,
            contextlib.closing(sqlite3.connect(whole)) as target,
        ):
            source.backup(target)
    try:
        os.link(whole, path)  # unlike a move, it leaves the file of a run that was quicker
    except OSError:
        if not path.exists():  # a file system without links
            whole.rename(path)
    finally:
        whole.unlink(missing_ok=True)


def _database_path(uri: str) -> Path | None:
    """The file of an SQLite address, None for others."""
    if not uri.startswith(SQLITE):
        return None
    return Path(unquote(uri.removeprefix(SQLITE).partition("?")[0]))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Give the loggers that talk their levels back at the end, and show no warnings until then."""
    levels = {name: logging.getLogger(name).level for name in NOISY_LOGGERS}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Set what is not set, and put everything back at the end, MLFLOW_TRACKING_URI too."""
    before = {name: os.environ.get(name) for name in (*settings, "MLFLOW_TRACKING_URI")}
    os.environ.update({name: value for name, value in settings.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

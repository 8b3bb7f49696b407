"""What a training run tells, noted first and sent after.

Sending is one code path for a run in progress, for `melanoma train --resume` and for `melanoma track sync`.
"""

import hashlib
import json
import os
import shlex
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from melanoma.errors import RunError
from melanoma.tracking.connection import absolute_uri, default_tracking_uri, one_line, without_credentials
from melanoma.tracking.journal import Journal, Progress
from melanoma.tracking.sender import SyncResult, send_journal

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
Say = Callable[[str], None]
TRAINING_TIMEOUT, SYNC_TIMEOUT = 10, 60  # seconds that one request may hang


class Tracker:
    """Notes what a training run has to tell and sends it to MLflow when `send` or `finish` is called.

    Without `tracking_uri`: MLFLOW_TRACKING_URI, else where the run was first sent, else `mlflow.db` in the
    current folder. Sending never raises: the first failure is said once, and only `finish` tries again.
    Noting raises OutputError when the run folder cannot be written. Raises RunError on a damaged journal.
    """

    def __init__(
        self,
        run_folder: Path,
        *,
        run_name: str,
        say: Say,
        experiment: str = "melanoma",
        tracking_uri: str | None = None,
    ) -> None:
        self._folder = run_folder
        self._say = say
        self._journal = Journal.open(run_folder)
        self._uri = _where(self._journal, tracking_uri)
        self._failed = self._told = False
        start = {
            "run_key": uuid.uuid4().hex,
            "run_name": run_name,
            "experiment": experiment,
            "tracking_uri": without_credentials(self._uri),
        }
        self._journal.append("run", start, key="run")
        self._status("RUNNING")

    @property
    def tracking_uri(self) -> str:
        """Where it sends, with credentials if there are any."""
        return self._uri

    def params(self, values: Mapping[str, object]) -> None:
        """Note parameters; a value that was noted before cannot change."""
        self._note_once("params", {name: str(value) for name, value in values.items()})

    def tags(self, values: Mapping[str, object]) -> None:
        """Note tags; the last value of a tag counts."""
        self._note_once("tags", {name: str(value) for name, value in values.items()})

    def metrics(self, values: Mapping[str, float | None], step: int, key: str) -> None:
        """Note one point of each metric, None left out; the first call with this `key` counts."""
        numbers = {name: float(value) for name, value in values.items() if value is not None}
        self._journal.append("metrics", {"values": numbers, "step": step}, key=f"metrics/{key}")

    def dataset(self, name: str, digest: str, context: str, source: str, **profile: int) -> None:
        """Note a dataset used as `context` (train, val, test); `profile` holds counts such as n_rows."""
        payload = {"name": name, "digest": digest, "context": context, "source": source, "profile": profile}
        self._note_once("dataset", payload)

    def artifact(self, path: Path, artifact_path: str | None = None) -> None:
        """Note a file or folder; its content is read when it is sent, so it must stay."""
        self._note_once("artifact", {"path": self._relative(path), "artifact_path": artifact_path})

    def bundle(self, folder: Path, metrics: Mapping[str, float], *, register: bool) -> None:
        """Note the bundle as a pyfunc model with its final `metrics`, and as a new version if `register`."""
        numbers = {name: float(value) for name, value in metrics.items()}
        payload = {"path": self._relative(folder), "metrics": numbers, "register": register}
        self._journal.append("bundle", payload, key="bundle")

    def finish(self, status: Status) -> None:
        """Note how the run ended and try to send all that is left, also after a failure."""
        self._status(status)
        self._failed = False
        self.send()

    def send(self) -> None:
        """Send what is not yet sent, unless an earlier try failed; a failure is said once."""
        if self._failed:
            return
        try:
            result = send_journal(self._folder, self._journal, self._uri, TRAINING_TIMEOUT)
        except Exception as error:
            self._failed = True
            self._tell(error)
        else:
            for line in result.refused:
                self._say(line)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            retry = shlex.join(["melanoma", "track", "sync", str(self._folder)])
            self._say(f"{one_line(error)}; nothing is lost, send it later with: {retry}")
        self._told = True

    def _note_once(self, kind: str, payload: dict[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
        self._journal.append(kind, payload, key=f"{kind}/{digest[:16]}")

    def _status(self, status: Status) -> None:
        noted = [entry.payload["status"] for entry in self._journal.entries() if entry.kind == "status"]
        if noted[-1:] != [status]:
            self._journal.append("status", {"status": status})

    def _relative(self, path: Path) -> str:
        """Relative inside the run folder, so that the folder may move before it is sent."""
        path, folder = path.absolute(), self._folder.absolute()
        return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def sync(run_folder: Path) -> SyncResult:
    """Send what a run has noted and not yet sent, to MLFLOW_TRACKING_URI or where the run belongs.

    Raises RunError when the folder holds nothing to send, TrackingError when MLflow cannot be reached.
    """
    journal = Journal.open(run_folder)
    if not journal.entries():
        raise RunError(f"{run_folder} has no tracking journal; give a folder that melanoma train has made")
    return send_journal(run_folder, journal, _where(journal), SYNC_TIMEOUT)


def run_id_of(run_folder: Path) -> str:
    """What MLflow calls a run; empty while nothing was sent."""
    state = Progress.load(run_folder)
    return state.run_id if state else ""


def run_address(run_folder: Path) -> str:
    """Where a run can be seen: a page, or the command that opens one; empty while nothing was sent."""
    state = Progress.load(run_folder)
    if state is None:
        return ""
    if state.tracking_uri.startswith("http"):
        return f"{state.tracking_uri.rstrip('/')}/#/experiments/{state.experiment_id}/runs/{state.run_id}"
    return shlex.join(["mlflow", "ui", "--backend-store-uri", state.tracking_uri])


def _where(journal: Journal, tracking_uri: str | None = None) -> str:
    """The first of: what the caller says, MLFLOW_TRACKING_URI, where this journal began, the default."""
    entries = journal.entries()
    began = entries[0].payload["tracking_uri"] if entries else None
    chosen = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or began
    return absolute_uri(chosen) if chosen else default_tracking_uri(Path.cwd())

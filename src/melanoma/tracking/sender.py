"""Sends a run's journal to MLflow.

A point that is sent twice stands in MLflow once, because its time comes from the journal and MLflow's
stores drop an identical (name, time, step, value); runs, models and versions are looked for before they
are made. So it does no harm to be killed between sending an entry and saving that it was sent.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from melanoma.errors import TrackingError
from melanoma.tracking.connection import artifact_location, one_line, open_client, without_credentials
from melanoma.tracking.journal import Entry, Journal, Progress
from melanoma.tracking.registry import MODEL_NAME, save_pyfunc

RUN_TAG = "melanoma.run_key"
ENTRY_TAG = "melanoma.entry"
BATCH = 100  # MLflow refuses more parameters or tags in one request
DIGEST_LENGTH = 36  # and longer dataset digests
Point = tuple[str, float, int, int]  # name, value, time, step


@dataclass(frozen=True, slots=True)
class SyncResult:
    """`sent`: how many entries were sent now; `refused`: one line for each that MLflow will never take."""

    sent: int
    refused: tuple[str, ...]


def send_journal(folder: Path, journal: Journal, uri: str, timeout: int) -> SyncResult:
    """Send what is left of a run folder's journal; `timeout` in seconds, for one request.

    One sender at a time: another one waits. Raises TrackingError when MLflow cannot take it now.
    """
    with FileLock(folder / ".tracking.lock"), open_client(uri, timeout) as client:
        return _Sender(client, folder, journal, uri).send()


class _RefusedError(Exception):
    """An entry that can never be sent; the rest can."""


class _Sender:
    """Sends the entries of one journal to one server, in order."""

    def __init__(self, client: Any, folder: Path, journal: Journal, uri: str) -> None:
        self._client = client
        self._folder = folder
        self._entries = journal.entries()
        self._start: dict[str, str] = self._entries[0].payload
        self._uri = uri
        self._state = self._connect()

    def send(self) -> SyncResult:
        """Send all entries that are left; the state is saved after each."""
        refused: list[str] = []
        left = self._entries[self._state.sent :]
        for entry in left:
            try:
                getattr(self, f"_send_{entry.kind}")(entry)
            except Exception as error:
                if not _is_refusal(error):
                    raise
                self._state.refused[str(entry.seq)] = one_line(error)
                refused.append(f"MLflow refused {entry.key or entry.kind}: {one_line(error)}")
            self._state.sent = entry.seq + 1
            self._state.save(self._folder)
        return SyncResult(len(left), tuple(refused))

    def _connect(self) -> Progress:
        """The state of this journal at this server, its run found or made."""
        run_key, uri = self._start["run_key"], without_credentials(self._uri)
        state = Progress.load(self._folder)
        known = state is not None and (state.run_key, state.tracking_uri) == (run_key, uri)
        if state is None or not known or not self._has_run(state.run_id):
            experiment_id = self._experiment_id(self._start["experiment"])
            run_id = self._find_or_create_run(experiment_id)
            state = Progress(run_key, uri, experiment_id, run_id)
            state.save(self._folder)
        return state

    def _has_run(self, run_id: str) -> bool:
        try:
            run = self._client.get_run(run_id)
        except Exception as error:
            if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        if run.info.lifecycle_stage != "active":
            raise TrackingError(f"run {run_id} was deleted in MLflow; restore it there to send more to it")
        return True

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            with _already_there_is_fine():
                self._client.create_experiment(name, artifact_location=artifact_location(self._uri))
            found = self._client.get_experiment_by_name(name)
        return cast(str, found.experiment_id)

    def _find_or_create_run(self, experiment_id: str) -> str:
        from mlflow.entities import ViewType

        key = self._start["run_key"]
        found = self._client.search_runs([experiment_id], f"tags.`{RUN_TAG}` = '{key}'", ViewType.ALL)
        if found:
            run_id = cast(str, found[0].info.run_id)
            self._has_run(run_id)
            return run_id
        tags = {RUN_TAG: key, "mlflow.source.name": "melanoma train", "mlflow.source.type": "LOCAL"}
        name, started = self._start["run_name"], self._entries[0].time
        run = self._client.create_run(experiment_id, start_time=started, tags=tags, run_name=name)
        return cast(str, run.info.run_id)

    def _send_run(self, entry: Entry) -> None:
        """Nothing is left to do: connecting has made the run."""

    def _send_status(self, entry: Entry) -> None:
        run_id, status = self._state.run_id, entry.payload["status"]
        if status == "RUNNING":
            self._client.update_run(run_id, status=status)
        else:
            self._client.set_terminated(run_id, status=status, end_time=entry.time)

    def _send_params(self, entry: Entry) -> None:
        from mlflow.entities import Param

        params = [Param(_allowed(name), value) for name, value in entry.payload.items()]
        for first in range(0, len(params), BATCH):
            self._client.log_batch(self._state.run_id, params=params[first : first + BATCH])

    def _send_tags(self, entry: Entry) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(_allowed(name), value) for name, value in entry.payload.items()]
        for first in range(0, len(tags), BATCH):
            self._client.log_batch(self._state.run_id, tags=tags[first : first + BATCH])

    def _send_metrics(self, entry: Entry) -> None:
        values, step = entry.payload["values"], entry.payload["step"]
        self._log_points([(name, value, entry.time, step) for name, value in values.items()])

    def _log_points(self, points: Iterable[Point], model_id: str | None = None) -> None:
        from mlflow.entities import Metric

        run_id = self._state.run_id
        metrics = [
            Metric(_allowed(name), value, time, step, model_id=model_id, run_id=run_id)
            for name, value, time, step in points
        ]
        self._client.log_batch(run_id, metrics=metrics)

    def _send_dataset(self, entry: Entry) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        values = entry.payload
        # MLflow keeps one context for a (name, digest), so that the context is made part of the name.
        dataset = Dataset(
            name=f"{values['name']} {values['context']}",
            digest=values["digest"][:DIGEST_LENGTH],
            source_type="local",
            source=json.dumps({"uri": values["source"], "digest": values["digest"]}),
            profile=json.dumps(values["profile"]),
        )
        context = InputTag("mlflow.data.context", values["context"])
        self._client.log_inputs(self._state.run_id, datasets=[DatasetInput(dataset, [context])])

    def _send_artifact(self, entry: Entry) -> None:
        path, target = self._existing(entry), entry.payload["artifact_path"]
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        log(self._state.run_id, str(path), target)

    def _send_bundle(self, entry: Entry) -> None:
        from mlflow.entities import LoggedModelOutput

        bundle, run_id = self._existing(entry), self._state.run_id
        model_id = self._find_or_log_model(entry, bundle)
        outputs = self._client.get_run(run_id).outputs
        if model_id not in [output.model_id for output in outputs.model_outputs]:
            self._client.log_outputs(run_id, models=[LoggedModelOutput(model_id, step=0)])
        self._log_points([self._point(entry, *item) for item in entry.payload["metrics"].items()], model_id)
        if entry.payload["register"]:
            self._register(model_id)

    def _point(self, entry: Entry, name: str, value: float) -> Point:
        """A model's figure at the time and step where the run has it: MLflow shows it in the run too."""
        for earlier in reversed(self._entries[: entry.seq]):
            if earlier.kind == "metrics" and earlier.payload["values"].get(name) == value:
                return name, value, earlier.time, earlier.payload["step"]
        return name, value, entry.time, 0

    def _find_or_log_model(self, entry: Entry, bundle: Path) -> str:
        tag, experiment_id = f"{self._start['run_key']}-{entry.seq}", self._state.experiment_id
        found = self._client.search_logged_models([experiment_id], f"tags.`{ENTRY_TAG}` = '{tag}'")
        model = (
            found[0]
            if found
            else self._client.create_logged_model(
                experiment_id, name=MODEL_NAME, source_run_id=self._state.run_id, tags={ENTRY_TAG: tag}
            )
        )
        if str(model.status) != "READY":  # new, or killed within the upload
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary, "model")
                save_pyfunc(bundle, folder, model, self._state.run_id)
                self._client.log_model_artifacts(model.model_id, str(folder))
            self._client.finalize_logged_model(model.model_id, "READY")
        return cast(str, model.model_id)

    def _register(self, model_id: str) -> None:
        with _already_there_is_fine():
            self._client.create_registered_model(MODEL_NAME)
        run_id, source = self._state.run_id, f"models:/{model_id}"
        versions = self._client.search_model_versions(f"name = '{MODEL_NAME}' and run_id = '{run_id}'")
        if source not in [version.source for version in versions]:
            self._client.create_model_version(MODEL_NAME, source, run_id=run_id, model_id=model_id)

    def _existing(self, entry: Entry) -> Path:
        path = self._folder / str(entry.payload["path"])
        if not path.exists():
            raise _RefusedError(f"{path} is no longer there")
        return path


def _allowed(name: str) -> str:
    """A name that MLflow takes; sources that the user named may hold other characters."""
    return re.sub(r"[^/\w.\- :]", "_", name)


def _is_refusal(error: Exception) -> bool:
    """Whether MLflow will never take this entry, while it may take the next."""
    too_large = getattr(getattr(error, "response", None), "status_code", None) == 413
    refused = getattr(error, "error_code", "") == "INVALID_PARAMETER_VALUE"
    return isinstance(error, _RefusedError) or too_large or refused


@contextlib.contextmanager
def _already_there_is_fine() -> Iterator[None]:
    """Two runs may make the same thing at once; whoever comes second uses the first one's."""
    try:
        yield
    except Exception as error:
        if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
            raise

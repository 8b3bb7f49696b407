import contextlib
import json
import math
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import melanoma
from melanoma.errors import BundleError, ConfigError, RunError, TrackingError
from melanoma.inference.prediction import Prediction
from melanoma.tracking import (
    Tracker,
    default_tracking_uri,
    fetch_bundle,
    promote,
    run_address,
    sync,
    system_metrics,
)
from melanoma.tracking.connection import open_client, without_credentials
from melanoma.tracking.journal import Journal, Progress

NOWHERE = "http://127.0.0.1:1"  # a port that nothing listens on


class Server:
    """A real `mlflow server` on loopback that can be killed and started again at the same address."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={self.port}"]
        command += ["--workers=1", f"--backend-store-uri=sqlite:///{self.folder}/server.db"]
        command += [f"--artifacts-destination={self.folder}/artifacts"]
        off = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=os.environ | off, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 90
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((self.folder / "log").read_text()[-2000:])
            time.sleep(0.1)

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while self.answers():
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('database of 皮膚')}/mlflow.db"


@pytest.fixture(params=["database", pytest.param("server", marks=pytest.mark.slow)])
def store(request):
    found = request.getfixturevalue(request.param)
    return found if request.param == "database" else found.uri


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run 1 皮膚 'x'"
    (folder / "bundle").mkdir(parents=True)
    (folder / "bundle" / "bundle.json").write_text('{"format": 1}')
    (folder / "bundle" / "network.tflite").write_bytes(b"network")
    (folder / "plots").mkdir()
    (folder / "plots" / "roc ü.svg").write_text("<svg/>")
    (folder / "recipe.yaml").write_text("name: tiny\n")
    return folder


@pytest.fixture
def said():
    return []


@pytest.fixture
def start(run_folder, said, request):
    """Makes the tracker of a new or resumed run; each test has an experiment of its own."""

    def make(uri, folder=run_folder):
        experiment = request.node.name
        return Tracker(folder, run_name="tiny 皮膚", say=said.append, experiment=experiment, tracking_uri=uri)

    return make


def note_epoch(tracker, number):
    tracker.metrics({"loss": 1 / number, "val/auroc": 0.5, "nothing": None}, number, key=f"epoch/{number}")


def note_all(tracker, folder, *, register=True):
    tracker.params({f"recipe.{number}": number for number in range(150)})
    tracker.tags({"git": "abc"})
    for context in ("train", "test"):
        tracker.dataset("melanoma10k", "sha256:" + "a" * 64, context, "/data/melanoma10k", n_rows=12)
    for number in (1, 2, 3):
        note_epoch(tracker, number)
    figures = {"test/a&b/accuracy": 0.9, "undefined": math.nan, "test_auroc": 0.75}
    tracker.metrics(figures, 3, key="final")
    tracker.artifact(folder / "recipe.yaml")
    tracker.artifact(folder / "plots", "plots")
    tracker.bundle(folder / "bundle", {"test_auroc": 0.75, "size": 5}, register=register)


def runs(client, experiment):
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id]) if found else []


def points(client, run_id, name):
    return [(point.step, point.value) for point in client.get_metric_history(run_id, name)]


def assert_all_arrived_once(uri, experiment):
    with open_client(uri, 10) as client:
        (run,) = runs(client, experiment)
        run_id = run.info.run_id
        assert points(client, run_id, "loss") == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
        assert points(client, run_id, "val/auroc") == [(1, 0.5), (2, 0.5), (3, 0.5)]
        assert points(client, run_id, "test_auroc") == [(3, 0.75)]
        assert points(client, run_id, "size") == [(0, 5.0)]
        assert points(client, run_id, "test/a_b/accuracy") == [(3, 0.9)]
        assert points(client, run_id, "nothing") == []
        assert [math.isnan(value) for _, value in points(client, run_id, "undefined")] == [True]
        assert run.info.run_name == "tiny 皮膚"
        assert run.info.status == "FINISHED"
        assert len(run.data.params) == 150
        assert run.data.tags["git"] == "abc"
        inputs = {item.dataset.name: item for item in run.inputs.dataset_inputs}
        assert set(inputs) == {"melanoma10k train", "melanoma10k test"}
        for context in ("train", "test"):
            item = inputs[f"melanoma10k {context}"]
            assert [tag.value for tag in item.tags] == [context]
            assert json.loads(item.dataset.source)["digest"] == "sha256:" + "a" * 64
            assert json.loads(item.dataset.profile) == {"n_rows": 12}
        assert [item.path for item in client.list_artifacts(run_id)] == ["plots", "recipe.yaml"]
        assert [item.path for item in client.list_artifacts(run_id, "plots")] == ["plots/roc ü.svg"]
        (model,) = client.search_logged_models([run.info.experiment_id])
        assert str(model.status) == "READY"
        assert {point.key: point.value for point in model.metrics} == {"test_auroc": 0.75, "size": 5.0}
        assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
        (version,) = client.search_model_versions(f"run_id = '{run_id}'")
        assert version.source == f"models:/{model.model_id}"
        return version.version


def test_everything_arrives_once(store, start, run_folder, said, request):
    tracker = start(store)
    note_all(tracker, run_folder)
    tracker.send()
    note_all(tracker, run_folder)  # as a resumed run does
    tracker.finish("FINISHED")
    assert said == []
    assert_all_arrived_once(store, request.node.name)
    assert sync(run_folder).sent == 0


@pytest.mark.slow
def test_a_server_that_dies_is_told_once_and_sent_what_it_missed(server, start, run_folder, said, request):
    tracker = start(server.uri)
    note_epoch(tracker, 1)
    tracker.send()
    server.kill()
    began = time.monotonic()
    for number in (2, 3):
        note_epoch(tracker, number)
        tracker.send()
    note_all(tracker, run_folder)
    tracker.finish("FINISHED")
    assert time.monotonic() - began < 5
    assert len(said) == 1
    assert "it cannot be reached" in said[0]
    assert said[0].endswith(shlex.join(["melanoma", "track", "sync", str(run_folder)]))
    with pytest.raises(TrackingError, match="it cannot be reached"):
        sync(run_folder)

    server.start()
    assert sync(run_folder).sent > 5
    assert_all_arrived_once(server.uri, request.node.name)
    assert sync(run_folder).sent == 0
    assert run_address(run_folder).startswith(f"{server.uri}/#/experiments/")


@pytest.mark.slow
def test_a_run_can_be_sent_to_another_server(database, server, start, run_folder, monkeypatch):
    tracker = start(database)
    note_all(tracker, run_folder)
    tracker.finish("FINISHED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    sync(run_folder)
    assert_all_arrived_once(server.uri, "test_a_run_can_be_sent_to_another_server")


@pytest.mark.parametrize("lost", ["older", "all"])
def test_a_kill_before_the_state_is_saved_doubles_nothing(store, start, run_folder, request, lost):
    tracker = start(store)
    note_epoch(tracker, 1)
    tracker.send()
    state = run_folder / "tracking-state.json"
    older = state.read_bytes()
    note_all(tracker, run_folder)
    tracker.finish("FINISHED")
    if lost == "older":
        state.write_bytes(older)
    else:
        state.unlink()
    assert sync(run_folder).sent > 5
    assert_all_arrived_once(store, request.node.name)


class Killed(BaseException):
    """Stands for `kill -9`: no handler of the package may catch it."""


def test_a_kill_after_any_call_to_mlflow_doubles_nothing(database, start, run_folder, monkeypatch, request):
    import mlflow

    class Mortal:
        def __init__(self, client, calls):
            self.client, self.left = client, calls

        def __getattr__(self, name):
            method = getattr(self.client, name)

            def call(*args, **kwargs):
                result = method(*args, **kwargs)
                self.left -= 1
                if self.left == 0:
                    raise Killed
                return result

            return call

    real = mlflow.MlflowClient
    note_all(start(database), run_folder)
    kills = 0
    for calls in range(1, 100):
        monkeypatch.setattr(mlflow, "MlflowClient", lambda calls=calls, **uri: Mortal(real(**uri), calls))
        try:
            start(database).finish("FINISHED")
            break
        except Killed:
            kills += 1
    monkeypatch.undo()
    assert kills > 5
    assert_all_arrived_once(database, request.node.name)


def test_a_resumed_run_is_running_again(database, start, request):
    start(database).finish("KILLED")
    resumed = start(database)
    resumed.send()
    with open_client(database, 10) as client:
        assert [run.info.status for run in runs(client, request.node.name)] == ["RUNNING"]
    resumed.finish("FINISHED")
    with open_client(database, 10) as client:
        assert [run.info.status for run in runs(client, request.node.name)] == ["FINISHED"]


def test_what_mlflow_refuses_is_said_and_the_rest_goes_on(database, start, run_folder, said, request):
    tracker = start(database)
    tracker.params({"a": 1})
    tracker.params({"a": 2})
    tracker.artifact(run_folder / "gone.svg")
    note_epoch(tracker, 1)
    tracker.finish("FINISHED")
    assert len(said) == 2
    assert "Changing param values is not allowed" in said[0]
    assert "gone.svg is no longer there" in said[1]
    with open_client(database, 10) as client:
        (run,) = runs(client, request.node.name)
        assert points(client, run.info.run_id, "loss") == [(1, 1.0)]
        assert run.data.params == {"a": "1"}


def test_a_run_that_was_deleted_in_mlflow_is_named(database, start, run_folder, said, request):
    tracker = start(database)
    tracker.send()
    with open_client(database, 10) as client:
        client.delete_run(runs(client, request.node.name)[0].info.run_id)
    note_epoch(tracker, 1)
    tracker.send()
    assert len(said) == 1
    assert "deleted in MLflow; restore it" in said[0]
    (run_folder / "tracking-state.json").unlink()
    with pytest.raises(TrackingError, match="restore it"):
        sync(run_folder)


def test_a_state_of_another_journal_is_not_used(database, start, run_folder, request):
    start(database).finish("FINISHED")
    (run_folder / "tracking.jsonl").unlink()
    start(database).finish("FINISHED")
    with open_client(database, 10) as client:
        assert len(runs(client, request.node.name)) == 2


def test_only_promote_moves_an_alias(store, start, run_folder, tmp_path):
    from mlflow.exceptions import MlflowException

    def register(name):
        folder = shutil.copytree(run_folder, tmp_path / name)
        (folder / "bundle" / "network.tflite").write_text(name)
        tracker = start(store, folder)
        tracker.bundle(folder / "bundle", {}, register=True)
        tracker.finish("FINISHED")
        with open_client(store, 10) as client:
            run_id = Progress.load(folder).run_id
            return client.search_model_versions(f"run_id = '{run_id}'")[0].version

    def champion():
        with open_client(store, 10) as client:
            try:
                return client.get_model_version_by_alias("melanoma", "test-champion").version
            except MlflowException:
                return None

    first = register("first")
    assert champion() is None
    promote(str(first), alias="test-champion", tracking_uri=store)
    second = register("second")
    assert champion() == first
    for wrong in ("999", "abc", ""):
        with pytest.raises(RunError, match="cannot promote version"):
            promote(wrong, alias="test-champion", tracking_uri=store)
    with pytest.raises(RunError, match="latest"):
        promote(str(second), alias="latest", tracking_uri=store)
    assert champion() == first

    cache = tmp_path / "cache ü"
    assert network(fetch_bundle("models:/melanoma@test-champion", cache, tracking_uri=store)) == "first"
    promote(str(second), alias="test-champion", tracking_uri=store)
    again = fetch_bundle("models:/melanoma@test-champion", cache, tracking_uri=store)
    assert network(again) == "second"
    assert fetch_bundle(f"models:/melanoma/{second}", cache, tracking_uri=store) == again
    assert sorted(path.name for path in again.iterdir()) == ["bundle.json", "network.tflite"]
    assert len(list(cache.iterdir())) == 2


def network(bundle):
    return (bundle / "network.tflite").read_text()


def test_a_model_that_is_not_there_is_named(database, tmp_path):
    for wrong in ("models:/melanoma", "runs:/abc/model", "models:/melanoma/latest", "models:/a/b/1"):
        with pytest.raises(BundleError, match="write models:/name@alias"):
            fetch_bundle(wrong, tmp_path, tracking_uri=database)
    for missing in ("models:/melanoma@nobody", "models:/melanoma/999", "models:/other/1"):
        with pytest.raises(BundleError, match=f"MLflow has no {missing}"):
            fetch_bundle(missing, tmp_path, tracking_uri=database)
    with pytest.raises(TrackingError, match="it cannot be reached"):
        fetch_bundle("models:/melanoma/1", tmp_path, tracking_uri=NOWHERE)
    with pytest.raises(TrackingError, match="it cannot be reached"):
        promote("1", tracking_uri=NOWHERE)


class FakePredictor:
    def __init__(self, folder):
        self.folder = Path(folder)

    def predict(self, image):
        assert (self.folder / "network.tflite").read_bytes() == b"network"
        if image == b"broken":
            return Prediction("", "", "", None, "cannot_assess", "the image cannot be read", "no image", "d")
        return Prediction("", "", "", len(image) / 10, "refer", "", "", "d")


def test_the_logged_model_takes_image_bytes(database, start, run_folder, monkeypatch):
    import pandas as pd

    tracker = start(database)
    tracker.bundle(run_folder / "bundle", {}, register=False)
    tracker.finish("FINISHED")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("melanoma.pyfunc.load_predictor", FakePredictor)
    with open_client(database, 10) as client:
        import mlflow

        experiment_id = Progress.load(run_folder).experiment_id
        (logged,) = client.search_logged_models([experiment_id])
        model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
        result = model.predict(pd.DataFrame({"image": [b"12345", b"broken"]}))
        with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
            model.predict(pd.DataFrame({"picture": [b"12345"]}))
        local = Path(mlflow.artifacts.download_artifacts(f"models:/{logged.model_id}"))
    assert list(result.columns) == ["y_prob", "decision", "reason", "error"]
    assert result["y_prob"][0] == 0.5
    assert math.isnan(result["y_prob"][1])
    assert list(result["decision"]) == ["refer", "cannot_assess"]
    assert [column.name for column in model.metadata.signature.outputs] == list(result.columns)
    assert "tensorflow" not in (local / "requirements.txt").read_text()
    assert_code_stands_alone(local / "code")


def assert_code_stands_alone(code):
    program = f"""
import sys
sys.path.insert(0, {str(code)!r})
import melanoma.pyfunc
print([m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "melanoma"])
print("mlflow" in sys.modules, "tensorflow" in sys.modules)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    files, heavy = done.stdout.splitlines()
    assert all(file.startswith(f"{code}{os.sep}") for file in json.loads(files.replace("'", '"')))
    assert heavy == "False False"


def test_a_server_that_hangs_does_not_stop_training(start, said, monkeypatch):
    monkeypatch.setattr("melanoma.tracking.tracker.TRAINING_TIMEOUT", 1)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(8)
        tracker = start(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        began = time.monotonic()
        for number in range(1, 20):
            note_epoch(tracker, number)
            tracker.send()
        assert time.monotonic() - began < 5
    assert len(said) == 1
    assert "\n" not in said[0]


@pytest.mark.parametrize(
    "uri",
    [NOWHERE, "sqlite:////proc/nowhere/mlflow.db", "http://[x", "sqlite:///d"],
)
def test_no_tracking_address_can_stop_training(start, said, uri, tmp_path, run_folder):
    (tmp_path / "d").write_text("this is no database")
    tracker = start(uri)
    note_epoch(tracker, 1)
    began = time.monotonic()
    tracker.send()
    tracker.finish("FAILED")
    assert time.monotonic() - began < 10
    assert len(said) == 1
    assert len(said[0]) < 600
    assert "\n" not in said[0]
    assert "melanoma track sync" in said[0]
    assert len(Journal.open(run_folder).entries()) == 4


def test_sync_needs_a_run_that_was_tracked(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match="give a folder that melanoma train has made"):
            sync(folder)
    assert run_address(tmp_path) == ""


def test_sending_leaves_the_process_as_it_was(database, start, capfd):
    import logging

    names = ("mlflow", "alembic", "urllib3", "")
    with open_client(database, 10):
        pass
    before = dict(os.environ), [logging.getLogger(name).level for name in names]
    start(database).finish("FINISHED")
    start(NOWHERE).finish("FINISHED")
    assert (dict(os.environ), [logging.getLogger(name).level for name in names]) == before
    assert capfd.readouterr() == ("", "")


def test_what_the_user_has_set_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with open_client(NOWHERE, 5):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ

    assert default_tracking_uri(tmp_path) == f"sqlite:///{tmp_path.as_posix()}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert default_tracking_uri(tmp_path) == "http://host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    assert default_tracking_uri(Path("/elsewhere")) == f"sqlite:///{tmp_path.as_posix()}/mine.db"


def test_a_password_is_neither_kept_nor_shown(start, said, run_folder):
    tracker = start("http://user:sec@ret@127.0.0.1:1/path")
    tracker.finish("FINISHED")
    everything = said[0] + (run_folder / "tracking.jsonl").read_text()
    assert "ret@" not in everything
    assert "http://127.0.0.1:1/path" in everything
    assert without_credentials("sqlite:////home/a@b/mlflow.db") == "sqlite:////home/a@b/mlflow.db"


@pytest.mark.slow
def test_two_first_runs_at_once_are_quiet_and_share_one_database(tmp_path):
    folder = tmp_path / "a b ü 'x' 100% #1"
    folder.mkdir()
    program = """
import os, sys
from pathlib import Path
import melanoma.tracking
assert "mlflow" not in sys.modules
run = Path(sys.argv[1])
run.mkdir()
(run / "a.txt").write_text("a")
tracker = melanoma.tracking.Tracker(run, run_name="x", say=print)
tracker.artifact(run / "a.txt")
tracker.finish("FINISHED")
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PYTHONPATH"] = str(Path(melanoma.__file__).parents[1])
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, name],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for name in ("one", "two")
    ]
    assert [process.communicate()[0] for process in both] == [b"", b""]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(path.name for path in folder.iterdir()) == ["mlartifacts", "mlflow.db", "one", "two"]
    assert [path.name for path in folder.glob("mlartifacts/*/artifacts/*")] == ["a.txt", "a.txt"]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_kill_while_the_database_is_made_leaves_none(start, tmp_path, monkeypatch, said):
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"

    def die(self):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.search_experiments", die)
        with pytest.raises(Killed):
            start(uri).send()
    assert list((tmp_path / "new").iterdir()) == []


def test_system_metrics_are_named_as_mlflow_shows_them(tmp_path):
    system_metrics(tmp_path)
    values = system_metrics(tmp_path)
    assert all(name.startswith("system/") for name in values)
    assert all(0 <= value <= 100 for name, value in values.items() if name.endswith("percentage"))
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    assert values["system/process_memory_megabytes"] == pytest.approx(resident, rel=0.2)


@pytest.mark.parametrize("address", ["nonsense", "nonsense://x", "file:///tmp/mlruns", "mlruns", "./mlruns"])
def test_an_address_that_mlflow_cannot_use_is_refused_at_once(tmp_path, monkeypatch, address):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        Tracker(tmp_path, run_name="x", say=print)

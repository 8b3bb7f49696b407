"""One tiny run, looked at from all sides, and what a run refuses."""

import errno
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from conftest import draw, require_extra, write_images

require_extra("tensorflow", "train")

from typer.testing import CliRunner

from melanoma import run_images, runs
from melanoma.cli.app import app
from melanoma.config import load_recipe, parse_recipe
from melanoma.data import manifest as manifests
from melanoma.data.synthetic import NOTICE, write_collection
from melanoma.errors import ConfigError, ManifestError, OutputError, RunError, SplitError
from melanoma.inference import bundle as bundles
from melanoma.inference import results
from melanoma.inference.calibration import Calibration
from melanoma.inference.predictor import load_predictor
from melanoma.inference.preprocessing import prepare
from melanoma.listener import Listener
from melanoma.run_images import Request
from melanoma.training import export as exporting
from melanoma.training import fit as fitting

RECIPE = parse_recipe(
    {
        "name": "tiny",
        "input": {"size": 32},
        "training": {"epochs": 2, "batch_size": 16},
        "splits": {"val": 0.25, "calibration": 0.25},
        "evaluation": {"resamples": 100},
    },
    "test",
)


class Heard(Listener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory):
    """Images, and MLflow and cache in a folder of their own; the current folder for this module."""
    root = tmp_path_factory.mktemp("runs")
    write_images(root / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        patch.setenv("MELANOMA_CACHE", str(root / "cache"))
        patch.chdir(root)
        yield root


@pytest.fixture(scope="module")
def finished(workplace) -> runs.Result:
    heard = Heard()
    result = runs.start(Request(sources=["images"], seed=3), RECIPE, workplace / "runs" / "finished", heard)
    assert any("32 melanoma" in line for line in heard.lines)
    return result


def test_the_run_folder_holds_everything(finished):
    names = {path.name for path in finished.folder.iterdir()}
    expected = {"recipe.yaml", "run.json", "manifest.csv", "manifest.digest", "splits.csv", "history.csv"}
    assert names >= expected | {"checkpoints", "model.keras", "bundle", "evaluation", "tracking.jsonl"}
    assert {name for name in names if name.startswith(".")} <= {".lock", ".tracking.lock"}
    assert len(pd.read_csv(finished.folder / "history.csv")) == 2
    facts = json.loads((finished.bundle / "bundle.json").read_text())["facts"]
    assert facts["manifest_digest"] == (finished.folder / "manifest.digest").read_text().strip()
    assert facts["images"] == {"calibration": 12, "test": 16, "train": 24, "val": 12}
    assert facts["seed"] == 3


def test_the_bundle_says_how_often_it_was_right(finished):
    (result,) = results.read(bundles.load(finished.bundle))
    test = finished.reports[-1]
    assert (result["name"], result["n_melanoma"], result["n_other"]) == (
        "test",
        test.n_melanoma,
        test.n_other,
    )
    assert result["figures"]["sensitivity"]["value"] == test.figures["sensitivity"].value


def test_the_runs_own_look_at_the_test_images_is_the_first_and_stays_one(finished):
    runs.resume(finished.folder)
    (look,) = (json.loads(line) for line in (finished.folder / "test-looks.jsonl").read_text().splitlines())
    assert (look["command"], look["n"], look["splits"]) == ("melanoma train", 16, ["test"])
    assert look["manifest_digest"] == finished.reports[-1].manifest_digest
    command = ["evaluate", "images", "--split", "test", "--bundle", str(finished.bundle), "-o", "looked"]
    result = CliRunner().invoke(app, command)
    assert "looks at test images so far: 2, of exactly these: 2" in result.stdout


def test_given_test_images_are_test_and_nothing_else(finished):
    splits = pd.read_csv(finished.folder / "splits.csv", dtype=str)
    given = splits["image_id"].str.startswith("test/")
    assert (given == (splits["split"] == "test")).all()
    assert given.sum() == 16


def test_evaluation_python_and_command_line_give_the_same_number(finished):
    rows = pd.read_csv(finished.folder / "evaluation" / "predictions.csv")
    rows = rows[rows["dataset"] == "test"].sort_values("path")
    paths = rows["path"].tolist()
    predictor = load_predictor(finished.bundle)
    np.testing.assert_allclose([predictor.predict(path).y_prob for path in paths], rows["y_prob"], atol=1e-6)
    command = ["predict", *paths, "--bundle", str(finished.bundle), "--format", "json"]
    printed = json.loads(CliRunner().invoke(app, command).stdout)
    np.testing.assert_allclose([row["y_prob"] for row in printed], rows["y_prob"], atol=1e-6)
    assert [row["decision"] for row in printed] == rows["decision"].tolist()


def test_calibration_and_operating_point_come_from_the_calibration_images(finished):
    splits = pd.read_csv(finished.folder / "splits.csv", dtype=str)
    chosen = splits[splits["split"] == "calibration"]
    predictor = load_predictor(finished.bundle)
    y_prob = np.array([predictor.predict(path).y_prob for path in chosen["path"]])
    y_true = chosen["image_id"].str.contains("malignant").to_numpy()
    point = predictor.operating_point
    assert (point.n_melanoma, point.n_other) == (6, 6)
    assert point.threshold == pytest.approx(y_prob[y_true].min(), abs=1e-6)
    assert predictor.bundle.calibration.prevalence == 0.5


def test_mlflow_has_parameters_epochs_figures_plots_data_and_the_model(finished, workplace, monkeypatch):
    import mlflow
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{workplace}/mlflow.db")
    run = next(
        run
        for run in client.search_runs([client.get_experiment_by_name("melanoma").experiment_id])
        if run.info.run_name == "finished"
    )
    assert run.info.status == "FINISHED"
    assert run.data.params["training.batch_size"] == "16"
    assert run.data.params["manifest_digest"] == (finished.folder / "manifest.digest").read_text().strip()
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "val_auroc"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == [1, 2]
    for name in ("test_accuracy", "test_auroc", "final_train_accuracy", "final_val_accuracy"):
        assert 0 <= run.data.metrics[name] <= 1
    assert run.data.metrics["test_accuracy"] == finished.reports[-1].figures["accuracy"].value
    assert "system/process_memory_megabytes" in run.data.metrics
    plots = {item.path for item in client.list_artifacts(run.info.run_id, "plots")}
    assert plots == {f"plots/{name}.png" for name in ("history", "roc", "reliability", "confusion")}
    contexts = [item.tags[0].value for item in run.inputs.dataset_inputs]
    assert sorted(contexts) == ["calibration", "test", "train", "val"]
    version = client.search_model_versions("name='melanoma'")[0]
    assert version.aliases == []
    monkeypatch.setattr(sys, "path", list(sys.path))  # MLflow puts the model's own copy of the code first
    mlflow.set_tracking_uri(f"sqlite:///{workplace}/mlflow.db")
    model = mlflow.pyfunc.load_model(f"models:/melanoma/{version.version}")
    assert model.metadata.signature is not None
    image = sorted((workplace / "images" / "test").glob("*/*.png"))[0]
    answer = model.predict(pd.DataFrame({"image": [image.read_bytes()]}))
    expected = load_predictor(finished.bundle).predict(image)
    assert answer["y_prob"][0] == pytest.approx(expected.y_prob, abs=1e-6)
    assert answer["decision"][0] == expected.decision


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(finished, workplace):
    copy = workplace / "runs" / "copy"
    shutil.copytree(finished.folder, copy)
    before = load_predictor(copy / "bundle").digest
    history = (copy / "history.csv").read_bytes()
    result = runs.resume(copy)
    assert (copy / "history.csv").read_bytes() == history
    assert load_predictor(result.bundle).digest == before


def test_export_gives_the_same_network_otherwise_stored(finished, workplace):
    bundle = runs.export(finished.folder, workplace / "small", "int8_weights")
    assert bundle.network.stat().st_size < 0.35 * (finished.bundle / "network.tflite").stat().st_size
    image = sorted((workplace / "images" / "test").glob("*/*.png"))[0]
    small, whole = (
        load_predictor(folder).predict(image).y_prob for folder in (bundle.folder, finished.bundle)
    )
    assert small == pytest.approx(whole, abs=0.1)


@pytest.mark.parametrize("name", ["run.json", "something"])
def test_a_folder_that_holds_something_is_refused(workplace, tmp_path, name):
    folder = tmp_path / "used"
    folder.mkdir()
    (folder / name).touch()
    with pytest.raises(RunError, match="not empty"):
        runs.start(Request(sources=["images"]), RECIPE, folder)


def test_a_network_that_cannot_be_had_leaves_nothing_behind(workplace, tmp_path):
    recipe = load_recipe("original_cnn", ["model.frozen_until=conv2d_9"])
    with pytest.raises(ConfigError, match="has no layer 'conv2d_9'"):
        runs.start(Request([str(workplace / "images")]), recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_in_use_is_refused(finished):
    with FileLock(finished.folder / ".lock"), pytest.raises(RunError, match="in use"):
        runs.resume(finished.folder)


def test_what_is_no_run_cannot_be_resumed(workplace):
    with pytest.raises(RunError, match="no run"):
        runs.resume(workplace / "nowhere")
    assert not (workplace / "nowhere").exists()


@pytest.mark.parametrize("name", ["manifest.digest", "recipe.yaml", "run.json", "splits.csv"])
def test_a_run_folder_that_lost_a_file_names_it(finished, workplace, name):
    copy = workplace / "runs" / f"without {name}"
    shutil.copytree(finished.folder, copy)
    (copy / name).unlink()
    with pytest.raises((RunError, SplitError), match=name):
        runs.resume(copy)


def test_changed_images_are_noticed_at_resume(finished, workplace):
    copy = workplace / "runs" / "changed"
    shutil.copytree(finished.folder, copy)
    request = json.loads((copy / "run.json").read_text())
    write_images(workplace / "others", train=24, test=6)
    (copy / "run.json").write_text(json.dumps({**request, "sources": ["images=others"]}))
    with pytest.raises(RunError, match="changed"):
        runs.resume(copy)


@pytest.fixture
def broken_images(tmp_path) -> Path:
    root = write_images(tmp_path / "bilder 'ü' \"皮\"")
    (root / "train/benign/image_9.png").rename(root / "train/benign/naïve\nmole 9.png")
    (root / "train" / "benign" / "image_0.png").write_bytes(b"no image at all")
    (root / "train" / "malignant" / "image_1.png").write_bytes(b"")
    (root / "test" / "benign" / "image_2.png").write_bytes(
        (root / "test/benign/image_3.png").read_bytes()[:300]
    )
    return root


def test_broken_images_are_left_out_and_listed(broken_images, tmp_path):
    heard = Heard()
    one_epoch = RECIPE.model_copy(update={"training": RECIPE.training.model_copy(update={"epochs": 1})})
    result = runs.start(Request(sources=[str(broken_images)]), one_epoch, tmp_path / "run", heard)
    listed = pd.read_csv(tmp_path / "run" / "left_out.csv")
    names = {Path(path).name for path in listed["path"]}
    assert names == {"image_0.png", "image_1.png", "image_2.png"}
    assert any("3 files are left out" in line for line in heard.lines)
    test = next(report for report in result.reports if report.name == "test")
    assert test.n == 16
    assert test.coverage == 15 / 16


def test_a_damaged_bundle_of_a_run_is_made_again(finished, workplace):
    copy = workplace / "runs" / "damaged"
    shutil.copytree(finished.folder, copy)
    network = copy / "bundle" / "network.tflite"
    network.write_bytes(network.read_bytes()[:-1])
    assert runs.resume(copy).reports[-1].figures == finished.reports[-1].figures


def test_a_full_disk_loses_nothing(finished, workplace, tmp_path, monkeypatch):
    save = fitting.save_checkpoint

    def fill(folder, model, state):
        if state.epoch == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(folder, model, state)

    request = Request(sources=["images"], seed=3)
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "save_checkpoint", fill)
        with pytest.raises(OutputError, match="No space left"):
            runs.start(request, RECIPE, tmp_path / "run")
    runs.resume(tmp_path / "run")
    assert (tmp_path / "run" / "history.csv").read_bytes() == (finished.folder / "history.csv").read_bytes()


def test_strict_refuses_broken_images(broken_images, tmp_path):
    with pytest.raises(ManifestError, match="--strict"):
        runs.start(Request(sources=[str(broken_images)], strict=True), RECIPE, tmp_path / "run")
    (broken_images / "train" / "malignant" / "image_1.png").unlink()  # the empty one, found before decoding
    with pytest.raises(ManifestError, match="--strict: 2 broken images"):
        runs.start(Request(sources=[str(broken_images)], strict=True), RECIPE, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_limit_takes_a_share_of_each_class_and_split(workplace, tmp_path):
    request = Request(sources=["images"], limit=32)
    limited = run_images.limit(manifests.load(request.sources), request)
    counts = limited.table.groupby(["given_split", "y_true"]).size()
    assert counts.tolist() == [4, 4, 12, 12]
    again = run_images.limit(manifests.load(request.sources), request)
    other = run_images.limit(manifests.load(request.sources), replace(request, seed=2))
    assert again.digest == limited.digest != other.digest


def test_a_run_can_be_resumed_from_anywhere(finished, workplace, tmp_path, monkeypatch):
    copy = workplace / "runs" / "elsewhere"
    shutil.copytree(finished.folder, copy)
    monkeypatch.chdir(tmp_path)
    assert runs.resume(copy).reports[-1].figures == finished.reports[-1].figures


def test_a_run_from_a_csv_can_be_resumed(workplace, tmp_path):
    folder = tmp_path / "my=data"
    folder.mkdir()
    paths = sorted((workplace / "images" / "train").glob("*/*.png"))
    rows = pd.DataFrame(
        {"path": [str(path) for path in paths], "label": [path.parent.name for path in paths]}
    )
    rows.to_csv(folder / "dev.csv", index=False)
    rows.head(3).to_csv(folder / "holdout.csv", index=False)
    result = runs.start(Request(sources=[str(folder / "dev.csv")]), RECIPE, tmp_path / "run")
    again = runs.resume(tmp_path / "run")
    assert again.reports[-1].figures == result.reports[-1].figures


def test_figures_from_drawn_images_say_so_everywhere(tmp_path, workplace):
    from mlflow.tracking import MlflowClient

    write_collection(tmp_path / "drawn", n=120, seed=1, size=64)
    request = Request(sources=[str(tmp_path / "drawn")], register=False)
    result = runs.start(request, RECIPE, tmp_path / "drawn-run")
    assert result.notice == NOTICE
    assert NOTICE in result.page.read_text()
    assert load_predictor(result.bundle).bundle.facts["notice"] == NOTICE
    client = MlflowClient(f"sqlite:///{workplace}/mlflow.db")
    found = client.search_runs(
        [client.get_experiment_by_name("melanoma").experiment_id], "attributes.run_name = 'drawn-run'"
    )
    assert found[0].data.tags["mlflow.note.content"] == NOTICE


def test_an_error_of_ours_is_not_called_a_full_disk(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "template.html")

    monkeypatch.setattr(runs.report, "save", fail)
    with pytest.raises(FileNotFoundError):
        runs.start(Request(sources=["images"]), RECIPE, tmp_path / "run")


def test_a_tracking_address_that_cannot_be_is_refused_before_anything(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        runs.start(Request(sources=["images"]), RECIPE, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_the_wrong_way_round_refers_everybody(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "fit_calibration", lambda *_: Calibration(-1.0, 0.3, 0.25, 20))
    heard = Heard()
    result = runs.start(Request(sources=["images"], register=False), RECIPE, tmp_path / "run", heard)
    bundle = bundles.load(result.bundle)
    assert bundle.calibration.transform(np.array([-5.0, 5.0])) == pytest.approx([0.25, 0.25])
    test = result.reports[-1]
    assert (test.figures["sensitivity"].value, test.figures["specificity"].value) == (1, 0)
    assert any("this bundle refers every image" in line for line in heard.lines)


def test_a_calibration_on_hardly_any_images_is_said_everywhere(tmp_path):
    write_images(tmp_path / "few", train=24, test=2)
    heard = Heard()
    result = runs.start(
        Request(sources=[str(tmp_path / "few")], register=False), RECIPE, tmp_path / "run", heard
    )
    words = "Calibrated on 6 melanomas and 6 other lesions, where 10 of each are the least"
    assert result.notice.startswith(words)
    assert words in result.page.read_text()
    bundle = bundles.load(result.bundle)
    assert bundle.notice == bundle.facts["calibration_notice"] == result.notice
    assert any("for a domain check: the bundle will judge any picture" in line for line in heard.lines)


def test_too_few_images_are_one_clear_line(tmp_path):
    write_images(tmp_path / "few", train=2, test=1)
    with pytest.raises((ManifestError, SplitError)) as caught:
        runs.start(Request(sources=[str(tmp_path / "few")]), RECIPE, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_without_mlflow_the_run_ends_well_and_says_so_once(workplace, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nothing listens there
    heard = Heard()
    result = runs.start(Request(sources=["images"]), RECIPE, tmp_path / "run", heard)
    assert result.reports[-1].n == 16
    said = [line for line in heard.lines if "melanoma track sync" in line]
    assert 1 <= len(said) <= 2  # once while training, once more when the last try at the end fails
    assert result.page.exists()


def test_a_saved_model_answers_as_the_bundle_over_200_images_twice(finished, workplace):
    import tensorflow as tf

    runs.export_saved_model(finished.folder, workplace / "saved")
    predictor = load_predictor(finished.bundle, domain_check=False)
    calibration = predictor.bundle.calibration
    pictures = [draw(seed, 40, 50, melanoma=seed % 2 == 1) for seed in range(200)]
    expected = [predictor.run(picture) for picture in pictures]
    rounds = []
    for _ in range(2):
        network = tf.saved_model.load(str(workplace / "saved"))
        rounds.append([network.serve(prepare(p, predictor.bundle.preprocessing)[None]) for p in pictures])
    for answers, again, output in zip(*rounds, expected, strict=True):
        y_prob = calibration.transform(output.logit)
        np.testing.assert_allclose(answers["y_prob"].numpy(), y_prob, atol=1e-4)
        np.testing.assert_allclose(answers["heatmap"].numpy(), output.heatmap, atol=1e-4)
        assert answers["y_prob"].numpy() == again["y_prob"].numpy()
    said = json.loads((workplace / "saved" / "assets.extra" / "melanoma.json").read_text())
    assert said["bundle_digest"] == predictor.digest

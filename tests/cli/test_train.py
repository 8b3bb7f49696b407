"""The training commands as a user runs them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import require_extra, write_images

require_extra("tensorflow", "train")

import keras
from typer.testing import CliRunner

from melanoma.cli.app import app
from melanoma.config import load_recipe
from melanoma.inference import bundle as bundles
from melanoma.training.models import create_model

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from melanoma.cli.main import run; run()"]
TINY = [
    *("--set", "input.size=32", "--set", "training.batch_size=16", "--set", "evaluation.resamples=100"),
    *("--set", "splits.val=0.25", "--set", "splits.calibration=0.25"),
]


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    write_images(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MELANOMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_stops_cleanly_and_resume_goes_on(workplace):
    arguments = ["train", "images", "--run-dir", "run", "--set", "training.epochs=200", *TINY]
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(workplace / "run" / "checkpoints" / "epoch-0002", process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "melanoma train --resume run" in stderr
    assert "Traceback" not in stderr
    recipe = (workplace / "run" / "recipe.yaml").read_text()
    (workplace / "run" / "recipe.yaml").write_text(recipe.replace("epochs: 200", "epochs: 4"))
    done = subprocess.run([*COMMAND, "train", "--resume", "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "epoch 1 done" not in done.stderr
    for word in ("test (16 images): accuracy", "report:", "bundle:", "MLflow:"):
        assert word in done.stdout
    assert (workplace / "mlflow.db").exists()
    assert (workplace / "run" / "bundle" / "bundle.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "give DATA"),
        (["train", "images", "--resume", "run"], "leave DATA out"),
        (["train", "nowhere"], "nowhere"),
        (["train", "images", "--recipe", "resnet"], "original_cnn"),
        (["train", "images", "--set", "training.epoch=1"], "training.epoch"),
        (["train", "images", "--label", "benign"], "--label"),
        (["train", "images", "--groups", "none.csv"], "none.csv"),
        (["train", "images", "--splits", "none.csv"], "none.csv"),
        (["train", "--resume", "nowhere"], "no run"),
        (["train", "--resume", "nowhere", "--set", "a=1", "--no-register"], "leave --set, --no-register out"),
        (["train", "images", "--splits", "s.csv", "--groups", "g.csv"], "or --groups"),
        (["train", "images", "--splits", "s.csv", "--limit", "9"], "leave --limit out"),
        (["split", "images", "--val", "0.9", "--calibration", "0.9"], "leave some for train"),
        (["train", ""], "no such folder or file"),
        (["train", "a=~nobody-of-that-name/images"], "no such folder or file: ~nobody-of-that-name/images"),
        (["evaluate", "images", "--bundle", "nowhere"], "no bundle"),
        (["evaluate", "images", "--split", "val"], "val"),
        (["export", "--run", "nowhere", "-o", "out"], "no run"),
        (["export", "--run", "nowhere", "--format", "onnx", "-o", "out"], "no bundle"),
        (["export", "--run", "a", "--bundle", "b", "--format", "onnx", "-o", "out"], "not both"),
        (["export", "-o", "out"], "give --run"),
        (
            ["export", "--run", "a", "--format", "saved_model", "--quantize", "float16", "-o", "out"],
            "float32",
        ),
        (["export", "--format", "onnx", "-o", "images"], "exists already"),
        (["track", "sync", "images"], "journal"),
        (["models", "summary", "resnet"], "original_cnn"),
        (["split", "images", "-o", "images"], "one of the inputs"),
        (["track", "promote", "1"], "no database"),
    ],
)
def test_a_wrong_call_is_one_clear_line(workplace, arguments, message):
    from melanoma.errors import TrackingError, UserError

    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UserError | TrackingError), result.output
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert [path.name for path in workplace.iterdir()] == ["images"]


def test_split_and_evaluate_write_their_files(workplace):
    assert CliRunner().invoke(app, ["split", "images", "-o", "splits.csv"]).exit_code == 0
    assert "calibration" in (workplace / "splits.csv").read_text()
    bundle = Path(__file__).parents[1] / "fixtures" / "bundle-v1"
    result = CliRunner().invoke(
        app, ["evaluate", "images", "--split", "test", "--bundle", str(bundle), "-o", "out"]
    )
    assert result.exit_code == 0, result.output
    assert "auroc: " in result.stdout
    assert {path.name for path in (workplace / "out").iterdir()} == {
        "evaluation.json",
        "predictions.csv",
        "report.html",
        "test-looks.jsonl",
    }


def test_fine_tuning_goes_on_from_the_shipped_network(workplace):
    """As in docs/how-to/fine-tune.md, with small images and few of them."""
    values = ["model.weights=shipped", "input.size=64", "augmentation.margin=8", "training.epochs=1"]
    values += ["training.draws=64", "optimizer.ema_momentum=0", "optimizer.warmup_epochs=0"]
    values += ["optimizer.learning_rate=0.001", "export.quantize=none"]
    arguments = ["train", "images", "--recipe", "default", "--run-dir", "run", "--no-register", *TINY[2:]]
    for value in values:
        arguments += ["--set", value]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    recipe = load_recipe("run/recipe.yaml")
    begun, trained = create_model(recipe.model, recipe.input), keras.models.load_model("run/model.keras")
    last = [layer.name for layer in begun.layers].index(recipe.model.frozen_until)
    for place, (layer, other) in enumerate(zip(begun.layers, trained.layers, strict=True)):
        same = [np.array_equal(*pair) for pair in zip(layer.get_weights(), other.get_weights(), strict=True)]
        assert all(same) if place <= last else not any(same), layer.name
    shipped, tuned = bundles.load(bundles.default_folder()), bundles.load("run/bundle")
    assert tuned.facts["began_with"] == shipped.digest
    assert set(tuned.facts["sources"]) == {"images", *shipped.facts["sources"]}


def test_models_summary_prints_the_original_network():
    result = CliRunner().invoke(app, ["models", "summary", "original_cnn"])
    assert "Total params: 4,828,481" in result.stdout

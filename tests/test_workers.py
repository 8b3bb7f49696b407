"""One run by several workers, on this machine's devices and on Ray."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from conftest import require_extra, write_images
from ray_nodes import kill_node, list_processes, nodes

require_extra("tensorflow", "train")
require_extra("mlflow", "train")
require_extra("ray", "cluster")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

MELANOMA = [sys.executable, "-c", "from melanoma.cli.main import run; run()"]
RECIPE = """
name: tiny
model: {name: original_cnn}
input: {size: 32}
augmentation: {horizontal_flip: true, noise: 0.05, mixup: 0.2}
optimizer: {name: adamw, weight_decay: 0.01, schedule: cosine, ema_momentum: 0.9}
training:
  {epochs: 10, batch_size: 15, draw: balanced, draws: 70, label_smoothing: 0.05, diagnosis_loss: 0.3, keep: last}
splits: {val: 0.2, calibration: 0.2}
evaluation: {resamples: 100}
"""  # 50 steps, with the losses, the optimiser and the draws of the default recipe; batches of 15 cannot be halved


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    root = tmp_path_factory.mktemp("workers")
    write_images(root / "images", train=60, test=10)
    (root / "images" / "train" / "nevus").mkdir()
    for path in sorted((root / "images" / "train" / "benign").iterdir())[
        ::2
    ]:  # of the others no diagnosis is known
        path.rename(root / "images" / "train" / "nevus" / path.name)
    (root / "tiny.yaml").write_text(RECIPE)
    return root


def train(root: Path, *words: object, **more: object) -> subprocess.CompletedProcess:
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db", "MELANOMA_CACHE": str(root / "cache")}
    command = [*MELANOMA, "train", *map(str, words)]
    options = {"capture_output": True, "text": True, "env": os.environ | tracking}
    return subprocess.run(command, check=False, cwd=root, **options, **more)


def begin(root: Path, run: str, *options: object) -> subprocess.CompletedProcess:
    return train(
        root, "images", "--recipe", "tiny.yaml", "--no-register", "--seed", 2, "--run-dir", run, *options
    )


@pytest.fixture(scope="module")
def alone(workplace):
    done = begin(workplace, "alone")
    assert done.returncode == 0, done.stderr
    return pd.read_csv(workplace / "alone" / "history.csv")


def compare(history: pd.DataFrame, alone: pd.DataFrame) -> None:
    """The same losses within 1e-3, of a training that has learnt something by then."""
    assert alone["val_loss"].iloc[-1] < 0.8 * alone["val_loss"].iloc[0]
    for column in ("loss", "val_loss"):
        assert (history[column] - alone[column]).abs().max() < 1e-3
        assert (history[column] != alone[column]).any()  # numbers are added in another order


@pytest.mark.long
def test_two_processes_on_ray_follow_one(workplace, alone):
    done = begin(workplace, "two", "--workers", 2, "--cluster", "auto")
    assert done.returncode == 0, done.stderr
    compare(pd.read_csv(workplace / "two" / "history.csv"), alone)
    assert "epoch 10 done" in done.stderr
    assert not (workplace / "two" / "checkpoints" / "ray").exists()
    again = train(
        workplace, "--resume", "two"
    )  # nothing is left to train, and the cluster of the run is asked again
    assert again.returncode == 0, again.stderr


def test_two_devices_follow_one(workplace, alone):
    done = begin(workplace, "devices", "--workers", 2)
    assert done.returncode == 0, done.stderr
    compare(pd.read_csv(workplace / "devices" / "history.csv"), alone)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", 16], "cannot share batches of 15"),
        (["--workers", 2, "--folds", 2], "--workers is for a single run"),
        (["--cluster", "auto"], "--cluster needs --workers N, --folds N or --leave-source-out"),
        (["--workers", 2, "--cluster", "127.0.0.1:1"], "no cluster answers at 127.0.0.1:1"),
    ],
)
def test_what_does_not_go_together_is_said(workplace, options, words):
    done = begin(workplace, "wrong", *options)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert not (workplace / "wrong").exists()


@pytest.mark.long
def test_more_workers_than_cores_are_refused_before_anything_is_written(workplace):
    with nodes(1) as made:
        done = begin(workplace, "many", "--workers", 2, "--cluster", made.address)
    assert done.returncode == 2
    assert "--workers 2: the cluster has 1 cores; take no more workers" in done.stderr.splitlines()[-1]
    assert not (workplace / "many").exists()


@pytest.mark.long
def test_a_node_that_dies_costs_an_epoch_at_most(workplace):
    """Three nodes, two workers: one node goes, and the third one steps in after the last checkpoint."""
    run = workplace / "dying"
    victims = []
    with nodes(0, 1, 1, 1) as made:

        def kill() -> None:
            until = time.monotonic() + 200
            while max((path.name for path in run.glob("checkpoints/epoch-*")), default="") < "epoch-0002":
                assert time.monotonic() < until
                time.sleep(0.02)
            victims.extend(filter(is_training, made.worker_nodes))
            kill_node(made, victims[0])

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        longer = ["--set", "training.draws=2000", "--set", "training.epochs=6"]
        done = begin(workplace, "dying", "--workers", 2, "--cluster", made.address, *longer)
        assert done.returncode == 0, done.stderr
        killer.join()
    assert len(victims) == 2
    history = pd.read_csv(run / "history.csv")
    assert history["epoch"].tolist() == list(range(1, 7))
    assert history["val_loss"].iloc[-1] < 0.1  # that of training has a floor, by smoothed labels and MixUp
    assert [done.stderr.count(f"epoch {epoch} done") for epoch in range(1, 7)] == [1] * 6


def is_training(node: object) -> bool:
    return any(name.startswith("ray::RayTrainWorker") for name in list_processes(node).values())

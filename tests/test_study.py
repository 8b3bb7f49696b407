"""Studies: several runs that make one result, here and on a cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from conftest import require_extra, write_images
from ray_nodes import kill_node, list_processes, nodes

require_extra("tensorflow", "train")
require_extra("mlflow", "train")

from melanoma import study
from melanoma.errors import RunError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

MELANOMA = [sys.executable, "-c", "from melanoma.cli.main import run; run()"]
RECIPE = """
name: tiny
model: {name: original_cnn}
input: {size: 32}
training: {epochs: 1, batch_size: 16}
splits: {val: 0.2, calibration: 0.2}
evaluation: {resamples: 100}
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_images(root / "images", train=20, test=4)
    (root / "tiny.yaml").write_text(RECIPE)
    return root


def train(root: Path, name: str, *options: object, **more: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(name, *options),
        cwd=root,
        env=environment(root, name),
        capture_output=True,
        text=True,
        check=False,
        **more,
    )


def command(name: str, *options: object) -> list[str]:
    words = ["train", "images", "--recipe", "tiny.yaml", "--folds", "2", "--run-dir", name, *options]
    return [*MELANOMA, *map(str, words)]


def environment(root: Path, name: str) -> dict[str, str]:
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/{name}.db", "MELANOMA_CACHE": str(root / "cache")}
    return os.environ | tracking


@pytest.fixture(scope="module")
def finished(workplace):
    done = train(workplace, "here", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    return done


def test_mean_spread_and_predictions_out_of_fold(workplace, finished):
    folder = workplace / "here"
    result = json.loads((folder / study.RESULT).read_text())
    assert sorted(result["runs"]) == [f"fold{fold}-seed{seed}" for fold in (1, 2) for seed in (1, 2)]
    aurocs = [run["auroc"] for run in result["runs"].values()]
    assert result["figures"]["auroc"]["mean"] == pytest.approx(sum(aurocs) / 4)
    assert result["figures"]["auroc"]["low"] == min(aurocs)
    rows = pd.read_csv(folder / study.PREDICTIONS)
    assert len(rows) == 40  # each training image once, the given test images never
    assert not rows["path"].str.contains("/test/").any()
    assert (rows["runs"].str.split().str.len() == 2).all()
    one = pd.read_csv(folder / "fold1-seed1" / "evaluation" / "predictions.csv")
    two = pd.read_csv(folder / "fold1-seed2" / "evaluation" / "predictions.csv")
    first = rows.set_index("image_id").loc[one[one["dataset"] == "test"]["image_id"].iloc[0]]
    probabilities = [part.set_index("image_id").loc[first.name, "y_prob"] for part in (one, two)]
    assert first["y_prob"] == pytest.approx(sum(probabilities) / 2)
    assert "auroc: mean" in finished.stdout


def test_runs_are_children_of_one_run(workplace, finished):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{workplace}/here.db")
    runs = client.search_runs([client.get_experiment_by_name("melanoma").experiment_id])
    (parent,) = [run for run in runs if run.info.run_name == "here"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == sorted(
        f"fold{fold}-seed{seed}" for fold in (1, 2) for seed in (1, 2)
    )
    assert {run.info.status for run in runs} == {"FINISHED"}
    result = json.loads((workplace / "here" / study.RESULT).read_text())
    assert parent.data.metrics["auroc_mean"] == pytest.approx(result["figures"]["auroc"]["mean"])


def test_a_finished_study_is_summed_up_again_and_another_one_refused(workplace, finished):
    before = (workplace / "here" / study.RESULT).read_bytes()
    again = train(workplace, "here", "--seeds", "2")
    assert again.returncode == 0, again.stderr
    assert "runs: " not in again.stderr
    assert (workplace / "here" / study.RESULT).read_bytes() == before
    other = train(workplace, "here", "--seeds", "1")
    assert other.returncode == 2
    assert other.stderr.splitlines()[-1] == "melanoma: here holds another study; give another --run-dir"


@pytest.mark.long
def test_a_node_that_dies_in_the_middle_of_a_fold_loses_nothing(workplace, finished):
    """Two nodes with a fold each; one dies, and its run goes on elsewhere."""
    require_extra("ray", "cluster")
    with nodes(0, 1, 1) as made:
        process = subprocess.Popen(
            command("dying", "--cluster", made.address),
            cwd=workplace, env=environment(workplace, "dying"), stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until = time.monotonic() + 300
        while len(list((workplace / "dying").glob("fold*/run.json"))) < 2:
            assert time.monotonic() < until
            time.sleep(0.1)
        victim = next(iter(made.worker_nodes))
        (running,) = [line for line in list_processes(victim).values() if "--run-dir" in line]
        kill_node(made, victim)
        said = process.communicate(timeout=500)[1]
    assert process.returncode == 0, said
    assert "dying/fold" in running
    for name in ("fold1-seed1", "fold2-seed1"):
        here, there = (
            pd.read_csv(workplace / folder / name / "evaluation" / "predictions.csv")
            for folder in ("here", "dying")
        )
        assert here["y_prob"].tolist() == there["y_prob"].tolist()
    assert len(pd.read_csv(workplace / "dying" / study.PREDICTIONS)) == 40


def test_a_run_that_failed_is_named_and_goes_on(workplace, tmp_path):
    jobs = [study.Job("a", tmp_path / "a", ("train",))]
    assert list(study.work_here(jobs)) == [(jobs[0], "give DATA to train on, or --resume RUN")]
    plan = study.Plan(["x"], 1, 1, 1, {}, False, [])
    with pytest.raises(RunError, match="1 of 1 runs failed"):
        study.execute(tmp_path, plan, lambda left: [(job, "no room") for job in left], lambda _: None)


@pytest.mark.long
def test_on_a_cluster_a_killed_study_goes_on(workplace, finished):
    """The command dies in the middle of a fold; given again, it ends with what an undisturbed one has."""
    require_extra("ray", "cluster")
    process = subprocess.Popen(
        command("cluster", "--cluster", "auto"),
        cwd=workplace, env=environment(workplace, "cluster"), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 200
    while not list((workplace / "cluster").glob("fold*/checkpoints/epoch-*")):
        assert time.monotonic() < until
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(3)  # Ray's own processes notice, and end
    done = train(workplace, "cluster", "--cluster", "auto", timeout=400)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(workplace / "cluster" / study.PREDICTIONS)) == 40
    here = pd.read_csv(workplace / "here" / "fold1-seed1" / "evaluation" / "predictions.csv")
    there = pd.read_csv(workplace / "cluster" / "fold1-seed1" / "evaluation" / "predictions.csv")
    assert here["y_prob"].tolist() == there["y_prob"].tolist()

"""Searches over recipes: spaces, folds, what is kept, and one on Ray that is killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import draw, require_extra, write_images
from manifests import make_manifest, many
from ray_nodes import kill_node, list_processes, nodes

require_extra("tensorflow", "train")
require_extra("mlflow", "train")

from melanoma import search
from melanoma.config import load_recipe
from melanoma.errors import ConfigError, RunError
from melanoma.evaluation import plots
from melanoma.evaluation.search_plot import plot_search

SPACE = "optimizer.learning_rate: {log_uniform: [1e-4, 1e-2]}\nmodel.dropout: {choice: [0.1, 0.3]}\n"


def read(tmp_path: Path, text: str) -> list[search.Range]:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return search.read_space(path, "original_cnn", [])


def test_a_space_is_read(tmp_path):
    assert read(tmp_path, SPACE) == [
        search.Range("optimizer.learning_rate", "log_uniform", (0.0001, 0.01)),
        search.Range("model.dropout", "choice", (0.1, 0.3)),
    ]


def test_keys_that_need_each_other_are_tried_together(tmp_path):
    warmup = "optimizer.schedule: {choice: [cosine]}\noptimizer.warmup_epochs: {uniform: [0, 4]}\n"
    assert len(read(tmp_path, warmup + "training.epochs: {integer: [5, 12]}\n")) == 3
    with pytest.raises(ConfigError, match="leaves nothing of"):
        read(tmp_path, warmup + "training.epochs: {integer: [3, 12]}\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must hold keys of a recipe"),
        ("- 1", "must hold keys of a recipe"),
        ("a: [", "cannot read"),
        ("training.epochs: 3", "must be one of"),
        ("training.epochs: {integer: [3]}", "must be one of"),
        ("training.epochs: {integer: [5, 3]}", "the lower end first"),
        ("training.epochs: {twice: [3, 5]}", "must be one of"),
        ("optimizer.learning_rate: {log_uniform: [0, 1]}", "ends above 0"),
        ("training.epoch: {choice: [3]}", "there is no such key"),
        ("training.epochs: {integer: [-1, 3]}", "training.epochs"),
        ("augmentation.mixup: {uniform: [0, 0.8]}\naugmentation.cutmix: {uniform: [0, 0.8]}", "is above 1"),
    ],
)
def test_what_is_no_space_is_said(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text)


def test_given_test_images_choose_nothing():
    rows = [*many(source="a"), *many(source="b")]
    for row in rows[::7]:
        row["given_split"] = "test"
    data = make_manifest(rows)
    folds = search.make_folds(data, load_recipe("original_cnn"), 1, None)
    assert [source for source, _ in folds] == ["a", "b"]
    given = data.table["given_split"] == "test"
    for source, fold in folds:
        assert (fold.table["split"][given] == "excluded").all()
        assert (fold.table["split"][~given & (data.table["source"] == source)] == "test").all()
        assert not (fold.table["split"][data.table["source"] != source] == "test").any()
    twins = [*many(source="a"), *many(source="b"), *many(source="c")]
    for row in twins:
        if row["source"] == "b" and not row["y_true"]:
            row["given_split"] = "test"
    with pytest.raises(ConfigError, match="no images of both classes to be judged on"):
        search.make_folds(make_manifest(twins), load_recipe("original_cnn"), 1, None)
    with pytest.raises(ConfigError, match="at least two"):
        search.make_folds(make_manifest(many()), load_recipe("original_cnn"), 1, None)


@pytest.fixture
def begun(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folder = tmp_path / "search"
    search.begin(folder, {"seed": 1}, [], load_recipe("original_cnn"))
    for name in ("trial-1", "trial-2", "trial-3"):
        (folder / "trials" / name).mkdir(parents=True)
        (folder / "trials" / name / "recipe.yaml").write_text(f"name: {name}\n")
    return search.Trials(folder, ("a", "b"), (), 1, {})


def make_table(**columns) -> pd.DataFrame:
    rates = [0.001, 0.01, 0.0005]
    return pd.DataFrame(
        {
            "trial": ["trial-1", "trial-2", "trial-3"],
            "optimizer.learning_rate": rates,
            "model.dropout": 0.1,
            **columns,
        }
    )


def test_the_best_saw_all_sources(begun, tmp_path):
    table = make_table(sources=[2, 1, 2], auroc=[0.7, 0.9, 0.8])
    found = search.execute(begun, read(tmp_path, SPACE), 3, lambda *_: table, lambda _: None)
    assert found["trial"].tolist() == ["trial-3", "trial-1", "trial-2"]
    assert (begun.folder / search.BEST).read_text() == "name: trial-3\n"
    assert pd.read_csv(begun.folder / search.TRIALS)["auroc"].tolist() == [0.8, 0.7, 0.9]
    assert (begun.folder / search.PICTURE).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RunError, match="another search"):
        search.begin(begun.folder, {"seed": 2}, [], load_recipe("original_cnn"))


def test_a_start_that_was_killed_is_begun_again(tmp_path):
    (tmp_path / "recipe.yaml").write_text("half")
    search.begin(tmp_path, {"seed": 1}, [], load_recipe("original_cnn"))
    (tmp_path / "search.json").unlink()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty and holds no search; give another --output"):
        search.begin(tmp_path, {"seed": 1}, [], load_recipe("original_cnn"))


def test_what_is_no_folder_of_a_search_is_said(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="is a file and no search; give another --output"):
        search.begin(tmp_path / "file", {"seed": 1}, [], load_recipe("original_cnn"))
    search.begin(tmp_path / "made", {"seed": 1}, [], load_recipe("original_cnn"))
    (tmp_path / "made" / "recipe.yaml").unlink()
    with pytest.raises(RunError, match="holds another search"):
        search.begin(tmp_path / "made", {"seed": 1}, [], load_recipe("original_cnn"))


def test_no_whole_trial_is_said(begun, tmp_path):
    table = make_table(sources=[1, 0, 2], auroc=[0.7, np.nan, np.nan])
    with pytest.raises(RunError, match="no trial got to its end"):
        search.execute(begun, read(tmp_path, SPACE), 3, lambda *_: table, lambda _: None)


def test_a_picture_of_any_trials():
    for table in (make_table(sources=2, auroc=[0.5, 0.6, 0.7]), make_table(sources=2, auroc=0.5).head(1)):
        scales = {"optimizer.learning_rate": "log", "model.dropout": "names"}
        assert plots.to_png(plot_search(table, scales)).startswith(b"\x89PNG")


def prepare_search(tmp_path) -> tuple[list[str], dict[str, str]]:
    """The command of a small search over two sources, and its environment."""
    require_extra("ray", "cluster")
    write_images(tmp_path / "one", train=16, test=4)
    for number in range(32):  # other images: what two sources share is tested in neither
        folder = tmp_path / "two" / ("malignant" if number % 2 else "benign")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(7000 + number, melanoma=number % 2 == 1)).save(folder / f"{number}.png")
    (tmp_path / "space.yaml").write_text("optimizer.learning_rate: {log_uniform: [1e-4, 1e-2]}\n")
    settings = ["training.epochs=1", "input.size=32", "evaluation.resamples=100", "splits.val=0.2"]
    command = [sys.executable, "-c", "from melanoma.cli.main import run; run()", "tune", "one", "two"]
    command += ["--recipe", "original_cnn", "--space", "space.yaml", "--trials", "3", "-o", "search"]
    command += [word for setting in settings for word in ("--set", setting)]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return command, environment


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.filterwarnings("ignore")
def test_a_killed_search_goes_on(tmp_path):
    command, environment = prepare_search(tmp_path)
    first = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 400
    while not (done := list(tmp_path.glob("search/trials/*/*/evaluation/evaluation.json"))):
        assert time.monotonic() < until
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    stamps = {path: path.stat().st_mtime_ns for path in done}
    time.sleep(3)
    second = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert second.returncode == 0, second.stderr
    table = pd.read_csv(tmp_path / "search" / search.TRIALS)
    assert len(table) == 3
    assert table["sources"].max() == 2
    assert {path: path.stat().st_mtime_ns for path in done} == stamps
    assert load_recipe(str(tmp_path / "search" / search.BEST)).training.epochs == 1
    assert json.loads((tmp_path / "search" / search.PLAN).read_text())["seed"] == 1
    with sqlite3.connect(
        tmp_path / "mlflow.db"
    ) as connection:  # that of the command's folder, wherever trials run
        query = "SELECT r.name, t.value, r.status FROM runs r JOIN tags t USING (run_uuid)"
        rows = connection.execute(f"{query} WHERE t.key = 'mlflow.parentRunId'").fetchall()
        (top,) = connection.execute("SELECT run_uuid FROM runs WHERE name = 'search'").fetchone()
    assert sorted(name for name, parent, _ in rows if parent == top) == sorted(table["trial"])
    assert {status for *_, status in rows} <= {"FINISHED", "KILLED"}
    assert len(rows) == 3 + table["sources"].sum()


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.filterwarnings("ignore")
def test_a_node_that_dies_costs_no_trial(tmp_path):
    """Two nodes with a trial each; one dies, and its trial goes on elsewhere after the runs that it has."""
    command, environment = prepare_search(tmp_path)
    with nodes(0, 1, 1) as made:
        process = subprocess.Popen(
            [*command, "--cluster", made.address],
            cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until = time.monotonic() + 400
        while len(list(tmp_path.glob("search/trials/*/*/run.json"))) < 2:
            assert time.monotonic() < until
            time.sleep(0.1)
        victim = next(iter(made.worker_nodes))
        assert [line for line in list_processes(victim).values() if "--run-dir" in line]
        kill_node(made, victim)
        said = process.communicate(timeout=900)[1]
    assert process.returncode == 0, said
    table = pd.read_csv(tmp_path / "search" / search.TRIALS)
    assert len(table) == 3
    assert table["auroc"].notna().all()
    assert len(list(tmp_path.glob("search/trials/*/*/evaluation/evaluation.json"))) == table["sources"].sum()

"""Runs whose weights are averaged."""

import json
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest

from conftest import require_extra, write_images

require_extra("tensorflow", "train")
require_extra("mlflow", "train")

from typer.testing import CliRunner

from melanoma import runs
from melanoma.cli.app import app
from melanoma.config import parse_recipe
from melanoma.errors import ConfigError, RunError
from melanoma.run_images import Request
from melanoma.training import averaging

TINY = {
    "name": "tiny",
    "input": {"size": 32},
    "training": {"epochs": 1, "batch_size": 16, "keep": "last"},
    "splits": {"val": 0.25, "calibration": 0.25},
    "evaluation": {"resamples": 100},
}


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """A first run, and two that were trained on from it; the current folder for this module."""
    root = tmp_path_factory.mktemp("averaging")
    write_images(root / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        patch.setenv("MELANOMA_CACHE", str(root / "cache"))
        patch.chdir(root)
        runs.start(Request(["images"], register=False), parse_recipe(TINY, "test"), root / "first")
        on = parse_recipe({**TINY, "model": {"weights": "first"}}, "test")
        for seed in (1, 2):
            request = Request(["images"], seed=seed, splits="first/splits.csv", register=False)
            runs.start(request, on, root / f"on-{seed}")
        yield root


def average(*words: str) -> object:
    result = CliRunner().invoke(app, ["average", *words], standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def test_the_mean_is_a_run_like_any_other(members):
    result = average("on-1", "on-2", "--run-dir", "mean", "--no-register")
    weights = [runs.load_model(members / name).get_weights() for name in ("on-1", "on-2", "mean")]
    for one, two, mean in zip(*weights, strict=True):
        np.testing.assert_allclose(mean, (one + two) / 2, atol=1e-7)
    assert any((one != two).any() for one, two in zip(*weights[:2], strict=True))
    facts = json.loads((members / "mean" / "bundle" / "bundle.json").read_text())["facts"]
    assert facts["average_of"] == ["on-1", "on-2"]
    assert "test (16 images): accuracy" in result.stdout
    history = pd.read_csv(members / "mean" / "history.csv")
    assert history.columns.tolist() == ["epoch", "val_loss", "val_accuracy", "val_auroc"]


def test_a_killed_average_is_resumed_as_one(members):
    before = runs.load_model(members / "mean").get_weights()
    (members / "mean" / "model.keras").unlink()
    CliRunner().invoke(app, ["train", "--resume", "mean"], standalone_mode=False)
    after = runs.load_model(members / "mean").get_weights()
    assert all((one == two).all() for one, two in zip(before, after, strict=True))


def test_a_member_that_is_gone_is_named(members):
    request = Request(["images"], splits="on-1/splits.csv", register=False)
    fit = partial(averaging.fit, members=[members / "gone"])
    with pytest.raises(RunError, match="gone, whose weights"):
        runs.start(request, parse_recipe(TINY, "test"), members / "without", fit=fit)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["on-1"], ConfigError, "at least two"),
        (["on-1", "on-1"], ConfigError, "at least two"),
        (["on-1", "first"], ConfigError, "first and on-1 did not begin with the weights of one run"),
        (["on-1", "nowhere"], RunError, "nowhere is no finished run"),
    ],
)
def test_what_has_no_mean_is_refused(members, words, error, message):
    with pytest.raises(error, match=message):
        average(*words, "--run-dir", "refused")
    assert not (members / "refused").exists()


def test_other_splits_are_refused(members):
    shutil.copytree(members / "on-2", members / "on-3")
    with (members / "on-3" / "splits.csv").open("a") as file:
        file.write("\n")
    with pytest.raises(ConfigError, match="on-3 has other splits than on-1"):
        average("on-1", "on-3")

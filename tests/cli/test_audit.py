import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from conftest import require_extra

require_extra("faiss", "bench")

from melanoma.cli.app import app
from melanoma.data.synthetic import render
from melanoma.errors import ConfigError, ManifestError


def call(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def folder(tmp_path):
    for label, seeds in (("benign", range(6)), ("malignant", range(10, 14))):
        path = tmp_path / "clinic" / "train" / label
        path.mkdir(parents=True)
        for seed in seeds:
            Image.fromarray(render(seed % 2, np.random.default_rng(seed), size=120).image).save(
                path / f"{seed}.png"
            )
    test = tmp_path / "clinic" / "test" / "benign"
    test.mkdir(parents=True)
    with Image.open(tmp_path / "clinic" / "train" / "benign" / "3.png") as picture:
        picture.transpose(Image.Transpose.ROTATE_90).resize((100, 100)).save(test / "again.jpg", quality=85)
    return tmp_path / "clinic"


def test_audit_then_split_keeps_the_copy_out_of_training(folder, tmp_path):
    out = tmp_path / "audit"
    result = call("audit", folder, "-o", out)
    assert result.exit_code == 0, result.output
    assert "11 images of 1 sources; problems: odd size 1" in result.stdout
    assert "1 photograph stands on both sides of train and test, with 2 images." in result.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "audit.json",
        "groups.csv",
        "pairs.csv",
        "report.html",
        "views.csv",
    ]
    assert json.loads((out / "audit.json").read_text())["images"] == 11
    with (out / "pairs.csv").open(newline="") as file:
        (pair,) = csv.DictReader(file)
    assert {pair["path_1"], pair["path_2"]} == {"test/benign/again.jpg", "train/benign/3.png"}
    splits = tmp_path / "splits.csv"
    result = call("split", folder, "--groups", out / "groups.csv", "--calibration", 0, "-o", splits)
    assert result.exit_code == 0, result.output
    with splits.open(newline="") as file:
        found = {row["image_id"]: row["split"] for row in csv.DictReader(file)}
    assert found["train/benign/3"] == "excluded"
    assert found["test/benign/again"] == "test"


def test_an_output_inside_the_data_is_not_audited_again(folder):
    assert call("audit", folder, "-o", folder / "audit").exit_code == 0
    again = call("audit", folder, "-o", folder / "audit")
    assert again.exit_code == 0, again.output
    assert "11 images" in again.stdout


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_no_images_is_one_line(tmp_path, name):
    (tmp_path / "empty").mkdir()
    result = call("audit", tmp_path / name, "-o", tmp_path / "out")
    assert isinstance(result.exception, ManifestError)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_labels_are_not_written_over(folder):
    labels = folder / "groups.csv"
    labels.write_text("path,label\ntrain/benign/1.png,nevus\ntrain/benign/2.png,nevus\n")
    result = call("audit", labels, "-o", folder)
    assert isinstance(result.exception, ConfigError)
    assert labels.read_text().startswith("path,label")


def test_a_second_audit_beside_unlabelled_images(folder):
    """The first one's CSVs are no label tables, and do not make the folder a labelled one."""
    scans = folder / "train" / "benign"
    for _ in range(2):
        result = call("audit", scans, "-o", scans / "audit")
        assert result.exit_code == 0, result.output
        assert "6 images of 1 sources" in result.stdout
        assert "without the lesion nothing was measured: no image has a label" in result.stdout

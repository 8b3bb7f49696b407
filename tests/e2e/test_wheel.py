"""The wheel alone, with only the core's requirements, predicts."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from conftest import draw, require_extra

require_extra("hatchling", "dev")

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The `bin` folder of a new environment with the wheel and the core's requirements at their locked versions."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    versions = [
        line.removesuffix(" \\").partition(" ;")[0]
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line.startswith(("ai-edge-litert==", "pillow==", "rich==", "typer=="))
    ]
    subprocess.run([*pip, wheel, *versions], check=True)
    return folder / "bin"


def test_the_wheel_holds_the_bundle_the_recipes_and_the_templates(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "melanoma/bundles/default/bundle.json",
        "melanoma/bundles/default/domain.npz",
        "melanoma/bundles/default/network.tflite",
        "melanoma/data/counterexamples.npy",
        "melanoma/recipes/original_cnn.yaml",
        "melanoma/evaluation/templates/report.html.j2",
        "melanoma/serving/docs/docs.html",
        "melanoma/serving/page/index.html",
        "melanoma/serving/page/page.js",
        "melanoma/bundles/default/results.json",
    ):
        assert name in names
    bundle = [
        one.file_size for one in zipfile.ZipFile(wheel).infolist() if "bundles/default/" in one.filename
    ]
    assert sum(bundle) < 10e6
    assert wheel.stat().st_size < 10.5e6
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_the_core_alone_predicts(installed, tmp_path):
    packages = subprocess.run(
        [installed / "python", "-m", "pip", "list"], check=True, capture_output=True, text=True
    )
    for heavy in ("pandas", "scipy", "scikit-learn", "tensorflow", "tensorflow-cpu", "mlflow", "matplotlib"):
        assert f"\n{heavy} " not in packages.stdout
    Image.fromarray(draw(1)).save(tmp_path / "lesion.png")
    command = [installed / "melanoma", "predict", tmp_path / "lesion.png", "--format", "json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    (row,) = json.loads(done.stdout)
    assert 0 < row["y_prob"] < 1
    assert row["decision"] in {"refer", "no_sign"}
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["evaluate", "."], "bench"),
        (["models", "summary", "original_cnn"], "bench"),
        (["track", "sync", "."], "train"),
    ],
)
def test_a_missing_extra_is_one_line_that_names_it(installed, tmp_path, arguments, extra):
    done = subprocess.run(
        [installed / "melanoma", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"pip install 'melanoma[{extra}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1

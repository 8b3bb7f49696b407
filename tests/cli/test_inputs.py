"""What is refused before any work, of every command that writes a folder of results."""

import pytest

from conftest import require_extra, write_images

require_extra("cv2", "bench")

COMMANDS = ("evaluate", "stress", "check-explanations", "baseline", "audit")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Class folders of 6 images."""
    return write_images(tmp_path_factory.mktemp("inputs") / "images", train=2, test=1)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_file_where_the_folder_should_be(run_melanoma, images, tmp_path, command, below):
    (tmp_path / "out").write_text("mine")
    code, _, err = run_melanoma(command, images, "-o", f"{tmp_path}/out{below}")
    assert code == 2
    assert err.splitlines() == [f"melanoma: {tmp_path}/out is a file; give a folder as --output"]
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_without_permission(run_melanoma, images, tmp_path, monkeypatch, command):
    monkeypatch.setattr("melanoma.cli.inputs.os.access", lambda *_: False)
    code, _, err = run_melanoma(command, images, "-o", tmp_path / "out")
    assert code == 2
    assert err.splitlines() == [f"melanoma: cannot write to {tmp_path}: no permission; give another --output"]


@pytest.mark.parametrize(
    ("command", "theirs"),
    [
        ("evaluate", "report.html"),
        ("stress", "report.html"),
        ("check-explanations", "report.html"),
        ("baseline", "predictions.csv"),
    ],
)
def test_results_of_another_command_stay(run_melanoma, images, tmp_path, command, theirs):
    (tmp_path / theirs).write_text("theirs")
    code, _, err = run_melanoma(command, images, "-o", tmp_path)
    assert code == 2
    assert err.splitlines() == [f"melanoma: {tmp_path / theirs} is of another command; give another --output"]
    assert (tmp_path / theirs).read_text() == "theirs"


@pytest.mark.parametrize("command", ["stress", "check-explanations"])
def test_an_image_with_two_labels(run_melanoma, images, tmp_path, command):
    path = next((images / "test").rglob("*.png"))
    (tmp_path / "two.csv").write_text(f"path,label\n{path},benign\n{path},malignant\n")
    code, _, err = run_melanoma(command, tmp_path / "two.csv", "-o", tmp_path / "out")
    assert code == 2
    assert "has two labels: 'benign' and 'malignant'; keep one" in err
    assert not (tmp_path / "out").exists()

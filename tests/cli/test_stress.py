import csv
import json
import re

import pytest
from PIL import Image

from conftest import draw, require_extra, write_images

require_extra("cv2", "bench")

from melanoma.evaluation import pairs, stress_report
from melanoma.evaluation.pairs import TITLES


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Class folders with 4 test and 6 training images."""
    return write_images(tmp_path_factory.mktemp("stress") / "images", train=3, test=2)


@pytest.fixture
def stress(run_melanoma, tiny_bundle, tmp_path):
    """A function that runs `melanoma stress` with the tiny bundle into a folder `out`."""

    def run(*arguments):
        given = ["--bundle", tiny_bundle, "--resamples", 100, "-o", tmp_path / "out", *arguments]
        return run_melanoma("stress", *given)

    return run


@pytest.fixture
def no_page(monkeypatch):
    """Leave out the page, which takes longest."""
    monkeypatch.setattr(stress_report, "render", lambda *_, **__: "")


def read(tmp_path):
    """`stress.json`, which must hold no NaN."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads((tmp_path / "out" / "stress.json").read_text(), parse_constant=refuse)


def test_a_report_of_a_given_split(stress, images, tmp_path):
    code, out, err = stress(images, "--split", "test")
    assert code == 0, err
    saved = read(tmp_path)
    assert saved["n"] == {"melanoma": 2, "other": 2}
    assert [effect["change"] for effect in saved["effects"]] == list(TITLES)
    assert set(saved["sentences"].values()) <= set(out.splitlines())
    assert saved["test_looks"] == {"total": 1, "same_images": 1}
    with (tmp_path / "out" / "stress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * len(TITLES)
    assert tuple(rows[0]) == pairs.COLUMNS
    page = (tmp_path / "out" / "report.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:)|<script", page)
    assert page.count("data:image/jpeg;base64,") >= len(TITLES)
    text = re.sub(r"<[^>]+>", " ", page)
    assert "nan" not in text.lower().split()
    assert all(title in text for title, _ in TITLES.values())


def test_one_class_and_no_labels(stress, images, tmp_path, no_page):
    code, out, _ = stress(images / "test" / "malignant", "--images", 1)
    assert code == 0
    saved = read(tmp_path)
    assert saved["n"] == {"unlabelled": 1}
    assert saved["effects"][0]["auroc"]["after"] == {
        "value": None,
        "low": None,
        "high": None,
        "note": "one class only",
        "dropped": 0,
    }
    assert "of the unlabelled images are no longer referred" in out
    with (tmp_path / "out" / "stress.csv").open(newline="") as file:
        assert {row["y_true"] for row in csv.DictReader(file)} == {""}


def test_one_class_with_labels(stress, tmp_path):
    (tmp_path / "a.csv").write_text("path,label\na.png,nevus\n")
    Image.fromarray(draw(3)).save(tmp_path / "a.png")
    code, out, err = stress(tmp_path / "a.csv")
    assert code == 0, err
    assert "other images become false alarms" in out or "No false alarm is gained" in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h2>AUROC</h2>" not in page
    assert "<h2>Figures: other images</h2>" in page


def test_groups_of_an_audit_count(stress, images, tmp_path, no_page):
    paths = sorted(images.rglob("*.png"))
    lines = [f"images,{path.relative_to(images)},{path.parent.name}" for path in paths]
    (tmp_path / "groups.csv").write_text("source,path,group_id\n" + "\n".join(lines) + "\n")
    assert stress(images, "--groups", tmp_path / "groups.csv", "--images", 2)[0] == 0
    assert read(tmp_path)["n_groups"] == 2


def test_unreadable_images_are_said_and_left_out(stress, image_folder_of, tmp_path, no_page):
    folder = image_folder_of(tmp_path / "images", train=1, test=1)
    broken = folder / "train" / "benign" / "image_0.png"
    broken.write_bytes(b"no image")
    code, _, err = stress(folder)
    assert code == 0
    assert f"left out {broken}: " in err
    saved = read(tmp_path)
    assert saved["n"] == {"melanoma": 2, "other": 1}
    assert saved["unreadable"][0][0] == str(broken)


def test_stopping_leaves_nothing(stress, images, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pairs, "occlude", stop)
    code, out, _ = stress(images)
    assert (code, out) == (130, "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{absent}"], "no such folder or file"),
        (["{images}", "--split", "val"], "no image is given as 'val'"),
        (["{images}", "--images", "0"], "--images"),
        (["{images}", "--bundle", "{absent}"], "no bundle in"),
        (["{images}", "--groups", "{absent}"], "absent"),
        (["{images}", "-o", "{file}"], "is a file; give a folder"),
        (["{twice}"], "has two labels"),
        (["{junk}"], "not one of 2 images can be read"),
    ],
)
def test_one_line_and_nothing_written(stress, images, tmp_path, arguments, says):
    (tmp_path / "file").write_text("")
    (tmp_path / "twice.csv").write_text(
        f"path,label\n{tmp_path / 'x.png'},nevus\n{tmp_path / 'x.png'},melanoma\n"
    )
    Image.fromarray(draw(1)).save(tmp_path / "x.png")
    for label in ("benign", "malignant"):
        (tmp_path / "junk" / label).mkdir(parents=True)
        (tmp_path / "junk" / label / "a.png").write_bytes(b"no image, " + label.encode())
    names = {name: tmp_path / name for name in ("absent", "file", "junk")}
    before = sorted(tmp_path.rglob("*"))
    code, out, err = stress(
        *[text.format(images=images, twice=tmp_path / "twice.csv", **names) for text in arguments]
    )
    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_output_over_an_input_is_refused(stress, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stress.csv").write_text("path,label\n")
    code, _, err = stress(tmp_path / "out" / "stress.csv")
    assert code == 2
    assert "is one of the inputs" in err


def test_images_that_are_not_assessed_are_counted(
    stress, images, tmp_path, tiny_bundle, no_page, monkeypatch
):
    monkeypatch.setattr("melanoma.inference.domain.Domain.refuse", lambda *_: "no")
    code, out, _ = stress(images, "--split", "test", "--bundle", tiny_bundle.with_name("bundle-v2"))
    assert code == 0
    assert "not assessed: 4 of 4; judged here all the same" in out.splitlines()
    assert read(tmp_path)["facts"]["not assessed"] == "4 of 4; judged here all the same"

import csv
import json
import re
import shutil

import pytest
from PIL import Image

from conftest import draw, require_extra, write_images

require_extra("pandas", "bench")

from melanoma.inference import bundle as bundles


@pytest.fixture
def check(run_melanoma, tiny_bundle, tmp_path):
    """A function that runs the command into a folder `out`, with the tiny bundle unless told otherwise."""

    def run(*arguments, bundle=tiny_bundle):
        quick = ["--networks", "2", "--resamples", "100"]
        return run_melanoma(
            "check-explanations", *arguments, "--bundle", bundle, "-o", tmp_path / "out", *quick
        )

    return run


def saved(tmp_path):
    """`explanations.json`, which must hold no NaN."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads((tmp_path / "out" / "explanations.json").read_text(), parse_constant=refuse)


def test_figures_page_and_rows(check, tmp_path):
    images = write_images(tmp_path / "images", train=12, test=12)
    code, out, err = check(images, "--split", "test", "--images", "11")
    assert code == 0, err
    assert "rank correlation" in out
    document = saved(tmp_path)
    assert (document["n"], document["n_available"]) == (22, 24)
    assert document["name"] == "images (test)"
    assert {part["by"] for part in document["parts"]} == {"all", "class", "decision"}
    assert document["findings"][0]["answer"] in {"yes", "no", "cannot say"}
    assert document["test_looks"]["total"] == 1
    with (tmp_path / "out" / "explanations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 22
    assert {"path", "y_true", "heat_on_lesion", "lesion_area", "change_hottest", "group"} <= set(rows[0])
    page = (tmp_path / "out" / "report.html").read_text()
    assert not re.search(r"<script|<link|https?:|@import|url\(", page)
    assert page.count("data:image/jpeg;base64") == 8
    assert "not a medical device" in page


def test_images_without_labels_have_figures_and_the_reason(check, image_files, tmp_path):
    code, out, err = check(image_files[0].parent)
    assert code == 0, err
    assert "No image has a label, so there are no figures by class" in out
    assert [part["by"] for part in saved(tmp_path)["parts"]] == ["all"]
    assert "No image has a label" in (tmp_path / "out" / "report.html").read_text()


def test_one_class_is_said(check, tmp_path):
    images = write_images(tmp_path / "images", train=11, test=1)
    shutil.rmtree(images / "train" / "malignant")
    code, out, err = check(images, "--split", "train")
    assert code == 0, err
    assert "All labelled images are of one class (other)" in out


def test_images_that_cannot_be_read_are_counted(check, tmp_path):
    images = write_images(tmp_path / "images", train=2, test=2)
    (images / "train" / "benign" / "broken.png").write_bytes(b"no image")
    code, _, err = check(images)
    assert code == 0, err
    document = saved(tmp_path)
    assert (document["n"], document["n_unreadable"], document["parts"][0]["n"]) == (9, 1, 8)


def test_groups_of_an_audit_are_drawn_together(check, tmp_path):
    images = write_images(tmp_path / "images", train=6, test=6)
    lines = ["source,path,group_id"]
    lines += [
        f"images,{path.relative_to(images)},g{n // 12}"
        for n, path in enumerate(sorted(images.rglob("*.png")))
    ]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    code, _, err = check(images, "--groups", tmp_path / "groups.csv")
    assert code == 0, err
    part = saved(tmp_path)["parts"][0]
    assert (part["n"], part["n_groups"]) == (24, 2)
    assert part["figures"]["heat_on_lesion"]["note"] == "too few to say"


def without_heatmap(tiny_bundle, folder):
    """The tiny bundle with its heat map under another name."""
    old = bundles.load(tiny_bundle)
    network = folder / "network.tflite"
    network.write_bytes(old.network.read_bytes().replace(b"heatmap", b"hotspot"))
    parts = {
        name: getattr(old, name)
        for name in ("name", "preprocessing", "calibration", "operating_point", "facts")
    }
    return bundles.save(folder / "changed", network, **parts).folder


def refused(result, tmp_path):
    """The one line of a refusal that left nothing behind."""
    code, _, err = result
    assert code == 2
    assert not (tmp_path / "out").exists()
    assert "Traceback" not in err
    return err.splitlines()[-1]


def test_a_bundle_without_heat_map_is_refused(check, tiny_bundle, tmp_path):
    images = write_images(tmp_path / "images", train=2, test=2)
    bundle = without_heatmap(tiny_bundle, tmp_path)
    assert "lacks the outputs logit, embedding, heatmap" in refused(check(images, bundle=bundle), tmp_path)


def test_only_broken_images_are_refused(check, tmp_path):
    for label in ("benign", "malignant"):
        (tmp_path / "images" / label).mkdir(parents=True)
        (tmp_path / "images" / label / "a.png").write_bytes(b"no image " + label.encode())
    assert "none of the 2 images can be read" in refused(check(tmp_path / "images"), tmp_path)


def test_a_split_that_is_not_there_is_refused(check, tmp_path):
    images = write_images(tmp_path / "images", train=2, test=2)
    assert "no image is given as 'val'" in refused(check(images, "--split", "val"), tmp_path)


def test_an_input_is_never_written_over(check, tmp_path):
    (tmp_path / "out").mkdir()
    Image.fromarray(draw(0)).save(tmp_path / "out" / "a.png")
    (tmp_path / "out" / "explanations.csv").write_text("path,label\na.png,benign\n")
    code, _, err = check(tmp_path / "out" / "explanations.csv")
    assert code == 2
    assert "is one of the inputs" in err
    assert (tmp_path / "out" / "explanations.csv").read_text().startswith("path,label")


def test_ctrl_c_leaves_nothing_behind(check, tmp_path, monkeypatch):
    images = write_images(tmp_path / "images", train=4, test=4)

    def stop(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("melanoma.evaluation.heat.segment", stop)
    code, _, err = check(images)
    assert code == 130
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_images_that_are_not_assessed_are_counted(check, image_files, tmp_path, tiny_bundle, monkeypatch):
    monkeypatch.setattr("melanoma.inference.domain.Domain.refuse", lambda *_: "no")
    code, out, err = check(image_files[0].parent, bundle=tiny_bundle.with_name("bundle-v2"))
    assert code == 0, err
    said = saved(tmp_path)["facts"]["not assessed"]
    assert f"not assessed: {said}" in out.splitlines()
    n = saved(tmp_path)["n"]
    assert said == f"{n} of {n}; judged here all the same"

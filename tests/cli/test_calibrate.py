import re
import shutil

import numpy as np
import pytest
from PIL import Image

from conftest import require_extra

require_extra("scipy", "bench")

from melanoma.data import domain_fitting
from melanoma.data import manifest as manifests
from melanoma.data.splits import find_groups
from melanoma.evaluation.recalibration import run_network
from melanoma.inference import bundle as bundles
from melanoma.inference import domain
from melanoma.inference.decision import Decision
from melanoma.inference.predictor import Predictor


@pytest.fixture
def clinic(tmp_path, draw_image):
    """Class folders of 32 images each; the tiny bundle takes small blobs for melanoma, and every eighth lies."""
    for label, melanoma in (("malignant", True), ("benign", False)):
        folder = tmp_path / "images" / label
        folder.mkdir(parents=True)
        for number in range(32):
            large = melanoma == (number % 8 == 7)
            Image.fromarray(draw_image(number + 100 * melanoma, 32, 32, melanoma=large)).save(
                folder / f"{number:02}.png"
            )
    return tmp_path / "images"


@pytest.fixture
def calibrate(run_melanoma, clinic, tiny_bundle, tmp_path):
    """`melanoma calibrate` on 64 images with the tiny bundle, to `new`, with quick intervals."""

    def run(*arguments, data=clinic, output=tmp_path / "new"):
        options = ["--bundle", tiny_bundle, "--resamples", 100, "-o", output]
        return run_melanoma("calibrate", data, *options, *arguments)

    return run


def test_a_new_bundle_with_its_own_threshold(calibrate, clinic, tiny_bundle, tmp_path):
    code, out, err = calibrate("--target-sensitivity", "0.9")
    assert (code, "Traceback" in err) == (0, False)
    new, old = bundles.load(tmp_path / "new"), bundles.load(tiny_bundle)
    assert out.splitlines()[-1] == f"bundle: {tmp_path / 'new'}, digest {new.digest}"
    assert new.facts["recalibration"]["parent"] == old.digest
    assert (new.operating_point.n_melanoma, new.operating_point.n_other) == (32, 32)
    assert new.operating_point.target_sensitivity == 0.9
    rows = list(Predictor(new).score([str(path) for path in sorted(clinic.rglob("malignant/*.png"))]))
    assert np.mean([row.decision is Decision.REFER for row in rows]) == new.operating_point.sensitivity >= 0.9
    for line in (
        f"before: threshold {old.operating_point.threshold:.3f} at a prevalence of 0.5; here sensitivity ",
        "threshold: 0.",
        "sensitivity: 0.",
        "specificity: ",
        "auroc: ",
        "brier before: ",
        "slope after: ",
    ):
        assert re.search(f"^{re.escape(line)}", out, re.MULTILINE), line
    assert "ppv and npv at a prevalence of 1 %: " in out
    assert "With 32 melanomas the sensitivity at this threshold is known to within " in out
    assert "64 images" in err


def test_the_domain_check_is_fitted_when_asked_for(calibrate, tmp_path, monkeypatch):
    code, out, err = calibrate("--fit-domain-check")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == "melanoma: the domain check needs at least 100 images, got 64; give more"
    monkeypatch.setattr(domain_fitting, "MIN_IMAGES", 60)
    monkeypatch.setattr(domain, "MIN_IMAGES", 60)
    monkeypatch.setattr(domain, "MAX_LANDMARKS", 100)
    code, out, _ = calibrate("--fit-domain-check")
    assert code == 0
    assert bundles.load(tmp_path / "new").domain.n == 64
    assert "domain check: fitted on 64 of these images; " in out


def test_the_same_again_gives_the_same_bundle(calibrate, tmp_path):
    assert calibrate()[0] == 0
    before = bundles.load(tmp_path / "new").digest
    assert calibrate()[0] == 0
    assert bundles.load(tmp_path / "new").digest == before


def test_a_stated_prevalence_changes_no_decision(calibrate, clinic, tmp_path):
    assert calibrate()[0] == 0
    assert calibrate("--prevalence", "0.03", output=tmp_path / "moved")[0] == 0
    plain, moved = (bundles.load(tmp_path / name) for name in ("new", "moved"))
    assert (plain.calibration.prevalence, moved.calibration.prevalence) == (0.5, 0.03)
    images = manifests.load([str(clinic)])
    logit = run_network(Predictor(plain), images, find_groups(images).tolist()).logit
    np.testing.assert_array_equal(
        *[b.calibration.transform(logit) >= b.operating_point.threshold for b in (plain, moved)]
    )


def test_unreadable_images_are_named_and_left_out(calibrate, clinic, tmp_path):
    broken = clinic / "malignant" / "03.png"
    broken.write_bytes(broken.read_bytes()[:200])
    code, _, err = calibrate()
    assert code == 0
    assert "1 of 64 images cannot be read and are left out" in err
    assert f"{broken}: " in err
    facts = bundles.load(tmp_path / "new").facts["recalibration"]
    assert (facts["n_melanoma"], facts["n_unreadable"]) == (31, 1)


def test_groups_make_images_count_less(calibrate, clinic, tmp_path):
    paths = sorted(clinic.rglob("*.png"))
    rows = [
        f"images,{path.relative_to(clinic)},{path.parent.name}{number // 2}\n"
        for number, path in enumerate(paths)
    ]
    (tmp_path / "groups.csv").write_text("source,path,group_id\n" + "".join(rows))
    assert calibrate()[0] == 0
    code, out, _ = calibrate("--groups", tmp_path / "groups.csv", output=tmp_path / "grouped")
    assert code == 0
    assert "With 32 images of 16 patients or lesions with melanoma" in out
    plain, grouped = (
        bundles.load(tmp_path / name).facts["recalibration"]["sensitivity"] for name in ("new", "grouped")
    )
    assert grouped["low"] < plain["low"]


def test_few_images_are_refused_before_the_network_runs(calibrate, image_folder_of, tmp_path, monkeypatch):
    monkeypatch.setattr(Predictor, "run", lambda *_: pytest.fail("the network ran"))
    code, out, err = calibrate(data=image_folder_of(tmp_path / "few", train=5, test=4))
    assert (code, out) == (2, "")
    assert "9 melanoma images of 9 patients or lesions are too few" in err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


def test_images_that_cannot_be_read_do_not_count(calibrate, clinic, tmp_path):
    for path in clinic.rglob("*.png"):
        path.write_bytes(b"no image, " + str(path).encode())
    code, out, err = calibrate()
    assert (code, out) == (2, "")
    assert "64 of 64 images cannot be read" in err
    assert "0 melanoma images" in err.splitlines()[-1]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--prevalence", "1.5"], "prevalence of 1.5 makes no sense"),
        (["--target-sensitivity", "95"], "target-sensitivity"),
        (["--bundle", "{absent}"], "no bundle in"),
        (["--label", "benign=1"], "all 64 images are melanoma"),
        (["-o", "{bundle}"], "is the bundle that is to be calibrated"),
        (["-o", "{data}"], "holds something else"),
        (["--groups", "{absent}"], "absent"),
    ],
)
def test_one_line_and_nothing_written(calibrate, clinic, tiny_bundle, tmp_path, arguments, says):
    names = {"absent": tmp_path / "absent", "bundle": tiny_bundle, "data": clinic}
    before = sorted(tmp_path.rglob("*"))
    code, out, err = calibrate(*[text.format(**names) for text in arguments])
    assert (code, out) == (2, "")
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_no_data_is_one_line(calibrate, tmp_path, bundle_copy):
    shutil.rmtree(bundle_copy)
    code, _, err = calibrate(data=tmp_path / "absent")
    assert (code, len(err.splitlines())) == (2, 1)


def test_images_that_the_domain_check_refuses_are_counted(calibrate, tiny_bundle, monkeypatch):
    monkeypatch.setattr("melanoma.inference.domain.Domain.refuse", lambda *_: "no")
    code, out, _ = calibrate("--bundle", tiny_bundle.with_name("bundle-v2"))
    assert code == 0
    assert "domain check: that of the bundle is kept; it refuses 64 of these 64 images" in out

import csv
import io
import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import draw
from melanoma.errors import BundleError, ConfigError
from melanoma.inference import bundle as bundles
from melanoma.inference.decision import Decision
from melanoma.inference.description import describe
from melanoma.inference.domain import VIEW, Domain
from melanoma.inference.predictor import Predictor, load_predictor
from melanoma.inference.preprocessing import prepare
from melanoma.inference.sources import ImageFile, find_images


def save_checked(tiny_bundle, folder):
    old = bundles.load(tiny_bundle)
    near = describe(prepare(draw(0), VIEW))
    one = np.ones(1, np.float32)
    domain = Domain(near, np.ones_like(near), np.zeros((1, len(near)), np.float32), one, 0.6, 100)
    parts = {
        name: getattr(old, name)
        for name in ("name", "preprocessing", "calibration", "operating_point", "facts")
    }
    return bundles.save(folder, old.network, domain=domain, **parts).folder


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    return load_predictor(tiny_bundle)


def test_the_same_number_by_every_way(predictor, image_files, run_melanoma, tiny_bundle):
    by_path = [predictor.predict(path).y_prob for path in image_files]
    assert len(set(by_path)) == 6
    ways = {
        "text": [predictor.predict(str(path)).y_prob for path in image_files],
        "bytes": [predictor.predict(path.read_bytes()).y_prob for path in image_files],
        "array": [predictor.predict(np.asarray(Image.open(path))).y_prob for path in image_files],
        "score": [row.y_prob for row in predictor.score(list(map(str, image_files)))],
    }
    for workers in (1, 4):
        files = find_images(map(str, image_files))
        ways[f"{workers} workers"] = [row.y_prob for row in predictor.score_files(files, workers)]
    for form in ("json", "csv"):
        code, out, _ = run_melanoma("predict", *image_files, "--bundle", tiny_bundle, "--format", form)
        assert code == 0
        rows = json.loads(out) if form == "json" else csv.DictReader(io.StringIO(out))
        ways[form] = [float(row["y_prob"]) for row in rows]
    threads = load_predictor(tiny_bundle, threads=2)
    ways["two threads"] = [threads.predict(path).y_prob for path in image_files]
    for name, found in ways.items():
        assert found == pytest.approx(by_path, abs=1e-6), name


def test_the_old_bundle_says_what_it_always_said(predictor, draw_image):
    found = [predictor.predict(draw_image(seed, melanoma=seed > 1)).y_prob for seed in range(4)]
    assert found == pytest.approx(OLD, abs=1e-3)


OLD = [0.619015, 0.621244, 0.486918, 0.462345]


def test_a_row_says_all(predictor, image_files):
    row = predictor.predict(image_files[0])
    assert row.path == str(image_files[0])
    assert row.image_id == "lesion 0"
    assert (row.reason, row.error, row.bundle_digest) == ("", "", predictor.digest)
    assert row.decision in {Decision.REFER, Decision.NO_SIGN}
    assert json.loads(json.dumps(row.to_dict()))["decision"] == str(row.decision)
    assert predictor.predict(image_files[0].read_bytes()).path == ""


@pytest.mark.parametrize(
    "image",
    [
        b"", b"text", "no/such/file.png", np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32), np.zeros((0, 0, 3), np.uint8), np.zeros((31, 64, 3), np.uint8),
    ],
    ids=["empty", "text", "missing", "grey", "RGBA", "float", "no pixels", "small"],
)  # fmt: skip
def test_what_cannot_be_judged_gives_a_row_and_no_exception(predictor, image):
    row = predictor.predict(image)
    assert row.decision is Decision.CANNOT_ASSESS
    assert row.y_prob is None
    assert row.reason == "the image cannot be read"
    assert row.error


def test_one_broken_image_among_many(predictor, image_files):
    image_files[2].write_bytes(b"broken")
    rows = list(predictor.score(list(map(str, image_files))))
    assert [row.path for row in rows] == list(map(str, image_files))
    assert [bool(row.error) for row in rows] == [False, False, True, False, False, False]


def test_files_judged_together_get_the_rows_that_each_gets_alone(tiny_bundle, image_files):
    together = load_predictor(tiny_bundle, micro_batch=4)
    image_files[2].write_bytes(b"broken")
    files = [ImageFile("s", str(path), path.stem) for path in image_files]
    contents = [path.read_bytes() for path in image_files]
    expected = [together.predict_file(*pair) for pair in zip(files, contents, strict=True)]
    assert together.predict_files(list(zip(files, contents, strict=True))) == expected
    assert [bool(row.error) for row in expected] == [False, False, True, False, False, False]
    assert together.predict_files([(files[2], b"broken")])[0].error
    assert together.predict_files([]) == []


def test_rows_keep_the_order_of_the_files(predictor, image_files):
    files = [ImageFile("s", str(image_files[i % 6]), f"{i}") for i in range(100)]
    rows = list(predictor.score_files(iter(files), workers=5))
    assert [row.image_id for row in rows] == [file.image_id for file in files]
    assert {row.source for row in rows} == {"s"}


def test_an_endless_stream_is_read_as_it_is_judged(predictor, image_files):
    read = []

    def endless():
        for number in itertools.count():
            read.append(number)
            yield ImageFile("", str(image_files[0]), str(number))

    rows = predictor.score_files(endless(), workers=2)
    assert [row.image_id for row in itertools.islice(rows, 30)] == [str(number) for number in range(30)]
    rows.close()
    assert len(read) <= 30 + 4 * 2 + 1


def test_who_stops_early_does_not_wait_for_the_queue(predictor, image_files, monkeypatch):
    judged = threading.Semaphore(0)

    def slow(file, image=None, draw=None):
        time.sleep(0.05)
        judged.release()
        return file

    monkeypatch.setattr(predictor, "predict_file", slow, raising=False)
    rows = predictor.score_files((ImageFile("", "", str(n)) for n in range(100)), workers=1)
    next(rows)
    rows.close()
    done = sum(judged.acquire(blocking=False) for _ in range(100))
    assert done <= 3


def test_several_threads_share_one_predictor(predictor, image_files):
    expected = [predictor.predict(path) for path in image_files]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(predictor.predict, image_files * 20))
    assert found == expected * 20


def test_prevalence_moves_probabilities_and_no_decision(tiny_bundle, predictor, image_files):
    plain = [predictor.predict(path) for path in image_files]
    home = predictor.bundle.calibration.prevalence
    last = [0.0] * 6
    for prevalence in (0.01, 0.2, home, 0.9):
        other = load_predictor(tiny_bundle, prevalence=prevalence)
        rows = [other.predict(path) for path in image_files]
        assert [row.decision for row in rows] == [row.decision for row in plain]
        ratio = prevalence / (1 - prevalence) / (home / (1 - home))
        odds = [row.y_prob / (1 - row.y_prob) * ratio for row in plain]
        assert [row.y_prob for row in rows] == pytest.approx([o / (1 + o) for o in odds], rel=1e-9)
        assert all(row.y_prob > before for row, before in zip(rows, last, strict=True))
        last = [row.y_prob for row in rows]


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 1.5, float("nan"), float("inf")])
def test_a_prevalence_that_makes_no_sense_is_refused(tiny_bundle, prevalence):
    with pytest.raises(ConfigError, match="give a share between 0 and 1"):
        load_predictor(tiny_bundle, prevalence=prevalence)


def test_the_decision_follows_the_operating_point(tiny_bundle, image_files):
    bundle = bundles.load(tiny_bundle)
    y_prob = load_predictor(tiny_bundle).predict(image_files[0]).y_prob
    for threshold, decision in ((y_prob, Decision.REFER), (np.nextafter(y_prob, 1), Decision.NO_SIGN)):
        point = replace(bundle.operating_point, threshold=float(threshold))
        assert Predictor(replace(bundle, operating_point=point)).predict(image_files[0]).decision is decision


@pytest.fixture
def checked(tiny_bundle, tmp_path):
    """The tiny bundle in format 2, with a check that takes what is near one drawn image and nothing else."""
    return load_predictor(save_checked(tiny_bundle, tmp_path / "checked"))


def test_what_is_not_dermoscopy_is_not_assessed(checked, tiny_bundle, predictor, draw_image):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    row = checked.predict(noise)
    assert row.decision is Decision.CANNOT_ASSESS
    assert row.reason.startswith("this does not look like a dermoscopic image: ")
    assert row.error == ""
    assert row.y_prob == predictor.predict(noise).y_prob
    off = Predictor(checked.bundle, domain_check=False).predict(noise)
    assert (off.decision, off.y_prob) == (predictor.predict(noise).decision, row.y_prob)
    assert predictor.predict(noise).reason == ""
    assert checked.predict(draw_image(0)).decision is predictor.predict(draw_image(0)).decision


def test_hints_stand_in_the_reason_and_change_no_decision(checked, predictor, draw_image):
    image = (draw_image(0) * 0.3).astype(np.uint8)
    row = load_predictor(checked.bundle.folder, domain_check=False).predict(image)
    assert "too dark" in row.reason.split("; ")
    assert row.decision is predictor.predict(image).decision
    assert checked.predict(image).decision in {row.decision, Decision.CANNOT_ASSESS}


def test_a_refused_image_is_refused_at_any_prevalence(checked):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    other = load_predictor(checked.bundle.folder, prevalence=0.01).predict(noise)
    assert other.decision is Decision.CANNOT_ASSESS
    assert other.y_prob < checked.predict(noise).y_prob


def test_a_bundle_that_is_not_there_is_a_bundle_error(tmp_path):
    with pytest.raises(BundleError, match="no bundle in"):
        load_predictor(tmp_path)

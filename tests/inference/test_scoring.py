import os
import shutil
import signal
import threading
import time
from functools import partial

import pytest

from melanoma.errors import BundleError, OutputError, WorkerError
from melanoma.inference import scoring
from melanoma.inference.predictor import load_predictor
from melanoma.inference.scoring import score_files
from melanoma.inference.sources import ImageFile
from melanoma.processes import count_workers
from saving import end, refuse, save, save_slowly, say_who

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(count_workers(2) < 2, reason="one core: no processes are started"),
]


@pytest.fixture(autouse=True)
def _processes_for_twenty(monkeypatch):
    monkeypatch.setattr(scoring, "FEWEST", 20)


@pytest.fixture
def files(image_files):
    image_files[2].write_bytes(b"broken")
    return [ImageFile("s", str(image_files[n % 6]), str(n)) for n in range(30)]


@pytest.fixture
def predictor(tiny_bundle, tmp_path):
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    return load_predictor(tmp_path / "bundle", prevalence=0.02)


def test_processes_give_the_rows_and_overlays_of_threads(predictor, files, tmp_path):
    apart, here = ([tmp_path / way / f"{n}.png" for n in range(30)] for way in ("apart", "here"))
    rows = list(score_files(predictor, files, overlays=apart, save=save))
    assert rows == [predictor.predict_file(file) for file in files]
    assert list(score_files(predictor, files[:19], overlays=here[:19], save=save)) == rows[:19]
    for one, other in zip(apart[:19], here[:19], strict=True):
        assert one.exists() == other.exists() == (int(one.stem) % 6 != 2)
        assert not one.exists() or one.read_bytes() == other.read_bytes()


def test_few_images_stay_in_this_process(predictor, files, tmp_path):
    targets = [tmp_path / str(n) for n in range(30)]
    for count, elsewhere in ((19, False), (30, True)):
        list(score_files(predictor, files[:count], overlays=targets[:count], save=say_who))
        assert (targets[0].read_text() != str(os.getpid())) == elsewhere


def test_without_a_place_nothing_is_drawn(predictor, files):
    assert len(list(score_files(predictor, files, save=end))) == 30


def test_what_goes_wrong_in_a_process_is_told_here(predictor, files, tmp_path):
    targets = [tmp_path / "0.png"] * 30
    with pytest.raises(OutputError, match=r"cannot write .*0\.png"):
        list(score_files(predictor, files, overlays=targets, save=refuse))
    with pytest.raises(WorkerError, match="was killed"):
        list(score_files(predictor, files, overlays=targets, save=end))


def test_another_bundle_in_its_place_judges_nothing(predictor, files):
    (predictor.bundle.folder / "network.tflite").write_bytes(b"another")
    with pytest.raises(BundleError, match="has changed since the bundle was loaded"):
        list(score_files(predictor, files))


def test_who_stops_early_waits_for_no_process(predictor, files, tmp_path):
    started = tmp_path / "started"
    slow = partial(save_slowly, started)
    rows = score_files(predictor, files[:2] + files[2:3] * 28, overlays=[tmp_path / "x"] * 30, save=slow)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupt_once(started, rows)
    assert time.monotonic() - began < 30


def interrupt_once(started, rows):
    def wait():
        while not started.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()
    next(rows)

"""The whole audit on small folders: right answers, or one clear line."""

import csv
import threading
import time

import numpy as np
import pytest
from PIL import Image

from conftest import require_extra
from melanoma.audit import audit, matcher, pictures
from melanoma.data import workers
from melanoma.data.synthetic import render
from melanoma.errors import ManifestError


def draw(seed, size=120):
    return Image.fromarray(render(seed % 2, np.random.default_rng(seed), size=size).image)


def write(folder, **counts):
    """Class folders with drawn images, each another seed."""
    for number, (label, count) in enumerate(counts.items()):
        (folder / label).mkdir(parents=True)
        for seed in range(count):
            draw(1000 * number + seed).save(folder / label / f"{seed:03}.png")
    return folder


def by_check(found):
    return {problem.check: problem for problem in found.problems}


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "clinic", benign=6, malignant=4)


def run(tmp_path, *sources, **options):
    return audit.run([str(source) for source in sources], tmp_path / "out", **options)


def test_bad_files_are_named_and_the_rest_is_audited(tmp_path, source):
    (source / "benign" / "empty.png").touch()
    (source / "benign" / "broken.jpg").write_bytes(b"no image")
    draw(50).convert("L").save(source / "benign" / "grey.png")
    draw(51).resize((64, 64)).save(source / "benign" / "tiny.png")
    draw(52).resize((400, 120)).save(source / "benign" / "long.png")
    found = run(tmp_path, source)
    assert {check: problem.path.rpartition("/")[2] for check, problem in by_check(found).items()} == {
        "empty file": "empty.png",
        "broken file": "broken.jpg",
        "not RGB": "grey.png",
        "tiny": "tiny.png",
        "odd shape": "long.png",
    }
    assert all(problem.source == "clinic" for problem in found.problems)
    assert len(found.images) == 13


def test_an_odd_size_is_one_that_nearly_no_other_has(tmp_path):
    folder = write(tmp_path / "clinic", benign=20)
    assert run(tmp_path, folder).problems == ()
    draw(99, size=200).save(folder / "benign" / "other.png")
    assert by_check(run(tmp_path, folder))["odd size"].detail.startswith("200 x 200")


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_contradictions_in_metadata(tmp_path):
    for seed in range(5):
        draw(seed).save(tmp_path / f"{seed}.png")
    keys = ("file", "label", "lesion_id", "patient_id", "age_approx", "sex")
    rows = [
        ("0.png", "melanoma", "L1", "P1", "40", "male"),
        ("0.png", "nevus", "L1", "P1", "40", "male"),
        ("1.png", "nevus", "L1", "P2", "50", "female"),
        ("2.png", "nevus", "L2", "P2", "-3", "male"),
        ("3.png", "nevus", "L3", "P3", "180", "male"),
        ("4.png", "nevus", "", "", "", ""),
    ]
    write_csv(tmp_path / "labels.csv", [dict(zip(keys, row, strict=True)) for row in rows])
    details = sorted(problem.detail for problem in run(tmp_path, tmp_path / "labels.csv").problems)
    assert [detail for detail in details if "two labels" in detail]
    assert [detail for detail in details if "two labels" not in detail] == [
        "age -3 years",
        "age 180 years",
        "lesion L1: melanoma and other",
        "lesion L1: patients P1 and P2",
        "patient P2: female and male",
    ]


def test_groups_hold_copies_and_lesions_together(tmp_path, source):
    copy = Image.open(source / "benign" / "002.png").resize((90, 90))
    copy.save(source / "malignant" / "copy.png")
    found = run(tmp_path, source)
    groups = found.images.set_index("image_id")["group_id"]
    assert groups["benign/002"] == groups["malignant/copy"]
    assert groups.nunique() == 10
    assert [(leak.across, leak.first, leak.second) for leak in found.leaks] == [
        ("labels", "melanoma", "other")
    ]


def test_a_folder_without_labels_is_audited_for_repeats(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed in range(3):
        draw(seed).save(folder / f"{seed}.png")
    draw(1).transpose(Image.Transpose.ROTATE_90).save(folder / "again.jpg", quality=80)
    found = run(tmp_path, folder)
    assert found.pairs["kind"].tolist() == ["copy"]
    assert found.images["y_true"].isna().all()
    assert found.confounding is None
    assert found.no_confounding == "no image has a label"


def test_one_image(tmp_path):
    found = run(tmp_path, write(tmp_path / "one", malignant=1))
    assert len(found.images) == 1
    assert found.pairs.empty
    assert {finding.estimate.value for finding in found.confounding.findings} == {None}


def test_only_duplicates(tmp_path):
    folder = tmp_path / "same"
    (folder / "benign").mkdir(parents=True)
    for number in range(9):
        draw(0).save(folder / "benign" / f"{number}.png")
    found = run(tmp_path, folder)
    assert found.images["group_id"].nunique() == 1
    assert set(found.pairs["kind"]) == {"same_bytes"}


def test_a_source_listed_twice_needs_two_names_and_is_then_all_leak(tmp_path, source):
    with pytest.raises(ManifestError, match="two sources are called 'clinic'"):
        run(tmp_path, source, source)
    found = run(tmp_path, f"a={source}", f"b={source}")
    leak = next(leak for leak in found.leaks if leak.across == "sources")
    assert (leak.groups, leak.images) == (10, 20)


def test_nothing_readable_is_one_clear_line(tmp_path):
    folder = tmp_path / "broken"
    (folder / "benign").mkdir(parents=True)
    (folder / "benign" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(
        ManifestError, match="not one of 1 images can be read; the first: no image in a known"
    ):
        run(tmp_path, folder)


def test_names_in_any_script_and_an_unlabelled_class_folder_beside(tmp_path):
    folder = write(tmp_path / "Überweisung 2024 – «Haut»", benign=2, malignant=2)
    draw(7).save(folder / "loose.png")
    found = run(tmp_path, folder)
    assert len(found.images) == 4
    assert by_check(found)["no label"].path.endswith("loose.png")


def test_a_stopped_audit_goes_on_where_it_was(tmp_path, source, monkeypatch):
    monkeypatch.setattr(pictures, "_CHUNK", 1)
    monkeypatch.setattr(workers, "_FEW", 99)  # threads, which see what is patched here
    read, seen, lock = pictures._read_image, [], threading.Lock()

    def count(path):
        with lock:
            seen.append(path)
        time.sleep(0.05)
        return read(path)

    def stop(stage, done, total):
        if stage == "reading images" and done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(pictures, "_read_image", count)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source, progress=stop)
    assert 2 <= len(seen) < 10
    found = run(tmp_path, source)
    assert len(seen) == len(set(seen)) == 10
    assert len(found.images) == 10
    audit.discard_work(tmp_path / "out")
    assert not (tmp_path / "out" / audit.WORK).exists()
    assert found.pairs.equals(run(tmp_path, source).pairs)


def test_processes_find_what_threads_find(tmp_path, source, monkeypatch):
    with Image.open(source / "benign" / "002.png") as picture:
        picture.resize((90, 90)).save(source / "malignant" / "copy.png")
    by_threads = run(tmp_path, source)
    monkeypatch.setattr(pictures, "_CHUNK", 2)
    monkeypatch.setattr(matcher, "_BATCH", 8)
    by_processes = run(tmp_path, source)
    assert len(by_threads.pairs) == 1
    assert by_processes.pairs.equals(by_threads.pairs)
    assert by_processes.images.equals(by_threads.images)


def test_damaged_work_is_done_again(tmp_path, source, monkeypatch):
    paths = sorted(str(path) for path in source.rglob("*.png"))
    content = [str(number) for number in range(len(paths))]
    first = pictures.read(paths, content, tmp_path / "work")
    store = next((tmp_path / "work").glob("*.npz"))
    store.write_bytes(store.read_bytes()[:1000])
    again = pictures.read(paths, content, tmp_path / "work")
    assert (first.grey == again.grey).all()
    assert (first.pixels == again.pixels).all()


def test_a_dicom_file_is_read_like_any_other(tmp_path):
    require_extra("pydicom", "dicom")
    import dicom_files

    image = np.asarray(draw(1))
    (tmp_path / "a.dcm").write_bytes(dicom_files.write(image.tobytes(), image))
    found = pictures.read([str(tmp_path / "a.dcm")], ["a"], tmp_path / "work")
    assert (found.error[0], found.mode[0]) == ("", "RGB")


def test_cues_without_the_lesion_find_a_planted_frame(tmp_path):
    """Black corners on melanomas only: the border tells the class, and the audit says so."""
    folder = tmp_path / "planted"
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
        for seed in range(30):
            image = np.asarray(draw(seed + 500 * (label == "malignant"))).copy()
            if label == "malignant":
                y, x = np.mgrid[:120, :120] - 59.5
                image[np.hypot(x, y) > 58] = 0
            Image.fromarray(image).save(folder / label / f"{seed:03}.png")
    findings = {
        finding.cue: finding
        for finding in run(tmp_path, folder).confounding.findings
        if finding.target == "melanoma"
    }
    assert findings["frame"].estimate.value > 0.95
    assert "the shape of the frame alone tells melanoma from other" in findings["frame"].sentence

import shutil

import numpy as np
import pandas as pd
import pytest

from conftest import require_extra

require_extra("cv2", "bench")

from melanoma.data import manifest as manifests
from melanoma.data import workers
from melanoma.errors import ManifestError
from melanoma.evaluation.abcd import table as tables
from melanoma.evaluation.abcd.features import NAMES
from melanoma.evaluation.abcd.table import KNOWN, load, measure


@pytest.fixture
def images(image_folder_of, tmp_path):
    """Nine drawn images of which one is broken and one stands there twice."""
    folder = image_folder_of(tmp_path / "images", train=3, test=1)
    (folder / "train" / "benign" / "image_1.png").write_bytes(b"no image")
    shutil.copy(folder / "train" / "malignant" / "image_2.png", folder / "train" / "malignant" / "again.png")
    return manifests.load([str(folder)])


@pytest.fixture
def described(monkeypatch):
    """Paths of the images that were measured."""
    paths = []
    whole = tables._describe_file
    monkeypatch.setattr(
        tables, "_describe_file", lambda path, digest: paths.append(path) or whole(path, digest)
    )
    return paths


def test_a_row_an_image_in_the_manifests_order(images, described, tmp_path):
    told = []
    table = measure(images, tmp_path / "out", progress=lambda *count: told.append(count))
    assert list(table.columns) == ["source", "image_id", "path", *KNOWN, *NAMES]
    assert table["path"].tolist() == images.table["path"].tolist()
    assert len(described) == len(table) - 1  # equal files once
    assert told[-1] == (8, 8)
    broken = table["error"] != ""
    assert broken.sum() == 1
    assert table.loc[broken, list(NAMES)].isna().all(axis=None)
    again = table["image_id"].str.contains("again") | table["path"].str.endswith("malignant/image_2.png")
    assert table.loc[again & table["path"].str.contains("train"), list(NAMES)].duplicated().sum() == 1


def test_table_on_disk_is_the_table(images, tmp_path):
    table = measure(images, tmp_path / "out")
    read = load(tmp_path / "out" / "features.csv")
    pd.testing.assert_frame_equal(read[list(NAMES)], table[list(NAMES)])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["features.csv"]


@pytest.mark.parametrize("place", ["own", "given"])
def test_what_is_known_is_not_measured_again_but_a_broken_file_is(place, images, described, tmp_path):
    first = measure(images, tmp_path / "out")
    content = (tmp_path / "out" / "features.csv").read_bytes()
    described.clear()
    output = tmp_path / ("out" if place == "own" else "other")
    second = measure(images, output, [] if place == "own" else [tmp_path / "out" / "features.csv"])
    assert [path.rsplit("/", 1)[1] for path in described] == ["image_1.png"]
    pd.testing.assert_frame_equal(first, second)
    assert (output / "features.csv").read_bytes() == content


def test_stopped_run_goes_on(images, described, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_CHUNK", 2)
    monkeypatch.setattr(workers, "_FEW", 99)  # threads, which see what is patched here

    def stop(done, total):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(images, tmp_path / "out", progress=stop)
    kept = [load(path) for path in (tmp_path / "out" / tables.WORK).glob("*.csv")]
    assert 0 < len(kept) < 4
    assert not (tmp_path / "out" / "features.csv").exists()
    described.clear()
    whole = measure(images, tmp_path / "out")
    assert len(described) == 8 - sum((part["error"] == "").sum() for part in kept)
    pd.testing.assert_frame_equal(whole, measure(images, tmp_path / "fresh"))


def test_features_of_another_version_are_measured_anew(images, described, tmp_path, monkeypatch):
    measure(images, tmp_path / "out")
    described.clear()
    monkeypatch.setattr(tables, "VERSION", tables.VERSION + 1)
    table = measure(images, tmp_path / "out")
    assert len(described) == 8
    assert (table["features_version"] == tables.VERSION).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda table: table.drop(columns="size_diameter"), "lacks the column 'size_diameter'"),
        (lambda table: table.assign(size_diameter="large"), "a feature that is no number"),
    ],
)
def test_given_file_that_is_no_such_table_is_one_line(damage, message, images, tmp_path):
    table = measure(images, tmp_path / "out")
    damage(table.astype({"size_diameter": object})).to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(ManifestError, match=message):
        measure(images, tmp_path / "new", [tmp_path / "other.csv"])
    assert not (tmp_path / "new").exists()


def test_numbers_are_kept_to_six_digits(images, tmp_path):
    values = measure(images, tmp_path / "out")[list(NAMES)].to_numpy()
    values = values[np.isfinite(values)]
    assert all(float(f"{value:.6g}") == value for value in values)

import errno
import logging
import sys
from types import SimpleNamespace

import pytest

from conftest import require_extra, write_images

require_extra("httpx", "data")

from melanoma.data.download import kaggle
from melanoma.errors import DownloadError, MissingExtraError, OutputError


class KaggleError(OSError):
    """As requests makes them: an OSError with an answer, or without one when nobody answered."""

    def __init__(self, status=None):
        super().__init__("refused\nby the server")
        self.response = SimpleNamespace(status_code=status) if status else None


@pytest.fixture
def cache(tmp_path):
    """What kagglehub leaves: 6 training and 4 test images in a versioned folder."""
    write_images(tmp_path / "cache" / "versions" / "3" / "melanoma_cancer_dataset", train=3, test=2)
    return tmp_path / "cache" / "versions" / "3"


@pytest.fixture
def kagglehub(monkeypatch, cache):
    """A stand-in for the library: `problems` are raised one a call before it brings the folder."""

    def dataset_download(handle):
        stub.asked.append(handle)
        print("Downloading to ...")
        if stub.problems:
            raise stub.problems.pop(0)
        return str(cache)

    stub = SimpleNamespace(dataset_download=dataset_download, asked=[], problems=[])
    monkeypatch.setitem(sys.modules, "kagglehub", stub)
    return stub


def get(output, progress=None):
    return kaggle.unpack(kaggle.fetch(output, sleep=lambda _: None), output, progress=progress)


def test_class_folders_and_terms(kagglehub, tmp_path, capsys):
    seen = []
    result = get(tmp_path / "out", lambda done, total: seen.append((done, total)))
    assert kagglehub.asked == ["hasnainjaved/melanoma-skin-cancer-dataset-of-10000-images"]
    assert (result.fetched, result.present) == (10, 0)
    assert seen[-1] == (10, 10)
    images = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")
    )
    assert len(images) == 10
    assert images[0] == "test/benign/image_0.png"
    text = (tmp_path / "out/LICENCE.txt").read_text(encoding="utf-8")
    assert "CC0" in text
    assert "CC BY-NC" in text
    assert "version 3" in text
    assert "CC BY-NC" in (tmp_path / "out/attribution.csv").read_text(encoding="utf-8")
    assert capsys.readouterr().out == ""


def test_the_manifest_reads_it(kagglehub, tmp_path):
    require_extra("pandas", "bench")
    from melanoma.data import manifest

    get(tmp_path / "out")
    loaded = manifest.load([str(tmp_path / "out")])
    assert loaded.sources[0].layout == "class folders"
    assert loaded.table.groupby(["given_split", "y_true"]).size().to_dict() == {
        ("test", 0): 2, ("test", 1): 2, ("train", 0): 3, ("train", 1): 3,
    }  # fmt: skip
    assert loaded.skipped == ()


def test_a_second_call_copies_what_is_missing(kagglehub, tmp_path, cache):
    get(tmp_path / "out")
    image = tmp_path / "out/train/malignant/image_1.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:-9])
    (tmp_path / "out/train/malignant/image_2.png").unlink()
    result = get(tmp_path / "out")
    assert (result.fetched, result.present) == (2, 8)
    assert image.read_bytes() == whole


@pytest.mark.parametrize("problem", [KaggleError(), KaggleError(503), KaggleError(429), TimeoutError("slow")])
def test_what_passes_is_tried_again(kagglehub, tmp_path, problem):
    kagglehub.problems = [problem] * (kaggle.TRIES - 1)
    assert get(tmp_path / "out").fetched == 10


@pytest.mark.parametrize(
    ("problem", "asked"), [(KaggleError(404), 1), (KaggleError(403), 1), (KaggleError(), kaggle.TRIES)]
)
def test_what_does_not_pass_is_one_line(kagglehub, tmp_path, problem, asked):
    kagglehub.problems = [problem] * kaggle.TRIES
    with pytest.raises(DownloadError, match="refused by the server") as caught:
        get(tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert len(kagglehub.asked) == asked
    assert not (tmp_path / "out").exists()


def test_a_full_disk_stays_a_full_disk(kagglehub, tmp_path):
    kagglehub.problems = [OSError(errno.ENOSPC, "No space left on device")]
    with pytest.raises(OSError, match="No space"):
        get(tmp_path / "out")
    assert len(kagglehub.asked) == 1


def test_a_set_that_looks_different(kagglehub, tmp_path, cache):
    (cache / "melanoma_cancer_dataset" / "test").rename(cache / "melanoma_cancer_dataset" / "proof")
    with pytest.raises(DownloadError, match="the set has changed"):
        get(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_refused_before_anything_is_fetched(kagglehub, tmp_path, image_files):
    with pytest.raises(OutputError, match="holds other files"):
        get(image_files[0].parent)
    assert kagglehub.asked == []


def test_without_kagglehub(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtraError, match=r"kagglehub is not installed.*melanoma\[data\]"):
        get(tmp_path / "out")


def test_the_real_library_has_what_is_called(capsys):
    """Its log must not go to standard output, where results go."""
    require_extra("kagglehub", "data")
    library = kaggle._import()
    assert callable(library.dataset_download)
    logging.getLogger("kagglehub").warning("a word")
    assert capsys.readouterr().out == ""

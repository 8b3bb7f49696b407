import pytest

from conftest import require_extra

require_extra("httpx", "data")

import archive_server as faults
from archive_server import Archive, serve
from melanoma.data.download import http


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.001)
    return Archive()


@pytest.fixture
def get(archive, run_melanoma, tmp_path):
    """A function that runs `melanoma data get` against the local server: exit code, output, standard error."""
    with serve(archive) as api:
        yield lambda *words: run_melanoma("data", "get", *words, "--api", api, "-o", tmp_path / "out")


def test_a_collection(get, tmp_path):
    code, output, errors = get("isic:7")
    assert code == 0
    assert output == (
        f"ISIC Archive, collection 7 (Seven, 10.1/7): 5 images in {tmp_path / 'out'}"
        " (5 fetched now, 0 failed); licences: CC-BY-NC 4, CC-0 1\n"
    )
    assert "Traceback" not in errors
    assert "(0 fetched now, 0 failed)" in get("isic:7")[1]


def test_a_search(get, tmp_path):
    code, output, _ = get("isic", "--search", "diagnosis_1:Malignant", "--limit", "3", "--size", "thumbnail")
    assert code == 0
    assert output.startswith("ISIC Archive, search 'diagnosis_1:Malignant': 3 images")
    assert len(list((tmp_path / "out/images").iterdir())) == 3


def test_failed_images_are_named(get, archive):
    archive.files.pop("/files/ISIC_0000002.jpg")
    code, output, errors = get("isic:7")
    assert code == 0
    assert "ISIC_0000002: " in errors
    assert "4 images" in output
    assert "1 failed" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["isic:8"], "no public collection 8"),
        (["isic", "--search", "nothing"], "no public image that fits"),
        (["isic"], "whole ISIC Archive"),
        (["isic:HAM"], "number of a collection"),
        (["isic:"], "number of a collection"),
        (["isic:-1"], "number of a collection"),
        (["ham10000"], "no known collection"),
        (["melanoma10k"], "comes whole"),
        (["isic:7", "--limit", "0"], "--limit"),
        (["isic:7", "--size", "huge"], "--size"),
    ],
)
def test_requests_that_cannot_be_met(get, tmp_path, words, message):
    code, output, errors = get(*words)
    assert (code, output) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_could_be_fetched(get, archive):
    for path in archive.files:
        archive.faults[path] = [faults.html] * 100
    code, output, errors = get("isic:7")
    assert (code, output) == (2, "")
    assert "not one image could be fetched" in errors


def test_another_request_into_the_same_folder(get):
    get("isic:7", "--limit", "1")
    code, _, errors = get("isic", "--search", "a:b")
    assert code == 2
    assert "holds another download" in errors


def test_a_host_that_is_not_there(archive, run_melanoma, tmp_path):
    code, _, errors = run_melanoma(
        "data", "get", "isic:7", "--api", "http://127.0.0.1:9", "-o", tmp_path / "out"
    )
    assert code == 2
    assert "cannot reach 127.0.0.1:9" in errors
    assert errors.count("\n") == 1

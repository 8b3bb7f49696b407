import pytest

from melanoma.errors import BundleError
from melanoma.serving import bundle_source


def test_a_folder_is_itself():
    assert bundle_source.find_folder("runs/1/bundle", None) == "runs/1/bundle"
    assert bundle_source.find_folder(None, None) is None


def test_another_process_asks_the_registry(monkeypatch, tmp_path):
    monkeypatch.setattr(bundle_source, "FETCH", "import sys; print('noise'); print(*sys.argv[1:], sep='|')")
    found = bundle_source.find_folder("models:/melanoma@champion", tmp_path)
    assert found == f"models:/melanoma@champion|{tmp_path}"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "import sys; print('noise', file=sys.stderr); sys.exit('MLflow has no such model')",
            "^MLflow has no such",
        ),
        ("import os; os._exit(9)", "^cannot fetch models:/"),
        ("import time; time.sleep(9)", "did not come within"),
    ],
)
def test_what_goes_wrong_there_is_one_line(monkeypatch, tmp_path, code, words):
    monkeypatch.setattr(bundle_source, "FETCH", code)
    monkeypatch.setattr(bundle_source, "SECONDS", 1)
    with pytest.raises(BundleError, match=words):
        bundle_source.find_folder("models:/melanoma@champion", tmp_path)

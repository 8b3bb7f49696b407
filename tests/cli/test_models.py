import json

import pytest

from conftest import require_extra

require_extra("pandas", "bench")
require_extra("markdown_it", "bench")


@pytest.fixture
def evaluated(run_melanoma, image_folder, tiny_bundle, tmp_path):
    folder = tmp_path / "evaluated"
    code, _, err = run_melanoma(
        "evaluate", image_folder, "--split", "test", "--bundle", tiny_bundle, "--no-skin-tone",
        "--resamples", 100, "-o", folder,
    )  # fmt: skip
    assert code == 0, err
    return folder


def test_card_of_an_evaluation(run_melanoma, tiny_bundle, evaluated, tmp_path):
    arguments = ["models", "card", "--bundle", tiny_bundle, "--evaluation", evaluated]
    code, out, err = run_melanoma(*arguments)
    assert (code, err) == (0, "")
    assert "16 images, 8 of them melanoma" in out
    code, said, _ = run_melanoma(*arguments, "-o", tmp_path / "new" / "MODEL_CARD.md")
    assert (code, said) == (0, f"card: {tmp_path / 'new' / 'MODEL_CARD.md'}\n")
    assert (tmp_path / "new" / "MODEL_CARD.md").read_text(encoding="utf-8") == out
    assert str(tmp_path) not in out
    run_melanoma(*arguments, "-o", tmp_path / "card.html")
    assert (tmp_path / "card.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_evaluation_of_another_bundle_is_one_line(run_melanoma, evaluated, tmp_path):
    code, out, err = run_melanoma("models", "card", "--evaluation", evaluated, "-o", tmp_path / "card.md")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "is of another model" in err
    assert not (tmp_path / "card.md").exists()


def test_facts_as_json(run_melanoma, tiny_bundle):
    code, out, _ = run_melanoma("models", "card", "--bundle", tiny_bundle, "--json")
    assert code == 0
    assert json.loads(out)["calibration"]["prevalence"] > 0
    code, _, err = run_melanoma("models", "card", "--bundle", tiny_bundle, "--json", "-o", "x.md")
    assert code == 2
    assert "--json prints the bundle alone" in err

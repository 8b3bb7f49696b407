import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import draw, require_extra, write_images

require_extra("pandas", "bench")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A CSV of 40 drawn images with age, sex and a given test split, and its folder."""
    folder = tmp_path_factory.mktemp("collection")
    rows = []
    for number in range(40):
        melanoma = number % 2
        Image.fromarray(draw(number, melanoma=bool(melanoma))).save(folder / f"{number}.png")
        rows.append(
            {"path": f"{number}.png", "label": ["nevus", "melanoma"][melanoma], "age_approx": number * 4 - 4}
        )
    table = pd.DataFrame(rows)
    table["sex"] = ["male", "female", "female", "robot"] * 10
    table["split"] = ["test" if number < 24 else "train" for number in range(40)]
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


@pytest.fixture
def evaluate(run_melanoma, tiny_bundle, tmp_path):
    """A function that runs `melanoma evaluate` into a folder `out`, with the tiny bundle unless told otherwise."""

    def run(*arguments, bundle=tiny_bundle):
        chosen = [] if bundle is None else ["--bundle", bundle]
        return run_melanoma("evaluate", *arguments, *chosen, "-o", tmp_path / "out", "--resamples", 100)

    return run


@pytest.fixture
def predictions(collection, tmp_path):
    """A function that writes predictions for the collection: a CSV."""

    def write(name="p.csv", **columns):
        rng = np.random.default_rng(len(name))
        shares = np.round(rng.random(40), 3)
        table = pd.DataFrame({"path": [f"{number}.png" for number in range(40)], "y_prob": shares})
        table.assign(**columns).to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return write


def saved(tmp_path):
    """`evaluation.json`, which must hold no NaN."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads((tmp_path / "out" / "evaluation.json").read_text(), parse_constant=refuse)


def page_text(tmp_path):
    return " ".join(re.sub(r"<[^>]+>", " ", (tmp_path / "out" / "report.html").read_text()).split())


def test_bundle_is_judged_in_parts_with_worst_errors(evaluate, collection, tmp_path):
    code, out, err = evaluate(collection, "--split", "test")
    assert code == 0, err
    assert "partial_auroc: " in out
    (report,) = saved(tmp_path)["evaluations"]
    parts = {part["by"]: part for part in report["breakdowns"]}
    assert set(parts) == {"age", "sex", "site", "diagnosis", "skin tone"}
    assert (parts["age"]["n_impossible"], parts["sex"]["n_impossible"]) == (1, 6)
    text = page_text(tmp_path)
    for words in (
        "1 image has a value that cannot be",
        "not stated for any image",
        "Skin tone (estimate)",
        "too few to say",
    ):
        assert words in text
    wrong = report["confusion"]["fn"] + report["confusion"]["fp"]
    assert len(report["mistakes"]) == min(wrong, 12 * 2)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(report["mistakes"])
    assert len(page) < 1_500_000
    assert "nan" not in text.lower().split()


def test_skin_tone_can_be_left_out(evaluate, collection, tmp_path):
    assert evaluate(collection, "--no-skin-tone")[0] == 0
    assert "skin tone" not in {part["by"] for part in saved(tmp_path)["evaluations"][0]["breakdowns"]}


def test_any_models_predictions_are_judged(evaluate, collection, predictions, tmp_path):
    code, out, err = evaluate(collection, "--predictions", predictions(), "--threshold", "0.5", bundle=None)
    assert code == 0, err
    (report,) = saved(tmp_path)["evaluations"]
    assert report["operating_point"]["threshold"] == 0.5
    assert "How this threshold was chosen is not known" in page_text(tmp_path)
    assert re.search(r"auroc: 0\.\d+ \(", out)


def test_predictions_may_cover_more_than_the_split(evaluate, collection, predictions, tmp_path):
    path = predictions(decision="refer")
    assert evaluate(collection, "--predictions", path, "--split", "test", bundle=None)[0] == 0
    (report,) = saved(tmp_path)["evaluations"]
    assert (report["n"], report["operating_point"]) == (24, None)
    assert "The decisions came with the predictions" in page_text(tmp_path)


def test_two_models_are_compared(evaluate, collection, predictions, tmp_path):
    path = predictions(threshold=0.5)
    code, out, err = evaluate(collection, "--compare", path)
    assert code == 0, err
    assert re.search(r"auroc, tiny minus p.csv: ", out)
    assert re.search(r"DeLong's test of equal auroc: z ", out)
    comparison = saved(tmp_path)["comparison"]
    assert (comparison["first"], comparison["second"], comparison["n"]) == ("tiny", "p.csv", 40)
    assert "Compared with p.csv" in page_text(tmp_path)


def test_bundle_compared_with_itself_differs_in_nothing(evaluate, collection, tiny_bundle, tmp_path):
    assert evaluate(collection, "--compare", tiny_bundle)[0] == 0
    comparison = saved(tmp_path)["comparison"]
    assert comparison["delong"] is None
    assert comparison["first"].startswith("tiny (")
    assert {pair["difference"]["value"] for pair in comparison["figures"].values()} == {0}


def test_groups_widen_the_bootstrap_and_are_counted(evaluate, collection, predictions, tmp_path):
    groups = pd.DataFrame({"source": "labels", "path": [f"{n}.png" for n in range(40)]})
    groups.assign(group_id=[str(n // 8) for n in range(40)]).to_csv(tmp_path / "groups.csv", index=False)
    options = ("--predictions", predictions(), "--threshold", "0.5", "--compare", predictions("second.csv"))
    code, _, err = evaluate(collection, *options, "--groups", tmp_path / "groups.csv", bundle=None)
    assert code == 0, err
    (report,) = saved(tmp_path)["evaluations"]
    assert (report["n"], report["n_groups"]) == (40, 5)
    assert "DeLong's test does not know that" in page_text(tmp_path)


def test_looks_at_test_images_are_noted_beside_the_run(evaluate, collection, bundle_copy, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    for number in (1, 2):
        code, out, err = evaluate(collection, "--split", "test", bundle=bundle_copy)
        assert code == 0, err
        assert f"looks at test images so far: {number}, of exactly these: {number}" in out
    lines = [json.loads(line) for line in (tmp_path / "test-looks.jsonl").read_text().splitlines()]
    assert [(line["n"], line["splits"], line["data"]) for line in lines] == [
        (24, ["test"], [str(collection)])
    ] * 2
    assert "Test images have been looked at 2 times" in page_text(tmp_path)
    assert saved(tmp_path)["test_looks"]["total"] == 2
    assert not (tmp_path / "out" / "test-looks.jsonl").exists()


def test_looks_without_a_run_are_noted_in_the_output_and_training_images_are_no_look(
    evaluate, collection, tmp_path
):
    assert "looks at test images" not in evaluate(collection, "--split", "train")[1]
    assert "looks at test images so far: 1" in evaluate(collection)[1]
    assert (tmp_path / "out" / "test-looks.jsonl").exists()
    assert "This is the first look" in page_text(tmp_path)


@pytest.fixture
def splits(run_melanoma, collection, image_folder, tmp_path):
    """Splits of two sources in which b is the test."""
    table = tmp_path / "splits.csv"
    code, _, err = run_melanoma(
        "split", f"a={collection}", f"b={image_folder}", "--train-on", "a", "-o", table
    )
    assert code == 0, err
    return table


def test_splits_of_a_file_say_what_is_judged(evaluate, collection, image_folder, splits, tmp_path):
    data = f"a={collection}", f"b={image_folder}"
    table = pd.read_csv(splits)
    n_test = (table["split"] == "test").sum()
    code, out, err = evaluate(*data, "--splits", splits, "--split", "test")
    assert code == 0, err
    assert saved(tmp_path)["evaluations"][0]["n"] == n_test
    assert "looks at test images so far: 1" in out
    line = json.loads((tmp_path / "out" / "test-looks.jsonl").read_text().splitlines()[0])
    assert (line["n"], line["splits"]) == (n_test, ["test"])
    assert evaluate(*data, "--splits", splits, "--split", "val")[1].count("looks at test images") == 0
    assert evaluate(*data, "--splits", splits, "--split", "val", "--split", "calibration")[0] == 0
    (report,) = saved(tmp_path)["evaluations"]
    assert report["name"] == "val and calibration"
    assert report["n"] == table["split"].isin(["val", "calibration"]).sum()
    code, _, err = evaluate(*data, "--splits", splits, "--split", "val", "--split", "vall")
    assert (code, "no image is given as 'vall'" in err) == (2, True)


def test_one_source_is_judged_alone(evaluate, collection, image_folder, splits, predictions, tmp_path):
    data = f"a={collection}", f"b={image_folder}"
    code, _, err = evaluate(*data, "--splits", splits, "--split", "test", "--source", "b")
    assert code == 0, err
    (report,) = saved(tmp_path)["evaluations"]
    assert (report["name"], report["n"], report["within_sources"]) == ("test of b", 64, None)
    code, _, err = evaluate(*data, "--source", "a")
    assert code == 0, err
    assert (saved(tmp_path)["evaluations"][0]["name"], saved(tmp_path)["evaluations"][0]["n"]) == ("a", 40)
    path = predictions(decision="refer")  # of a alone, but b is not judged
    assert evaluate(*data, "--source", "a", "--predictions", path, bundle=None)[0] == 0
    code, _, err = evaluate(*data, "--source", "c")
    assert (code, "no source is called 'c'; there are 'a', 'b'" in err) == (2, True)


def test_groups_of_splits_are_drawn_together(evaluate, collection, tmp_path):
    table = pd.DataFrame({"source": "labels", "image_id": [str(n) for n in range(40)]})
    table = table.assign(group_id=[str(n // 8) for n in range(40)], split="test")
    table.loc[table.index >= 24, "split"] = "train"
    table.to_csv(tmp_path / "s.csv", index=False)
    code, _, err = evaluate(collection, "--splits", tmp_path / "s.csv", "--split", "test")
    assert code == 0, err
    (report,) = saved(tmp_path)["evaluations"]
    assert (report["n"], report["n_groups"]) == (24, 3)


def test_several_sources_have_a_mean_within_them(evaluate, collection, image_folder, tmp_path):
    code, out, err = evaluate(f"a={collection}", f"b={image_folder}")
    assert code == 0, err
    assert re.search(r"auroc within sources, mean: \d", out)
    (report,) = saved(tmp_path)["evaluations"]
    assert report["within_sources"]["sources"] == ["a", "b"]
    assert [part["name"] for part in report["breakdowns"][0]["subgroups"]] == ["b", "a"]
    assert "Within each source" in page_text(tmp_path)


@pytest.mark.parametrize("label", ["benign", "malignant"])
def test_one_class_leaves_out_what_does_not_exist(label, evaluate, tmp_path):
    images = write_images(tmp_path / "images", train=12, test=1)
    shutil.rmtree(images / "train" / ({"benign", "malignant"} - {label}).pop())
    code, out, err = evaluate(images, "--split", "train")
    assert code == 0, err
    assert "auroc: one class only" in out
    (report,) = saved(tmp_path)["evaluations"]
    assert report["figures"]["partial_auroc"] == {
        "value": None, "low": None, "high": None, "note": "one class only", "dropped": 0,
    }  # fmt: skip


def test_only_refused_images_count_as_referred(evaluate, collection, predictions, tmp_path):
    path = predictions(y_prob="", decision="cannot_assess")
    code, out, err = evaluate(collection, "--predictions", path, bundle=None)
    assert code == 0, err
    assert "auroc: no image was assessed" in out
    assert re.search(r"^sensitivity: 1\.000", out, re.MULTILINE)
    assert re.search(r"^specificity: 0\.000", out, re.MULTILINE)
    (report,) = saved(tmp_path)["evaluations"]
    assert (report["coverage"], report["mistakes"]) == (0, [])


def test_images_without_labels_are_left_out_and_counted(evaluate, collection, tmp_path):
    table = pd.read_csv(collection)
    table.loc[:3, "label"] = ""
    table.to_csv(collection.with_name("gaps.csv"), index=False)
    code, _, err = evaluate(collection.with_name("gaps.csv"))
    assert code == 0, err
    document = saved(tmp_path)
    assert document["evaluations"][0]["n"] == 36
    assert document["facts"]["files left out"].startswith("4 ")


def test_images_that_nobody_labelled_are_one_clear_line(evaluate, image_files):
    code, _, err = evaluate(image_files[0].parent)
    assert code == 2
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--predictions", "{csv}", "--bundle", "{bundle}"], "--bundle or --predictions"),
        (["--bundle", "{bundle}", "--threshold", "0.5"], "operating point is frozen"),
        (["--predictions", "{csv}"], "give --threshold"),
        (["--predictions", "{csv}", "--threshold", "1.5"], "threshold"),
        (["--predictions", "gone.csv"], "cannot read gone.csv"),
        (["--bundle", "{bundle}", "--compare", "gone.csv"], "cannot read gone.csv"),
        (["--bundle", "{bundle}", "--groups", "{csv}"], "lacks columns"),
    ],
)
def test_options_that_make_no_sense_are_one_line(
    options, message, evaluate, collection, predictions, tiny_bundle, tmp_path
):
    places = {"csv": predictions(), "bundle": tiny_bundle}
    code, _, err = evaluate(collection, *(option.format(**places) for option in options), bundle=None)
    assert code == 2
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_images_of_which_not_one_can_be_read(evaluate, tmp_path):
    for label in ("benign", "malignant"):
        (tmp_path / "broken" / label).mkdir(parents=True)
        (tmp_path / "broken" / label / "1.jpg").write_bytes(b"no image")
    code, _, err = evaluate(tmp_path / "broken", "--no-skin-tone")
    assert code == 2
    assert "not one of 2 images can be read; the first: " in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_predictions_are_not_written_over(evaluate, collection, predictions, tmp_path):
    (tmp_path / "out").mkdir()
    path = predictions("out/predictions.csv")
    code, _, err = evaluate(collection, "--predictions", path, "--threshold", "0.5", bundle=None)
    assert code == 2
    assert err.splitlines() == [f"melanoma: {path} is one of the inputs; give another --output"]


def test_results_do_not_go_into_the_data(run_melanoma, tiny_bundle, collection):
    before = sorted(collection.rglob("*"))
    code, _, err = run_melanoma("evaluate", collection, "--bundle", tiny_bundle, "-o", collection)
    assert code == 2
    assert err.splitlines() == [f"melanoma: {collection} is one of the inputs; give another --output"]
    assert sorted(collection.rglob("*")) == before

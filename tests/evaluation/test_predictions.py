import pandas as pd
import pytest

from manifests import make_manifest
from melanoma.data.tables import write_table
from melanoma.errors import ConfigError, ManifestError
from melanoma.evaluation.evaluate import evaluate
from melanoma.evaluation.predictions import load


@pytest.fixture
def manifest():
    return make_manifest(
        [{"y_true": number % 2, "source": source} for source in ("a", "b") for number in range(3)]
    )


@pytest.fixture
def write(tmp_path):
    def write_csv(**columns):
        path = tmp_path / "p.csv"
        pd.DataFrame(columns, dtype=object).to_csv(path, index=False)
        return path

    return write_csv


SHARES = [0.1, 0.9, 0.3, 0.4, 0.6, 0.2]


def probabilities(path, manifest, **options):
    saved = load(path, manifest, **options)
    return [prediction.y_prob for prediction in saved.score(manifest.table["path"].tolist())]


def test_rows_are_found_by_absolute_path_in_any_order(write, manifest):
    paths = manifest.table["path"].tolist()
    path = write(path=paths[::-1], y_prob=SHARES[::-1])
    assert probabilities(path, manifest, threshold=0.5) == SHARES


def test_rows_are_found_by_path_below_their_source(write, manifest):
    names = [f"{number:04}.jpg" for number in range(6)]
    assert probabilities(write(path=names, y_prob=SHARES), manifest, threshold=0.5) == SHARES


def test_rows_are_found_by_image_id_when_the_images_lie_elsewhere(write, manifest):
    ids = manifest.table["image_id"].tolist()
    path = write(path=[f"/elsewhere/{name}.jpg" for name in ids], image_id=ids, y_prob=SHARES)
    assert probabilities(path, manifest, threshold=0.5) == SHARES


def test_source_tells_equal_ids_apart(write, manifest):
    manifest.table["image_id"] = ["x", "y", "z"] * 2
    ids, sources = manifest.table["image_id"].tolist(), manifest.table["source"].tolist()
    assert (
        probabilities(write(image_id=ids, source=sources, y_prob=SHARES), manifest, threshold=0.5) == SHARES
    )
    with pytest.raises(
        ManifestError, match=r"several sources \(add a column source\): 6, first line 2 \('x'\)"
    ):
        load(write(image_id=ids, y_prob=SHARES), manifest, threshold=0.5)


def test_rows_of_images_that_are_not_judged_are_passed_over(write, manifest):
    judged = manifest.subset((manifest.table["source"] == "b").to_numpy())
    path = write(image_id=manifest.table["image_id"].tolist(), y_prob=SHARES)
    saved = load(path, judged, manifest, threshold=0.5)
    assert [p.y_prob for p in saved.score(judged.table["path"].tolist())] == SHARES[3:]
    with pytest.raises(ManifestError, match=r"name no image of the data: 3, first line 2 \('0000'\)"):
        load(path, judged, threshold=0.5)


def test_threshold_decides_and_is_stated(write, manifest):
    path = write(image_id=manifest.table["image_id"].tolist(), y_prob=SHARES)
    saved = load(path, manifest, threshold=0.4)
    decisions = [str(p.decision) for p in saved.score(manifest.table["path"].tolist())]
    assert decisions == ["no_sign", "refer", "no_sign", "refer", "refer", "no_sign"]
    assert saved.operating_point.threshold == 0.4
    with pytest.raises(ConfigError, match="give --threshold, or a column decision or threshold"):
        load(path, manifest)


def test_threshold_column_may_differ_from_row_to_row(write, manifest):
    ids = manifest.table["image_id"].tolist()
    saved = load(write(image_id=ids, y_prob=SHARES, threshold=[0.05, 0.95, 0.5, 0.5, 0.5, 0.5]), manifest)
    assert [str(p.decision) for p in saved.score(manifest.table["path"][:2])] == ["refer", "no_sign"]
    assert saved.operating_point is None
    assert load(write(image_id=ids, y_prob=SHARES, threshold=0.2), manifest).operating_point.threshold == 0.2


def test_decision_column_stands_and_refused_images_need_no_probability(write, manifest):
    ids = manifest.table["image_id"].tolist()
    words = ["refer", "0", "cannot_assess", "1", "no_sign", "cannot_assess"]
    path = write(image_id=ids, y_prob=[0.1, 0.9, "", 0.4, 0.6, 0.2], decision=words)
    report = evaluate(load(path, manifest), manifest, name="test", resamples=20)
    # y_true is 0 1 0 0 1 0; refused images count as referred.
    assert (report.confusion.tp, report.confusion.fn) == (0, 2)
    assert (report.confusion.fp, report.confusion.tn) == (4, 0)
    assert report.coverage == pytest.approx(4 / 6)
    assert report.operating_point is None
    again = evaluate(load(path, manifest, threshold=0.5), manifest, name="test", resamples=20)
    assert (again.confusion.tp, again.confusion.tn, again.coverage) == (2, 2, pytest.approx(4 / 6))


def test_what_evaluate_wrote_can_be_judged_again(write, manifest, tmp_path):
    path = write(image_id=manifest.table["image_id"].tolist(), y_prob=SHARES)
    first = evaluate(load(path, manifest, threshold=0.5), manifest, name="test", resamples=50)
    write_table(first.rows, tmp_path / "again.csv")
    second = evaluate(load(tmp_path / "again.csv", manifest), manifest, name="test", resamples=50)
    assert second.figures == first.figures


@pytest.mark.parametrize(
    ("decisions", "thresholds", "known"),
    [
        (["no_sign", "refer", "no_sign", "cannot_assess", "refer", "no_sign"], [0.5] * 6, True),
        (["no_sign", "refer", "no_sign", "refer", "refer", "no_sign"], [0.5] * 6, False),
        (["no_sign", "refer", "no_sign", "no_sign", "refer", "no_sign"], [0.5] * 5 + [0.6], False),
        (["no_sign", "refer", "no_sign", "no_sign", "refer", "no_sign"], ["high"] * 6, False),
    ],
)
def test_threshold_beside_decisions_is_stated_when_it_explains_them(
    decisions, thresholds, known, write, manifest
):
    ids = manifest.table["image_id"].tolist()
    saved = load(write(image_id=ids, y_prob=SHARES, decision=decisions, threshold=thresholds), manifest)
    assert [str(p.decision) for p in saved.score(manifest.table["path"].tolist())] == decisions
    assert (saved.operating_point is not None) is known
    if known:
        assert saved.operating_point.threshold == 0.5


def test_digest_names_the_file(write, manifest):
    ids = manifest.table["image_id"].tolist()
    first = load(write(image_id=ids, y_prob=SHARES), manifest, threshold=0.5).digest
    assert load(write(image_id=ids, y_prob=SHARES), manifest, threshold=0.5).digest == first
    assert load(write(image_id=ids, y_prob=[0.11, *SHARES[1:]]), manifest, threshold=0.5).digest != first


IDS = [f"{number:04}" for number in range(6)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image_id": IDS[:4], "y_prob": SHARES[:4]}, "lacks 2 of 6 images, first /data/b/0004.jpg"),
        ({"image_id": [], "y_prob": []}, "lacks 6 of 6 images"),
        (
            {"image_id": [*IDS, "x", "y"], "y_prob": [*SHARES, 0.1, 0.2]},
            r"no image of the data: 2, first line 8 \('x'\)",
        ),
        (
            {"image_id": [*IDS, IDS[2]], "y_prob": [*SHARES, 0.1]},
            r"repeat an image: 1, first line 8 \('0002'\)",
        ),
        (
            {"image_id": IDS, "y_prob": [0.1, 1.2, -0.3, 0.4, 0.6, 0.2]},
            r"from 0 to 1: 2, first line 3 \('1.2'\)",
        ),
        (
            {"image_id": IDS, "y_prob": [0.1, 0.2, "NaN", 0.4, 0.6, 0.2]},
            r"from 0 to 1: 1, first line 4 \('NaN'\)",
        ),
        (
            {"image_id": IDS, "y_prob": [0.1, 0.2, 0.3, "", 0.6, 0.2]},
            r"from 0 to 1: 1, first line 5 \(empty\)",
        ),
        (
            {"image_id": IDS, "y_prob": [0.1, 0.2, 0.3, 0.4, 0.6, "inf"]},
            r"from 0 to 1: 1, first line 7 \('inf'\)",
        ),
        ({"image_id": IDS, "y_prob": ["high"] * 6}, r"from 0 to 1: 6, first line 2 \('high'\)"),
        (
            {"image_id": IDS, "y_prob": SHARES, "decision": ["refer", *["yes"] * 5]},
            r"5, first line 3 \('yes'\)",
        ),
        ({"image_id": IDS, "probability": SHARES}, "lacks columns: y_prob; found: image_id, probability"),
        ({"name": IDS, "score": SHARES}, "lacks columns: path or image_id and y_prob; found: name, score"),
    ],
)
def test_what_does_not_fit_is_one_line_with_counts_and_the_first_example(columns, message, write, manifest):
    threshold = None if "decision" in columns else 0.5
    with pytest.raises(ManifestError, match=message) as caught:
        load(write(**columns), manifest, threshold=threshold)
    assert "\n" not in str(caught.value)
    assert "p.csv" in str(caught.value)


def test_file_that_is_no_csv_is_named(tmp_path, manifest):
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(ManifestError, match="UTF-8"):
        load(tmp_path / "p.csv", manifest, threshold=0.5)
    with pytest.raises(ManifestError, match="cannot read"):
        load(tmp_path / "gone.csv", manifest, threshold=0.5)

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melanoma.data.tables import write_table
from melanoma.errors import ManifestError, OutputError
from melanoma.evaluation.evaluate import Confusion, EvaluationReport, Refusal, evaluate, summarise
from melanoma.evaluation.report import save
from melanoma.inference import bundle as bundles
from melanoma.inference.decision import Decision, OperatingPoint, decide
from melanoma.inference.description import describe
from melanoma.inference.domain import VIEW, Domain
from melanoma.inference.prediction import Prediction
from melanoma.inference.predictor import Predictor
from melanoma.inference.preprocessing import prepare

POINT = OperatingPoint(0.4, 0.95, 0.96, 0.7, 50, 60)


class TableScorer:
    """Says what a table says; None stands for an image that cannot be decoded, a string for a refusal."""

    operating_point = POINT
    digest = "sha256:bundle"

    def __init__(self, answers):
        self.answers = answers

    def score(self, paths):
        for path in paths:
            answer = self.answers[path]
            if answer is None:
                yield self.say(path, None, Decision.CANNOT_ASSESS, "undecodable", f"{path} is no image")
            elif isinstance(answer, tuple):
                yield self.say(path, answer[0], Decision.CANNOT_ASSESS, answer[1], "")
            else:
                yield self.say(path, answer, decide(answer, POINT), "", "")

    def say(self, path, y_prob, decision, reason, error):
        return Prediction("", path, "", y_prob, decision, reason, error, self.digest)


def manifest_of(labels, **columns):
    paths = [f"folder/{number}.jpg" for number in range(len(labels))]
    # An index that does not start at 0, as a part of a larger manifest has it.
    table = pd.DataFrame(
        {"source": "s", "path": paths, "image_id": [f"i{n}" for n in range(len(labels))], "y_true": labels},
        index=range(100, 100 + len(labels)),
    )
    return SimpleNamespace(table=table.assign(**columns), digest="sha256:manifest")


def judge(labels, answers, **options):
    manifest = manifest_of(labels)
    scorer = TableScorer(dict(zip(manifest.table["path"], answers, strict=True)))
    return evaluate(scorer, manifest, name="test", resamples=50, **options)


def rows_of(labels, probabilities, decisions):
    n = len(labels)
    names = [str(number) for number in range(n)]
    return pd.DataFrame(
        {"source": ["s"] * n, "path": names, "image_id": names, "y_true": labels}
        | {"y_prob": probabilities, "decision": decisions, "group": names}
    )


def summarise_rows(rows):
    return summarise(
        rows, name="test", operating_point=POINT, bundle_digest="b", manifest_digest="m", resamples=50
    )


def test_every_image_is_counted_once_and_the_model_is_named():
    report = judge([1, 1, 0, 0, 0], [0.9, 0.1, 0.8, 0.3, 0.2])
    assert report.confusion == Confusion(tp=1, fp=1, tn=2, fn=1)
    assert (report.n, report.n_melanoma, report.n_other, report.n_groups) == (5, 2, 3, 5)
    assert (report.bundle_digest, report.manifest_digest) == ("sha256:bundle", "sha256:manifest")
    assert report.operating_point == POINT
    assert list(report.rows["y_prob"]) == [0.9, 0.1, 0.8, 0.3, 0.2]
    assert list(report.rows["image_id"]) == ["i0", "i1", "i2", "i3", "i4"]


def test_refused_melanoma_counts_as_referred_and_refused_other_as_false_alarm():
    report = judge([1, 1, 0, 0, 0], [(0.1, "no dermoscopy"), None, (0.2, "no dermoscopy"), None, 0.3])
    assert report.confusion == Confusion(tp=2, fp=2, tn=1, fn=0)
    assert report.coverage == pytest.approx(1 / 5)
    assert report.figures["auroc"].value is None
    assert report.figures["auroc_all"].value == 0.0
    expected = [Refusal("no dermoscopy", 1, 1), Refusal("the image could not be read", 1, 1)]
    assert sorted(report.refusals, key=lambda refusal: refusal.reason) == expected


def test_images_that_a_bundle_s_domain_check_refuses_are_counted_so(tiny_bundle, draw_image, tmp_path):
    """The check takes what is near one drawn image; of the four the others, noise, are refused."""
    near = describe(prepare(draw_image(0), VIEW))
    zero = np.zeros((1, len(near)), np.float32)
    domain = Domain(near, np.ones_like(near), zero, np.ones(1, np.float32), 0.6, 100)
    predictor = Predictor(replace(bundles.load(tiny_bundle), domain=domain))
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    manifest = manifest_of([1, 0, 1, 0])
    manifest.table["path"] = [str(tmp_path / f"{number}.png") for number in range(4)]
    pixels = (draw_image(0), draw_image(0), noise, noise)
    for path, image in zip(manifest.table["path"], pixels, strict=True):
        Image.fromarray(image).save(path)
    report = evaluate(predictor, manifest, name="test", resamples=20)
    referred = int(predictor.predict(draw_image(0)).decision is Decision.REFER)
    assert report.confusion == Confusion(tp=1 + referred, fp=1 + referred, tn=1 - referred, fn=1 - referred)
    assert report.coverage == 0.5
    assert [(found.n_melanoma, found.n_other) for found in report.refusals] == [(1, 1)]
    assert report.refusals[0].reason.startswith("this does not look like a dermoscopic image")
    assert report.rows["y_prob"].notna().all()
    assert report.figures["auroc_all"].value == 0.5  # each picture once with either label
    assert report.figures["auroc"].value == 0.5


def test_groups_are_drawn_together():
    labels, answers = [0, 1] * 10, [0.1, 0.3, 0.6, 0.8] * 5
    report = judge(labels, answers, groups=[f"patient{number // 4}" for number in range(20)])
    assert report.n_groups == 5
    # Every patient has the same four images, so patients differ in nothing.
    assert report.figures["auroc"].low is None
    assert judge(labels, answers).figures["auroc"].low is not None


def test_image_without_a_group_stands_alone():
    rows = rows_of([0, 1, 0], [0.1, 0.8, 0.2], ["no_sign", "refer", "no_sign"])
    rows["group"] = ["a", None, None]
    assert summarise_rows(rows).n_groups == 3


def test_progress_counts_up_to_the_end():
    seen = []
    judge([0, 1, 1], [0.1, 0.2, 0.3], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    "change", [lambda paths: paths[::-1], lambda paths: paths[:2], lambda paths: [*paths, paths[0]]]
)
def test_answers_that_do_not_match_the_images_are_our_failure(change):
    manifest = manifest_of([0, 1, 1])
    scorer = TableScorer(dict.fromkeys(manifest.table["path"], 0.5))
    careless = SimpleNamespace(
        operating_point=POINT, digest="", score=lambda paths: scorer.score(change(list(paths)))
    )
    with pytest.raises(RuntimeError, match="the scorer answered"):
        evaluate(careless, manifest, name="test")


def test_report_survives_json():
    report = judge([1, 1, 0, 0, 0, 1], [0.9, 0.1, 0.8, 0.3, None, (0.4, "blur")])
    text = json.dumps(report.to_dict(), allow_nan=False)
    again = EvaluationReport.from_dict(json.loads(text))
    assert again == report
    assert again.rows is None
    assert "rows" not in json.loads(text)


def test_report_with_all_that_manifests_state_survives_json():
    rng = np.random.default_rng(0)
    labels = [0, 1] * 60
    manifest = manifest_of(
        labels,
        source=["a", "a", "b", "b"] * 30,
        age_approx=rng.integers(-5, 130, 120).astype(float),
        sex=["male", "female", ""] * 40,
        anatom_site_general="back",
        diagnosis=["nevus", "melanoma"] * 60,
    )
    scorer = TableScorer(dict(zip(manifest.table["path"], rng.random(120), strict=True)))
    options = {"name": "test", "resamples": 20, "ita": np.r_[np.nan, rng.uniform(-90, 90, 119)]}
    report = evaluate(scorer, manifest, **options)
    assert [part.by for part in report.breakdowns] == [
        "source",
        "age",
        "sex",
        "site",
        "diagnosis",
        "skin tone",
    ]
    assert report.within_sources.sources == ["a", "b"]
    assert len(report.mistakes) == 24
    assert EvaluationReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False))) == report
    again = summarise(
        report.rows,
        name="test",
        operating_point=POINT,
        bundle_digest=scorer.digest,
        manifest_digest=manifest.digest,
        resamples=20,
    )
    assert again == report


def test_report_of_before_there_were_subgroups_can_be_read():
    plain = judge([1, 0], [0.9, 0.1]).to_dict()
    for name in ("within_sources", "breakdowns", "mistakes"):
        del plain[name]
    assert EvaluationReport.from_dict(plain).breakdowns == []


def test_angles_must_fit_the_images():
    with pytest.raises(ValueError, match="3 angles for 2 images"):
        judge([1, 0], [0.9, 0.1], ita=np.zeros(3))


def test_curves_start_and_end_where_they_must():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 900).tolist()
    curves = judge(labels, rng.random(900).tolist()).curves
    assert (curves.roc[0], curves.roc[-1]) == ((0, 0), (1, 1))
    assert curves.precision_recall[-1] == (1, pytest.approx(sum(labels) / 900))
    assert max(len(curves.roc), len(curves.precision_recall)) <= 200
    assert sum(entry.count for entry in curves.reliability) == 900
    assert (sum(curves.histogram_melanoma), sum(curves.histogram_other)) == (sum(labels), 900 - sum(labels))


def test_one_class_has_no_curve_but_a_report():
    report = judge([1, 1, 1], [0.2, 0.5, 0.9])
    assert report.curves.roc == report.curves.precision_recall == []
    assert report.figures["auroc"].note == "one class only"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("y_true", 2, "y_true must be 0 or 1"),
        ("y_true", np.nan, "y_true must be 0 or 1"),
        ("y_prob", 1.5, "between 0 and 1"),
        ("y_prob", np.nan, "must have the decision cannot_assess"),
        ("decision", "maybe", "refer, no_sign, cannot_assess"),
    ],
)
def test_values_that_make_no_sense_are_named(column, value, message):
    rows = rows_of([0, 1], [0.1, 0.8], ["no_sign", "refer"])
    rows[column] = rows[column].astype("object")
    rows.loc[1, column] = value
    with pytest.raises(ManifestError, match=message):
        summarise_rows(rows.infer_objects())


def test_missing_column_and_no_image_are_named():
    rows = rows_of([0, 1], [0.1, 0.8], ["no_sign", "refer"])
    with pytest.raises(ManifestError, match="lack the column decision"):
        summarise_rows(rows.drop(columns="decision"))
    with pytest.raises(ManifestError, match="no image to evaluate"):
        judge([], [])


def test_many_reasons_are_gathered():
    answers = [(0.5, f"reason {number}") for number in range(30)]
    refusals = judge([0, 1] * 15, answers).refusals
    assert len(refusals) == 11
    assert sum(refusal.n_melanoma + refusal.n_other for refusal in refusals) == 30
    assert refusals[0].reason == "other reasons"


def test_saved_predictions_are_the_rows(tmp_path):
    report = judge([1, 0, 0], [0.123456789012345, None, 0.2])
    write_table(report.rows, tmp_path / "new" / "predictions.csv")
    again = pd.read_csv(tmp_path / "new" / "predictions.csv")
    assert again["y_prob"].tolist()[::2] == [0.123456789012345, 0.2]
    assert again["error"][1] == "folder/1.jpg is no image"
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["predictions.csv"]


@pytest.mark.parametrize("name", ['a "b", c.jpg', "line\nbreak.jpg", "carriage\rreturn.jpg", "皮膚.jpg"])
def test_odd_file_names_survive_the_csv(name, tmp_path):
    rows = rows_of([0, 1], [0.1, 0.8], ["no_sign", "refer"]).assign(path=["x", name])
    save([summarise_rows(rows)], tmp_path, title="odd")
    assert pd.read_csv(tmp_path / "predictions.csv")["path"][1] == name


def test_path_that_is_no_utf8_survives(tmp_path):
    manifest = manifest_of([1, 0])
    names = pd.Series(["b\udce9.jpg", "c.jpg"], index=manifest.table.index, dtype="object")
    manifest.table["path"] = names
    report = evaluate(TableScorer({"b\udce9.jpg": None, "c.jpg": 0.2}), manifest, name="test", resamples=20)
    write_table(report.rows, tmp_path / "p.csv")
    assert b"b\xe9.jpg is no image" in (tmp_path / "p.csv").read_bytes()


def test_folder_that_cannot_be_made_is_the_users_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    report = judge([1, 0], [0.7, 0.2])
    with pytest.raises(OutputError, match="cannot write"):
        write_table(report.rows, tmp_path / "file" / "predictions.csv")

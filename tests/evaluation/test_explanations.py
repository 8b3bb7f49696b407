import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import draw
from melanoma.data import manifest as manifests
from melanoma.data.synthetic import write_collection
from melanoma.errors import ImageError
from melanoma.evaluation.explanation_examples import choose_examples
from melanoma.evaluation.explanation_figures import describe_parts
from melanoma.evaluation.explanation_summary import list_findings
from melanoma.evaluation.explanations import check_explanations
from melanoma.evaluation.heat import MEASURED, Look, tabulate
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.weight_check import check_weights
from melanoma.inference.predictor import load_predictor


def make_rows(n=40, **columns):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.random((n, len(MEASURED))), columns=list(MEASURED))
    rows["y_true"] = np.arange(n) % 2
    rows["decision"] = np.where(np.arange(n) < n // 2, "refer", "no_sign")
    return rows.assign(source="s", error="", group=[str(number) for number in range(n)], **columns)


def find_part(parts, by, name):
    return next(part for part in parts if (part.by, part.name) == (by, name))


def test_figures_are_means_ratios_and_paired_differences():
    rows = make_rows(
        heat_on_lesion=[0.6, 0.2] * 20, lesion_area=[0.2, 0.2] * 20, blob_on_lesion=[0.5, 0.1] * 20
    )
    parts, notes = describe_parts(rows, resamples=200, seed=0)
    figures = find_part(parts, "all", "all images").figures
    assert figures["heat_on_lesion"].value == pytest.approx(0.4)
    assert 0.3 < figures["heat_on_lesion"].low < 0.4 < figures["heat_on_lesion"].high < 0.5
    assert figures["lift"].value == pytest.approx(2)
    assert figures["heat_minus_blob"].value == pytest.approx(0.1)
    assert figures["heat_minus_blob"].high - figures["heat_minus_blob"].low < 1e-9  # the same in every image
    melanoma = find_part(parts, "class", "melanoma").figures
    assert (melanoma["heat_on_lesion"].value, melanoma["lift"].value) == pytest.approx((0.2, 1))
    assert notes == []
    assert {(part.by, part.name, part.n) for part in parts} == {
        ("all", "all images", 40),
        ("class", "melanoma", 20),
        ("class", "other", 20),
        ("decision", "right", 20),
        ("decision", "wrong", 20),
    }


def test_what_is_missing_is_left_out_of_a_figure_and_few_groups_say_nothing():
    heat, outside = np.full(40, 0.5), np.full(40, np.nan)
    heat[10:] = np.nan
    outside[:9] = 0.3
    parts, _ = describe_parts(make_rows(heat_on_lesion=heat, outside_field=outside), resamples=100, seed=0)
    everything = parts[0]
    assert (everything.n, everything.n_localised) == (40, 10)
    assert everything.figures["heat_on_lesion"].value == pytest.approx(0.5)
    assert everything.figures["outside_field"] == Estimate(None, None, None, "too few to say")
    assert everything.figures["lift_outside_field"].value is None
    one_group = make_rows().assign(group="same")
    assert all(
        figure.value is None
        for figure in describe_parts(one_group, resamples=100, seed=0)[0][0].figures.values()
    )


def test_groups_widen_intervals():
    rows = make_rows(heat_on_lesion=np.repeat(np.linspace(0, 1, 10), 4))
    alone, _ = describe_parts(rows, resamples=300, seed=0)
    grouped, _ = describe_parts(
        rows.assign(group=np.repeat(np.arange(10), 4).astype(str)), resamples=300, seed=0
    )
    widths = [
        part.figures["heat_on_lesion"].high - part.figures["heat_on_lesion"].low
        for part in (alone[0], grouped[0])
    ]
    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize(
    ("y_true", "note"),
    [(-1, "No image has a label, so there are no figures by class"), (1, "of one class (melanoma)")],
)
def test_missing_classes_are_said(y_true, note):
    parts, notes = describe_parts(make_rows().assign(y_true=y_true), resamples=100, seed=0)
    assert any(note in line for line in notes)
    assert {part.by for part in parts} == ({"all"} if y_true == -1 else {"all", "class", "decision"})


def test_sources_are_parts():
    parts, _ = describe_parts(make_rows().assign(source=["a", "b"] * 20), resamples=100, seed=0)
    assert [part.name for part in parts if part.by == "source"] == ["a", "b"]


def make_look(heat, lesion, outside=0.0, y_prob=0.8):
    cells = np.array(lesion, np.float64)
    return Look(
        y_prob=y_prob,
        decision="refer",
        heat=np.array(heat, np.float32),
        lesion=cells if cells.any() else None,
        outside=np.full(cells.shape, outside),
        hidden_hottest=0.5,
        hidden_elsewhere=[0.9, 0.7],
        prepared=None,
    )


def test_a_row_says_what_was_measured_and_leaves_out_what_does_not_exist():
    looks = [
        make_look([[3, 1], [0, 0]], [[1, 0], [0, 0]], outside=0.2),
        make_look([[0, 0], [0, 4]], [[0, 0], [0, 0]]),
        make_look([[0, 0], [0, 0]], [[1, 0], [0, 0]]),
        ImageError("damaged"),
    ]
    table = pd.DataFrame(
        {"source": "s", "path": list("abcd"), "image_id": list("abcd"), "y_true": [1, 0, 0, 1]}
    )
    rows = tabulate(table, looks, np.array([1, 0, -1, -1]))
    first, no_lesion, no_heat, broken = (rows.iloc[number] for number in range(4))
    assert (first["heat_on_lesion"], first["lesion_area"], first["points_at_lesion"]) == (0.75, 0.25, 1)
    assert first["other_heat_on_lesion"] == 0
    assert (first["heat_outside_field"], first["outside_field"]) == pytest.approx((0.2, 0.2))
    assert (first["heat_on_frame_edge"], first["frame_edge"]) == (1, 1)
    assert (first["change_hottest"], first["change_elsewhere"]) == pytest.approx((0.3, 0.1))
    assert (first["fall_hottest"], first["fall_elsewhere"]) == pytest.approx((0.3, 0.0))
    assert np.isnan(no_lesion["heat_on_lesion"])
    assert np.isnan(no_lesion["outside_field"])
    assert no_lesion["change_hottest"] > 0
    assert no_heat[list(MEASURED)].isna().all()
    assert (broken["error"], first["error"]) == ("damaged", "")
    assert (broken["decision"], first["decision"]) == ("cannot_assess", "refer")
    assert broken[list(MEASURED)].isna().all()


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    return load_predictor(tiny_bundle)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "images"
    return write_collection(folder, n=40, seed=1, size=96, test_share=0.4)


@pytest.fixture(scope="module")
def report(predictor, collection):
    manifest = manifests.load_leniently([str(collection)])
    groups = [str(number) for number in range(len(manifest.table))]
    return check_explanations(
        predictor, manifest, groups, name="drawn", n_available=40, networks=2, resamples=100, seed=1
    )


def test_a_whole_check(report, predictor):
    assert (report.n, report.n_unreadable, len(report.rows)) == (40, 0, 40)
    assert report.bundle_digest == predictor.digest
    figures = report.parts[0].figures
    assert 0 < figures["lesion_area"].value < 0.6
    assert figures["lesion_area"].value * figures["lift"].value == pytest.approx(
        figures["heat_on_lesion"].value
    )
    assert [step.depth for step in report.weights.steps] == [1, 2, 3, 4, 5]
    assert report.weights.follows_weights
    assert -1 <= report.weights.steps[-1].likeness.spearman.value < 0.9
    assert report.weights.steps[0].likeness.ssim.note == "no two maps that can be compared"  # two cells wide
    assert {len(mean.heat) for mean in report.maps} == {2}
    assert all(np.sum(mean.heat) == pytest.approx(1, abs=1e-4) for mean in report.maps)
    assert len(report.examples) == 8
    json.dumps(report.to_dict(), allow_nan=False)


def test_findings_follow_the_figures(report):
    questions = [finding.question for finding in list_findings(report)]
    assert any("(melanoma)" in question for question in questions)
    step = report.weights.steps[-1]
    for low, high, answer in ((0.6, 0.9, "no"), (-0.1, 0.2, "yes"), (0.2, 0.8, "cannot say")):
        likeness = replace(step.likeness, spearman=Estimate((low + high) / 2, low, high))
        weights = replace(report.weights, steps=[replace(step, likeness=likeness)])
        findings = list_findings(replace(report, weights=weights))
        assert [f.answer for f in findings if "made random" in f.question] == [answer]


def test_what_is_not_there_is_no_part_of_a_sentence(report):
    weights = report.weights
    unrelated = replace(weights.unrelated, spearman=Estimate(None, None, None, "no two maps"))
    findings = list_findings(replace(report, weights=replace(weights, unrelated=unrelated)))
    (said,) = (finding.sentence for finding in findings if "made random" in finding.question)
    assert said.endswith("with those of the network as it is (1: the same).")


@pytest.mark.parametrize(("fall", "answer"), [(0.05, "yes"), (-0.01, "no")])
def test_a_probability_that_rises_less_has_not_fallen(report, fall, answer):
    figures = {"fall_hottest": Estimate(fall, -0.1, 0.1), "fall_difference": Estimate(0.03, 0.01, 0.05)}
    parts = [replace(part, figures={**part.figures, **figures}) for part in report.parts]
    findings = list_findings(replace(report, parts=parts))
    assert {f.answer for f in findings if "then fall more" in f.question} == {answer}


def test_the_same_seed_gives_the_same_figures(report, predictor, collection):
    manifest = manifests.load_leniently([str(collection)])
    groups = [str(number) for number in range(40)]
    again = check_explanations(
        predictor, manifest, groups, name="drawn", n_available=40, networks=2, resamples=100, seed=1
    )
    assert again.to_dict() == report.to_dict()
    pd.testing.assert_frame_equal(again.rows, report.rows)


def test_a_network_whose_heat_ignores_its_weights_is_found_out(predictor):
    """Heat maps that random networks give too are as alike as can be."""
    images = [np.zeros((32, 32, 3), np.uint8)] * 12
    options = {"networks": 3, "resamples": 100, "seed": 0, "progress": lambda done, total: None}
    heats = [np.array([[number, 1], [2, 3]], np.float32) for number in range(12)]
    honest = check_weights(predictor.bundle, images, heats, np.arange(12), **options)
    assert honest.n_images == 12
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("melanoma.evaluation.weight_check._run", lambda *_: heats)
        deaf = check_weights(predictor.bundle, images, heats, np.arange(12), **options)
    assert [step.likeness.spearman.value for step in deaf.steps] == pytest.approx([1] * 5)
    assert deaf.unrelated.spearman.value < 1


def test_images_without_heat_leave_the_check_of_weights_out(predictor, tmp_path, monkeypatch):
    """A network whose heat is always empty still gets a report that says so."""
    for label in ("benign", "malignant"):
        (tmp_path / label).mkdir()
        for number in range(3):
            Image.fromarray(draw(number)).save(tmp_path / label / f"{number}.png")
    manifest = manifests.load_leniently([str(tmp_path)])
    run = type(predictor).run

    def cold(self, image):
        output = run(self, image)
        return replace(output, heatmap=np.zeros_like(output.heatmap))

    monkeypatch.setattr(type(predictor), "run", cold)
    report = check_explanations(predictor, manifest, list("abcdef"), name="x", n_available=6, resamples=100)
    assert (report.n_without_heat, report.weights, report.maps, report.examples) == (6, None, [], [])
    assert [finding.answer for finding in list_findings(report)] == ["cannot say"] * 3
    assert {finding.sentence for finding in list_findings(report)} == {"No image has any heat."}
    assert any("no image" in note.lower() for note in report.notes)


def test_examples_are_of_both_classes_and_one_a_group():
    y_true, group = np.array([1] * 20 + [0] * 20), np.arange(40) // 2
    chosen = choose_examples(y_true, np.ones(40, np.bool_), group, seed=0)
    assert y_true[chosen].tolist() == [1] * 4 + [0] * 4
    assert len(set(group[chosen])) == 8
    assert choose_examples(y_true, np.arange(40) == 3, group, seed=0) == [3]


def test_only_broken_images_are_one_clear_line(predictor, tmp_path):
    for label in ("benign", "malignant"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.jpg").write_bytes(b"no image " + label.encode())
    manifest = manifests.load_leniently([str(tmp_path)])
    with pytest.raises(ImageError, match="none of the 2 images can be read; the first, "):
        check_explanations(predictor, manifest, ["a", "b"], name="x", n_available=2)

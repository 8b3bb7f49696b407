import io
import json

import numpy as np
import pytest
from PIL import Image

from melanoma.audit import crossvalidation
from melanoma.audit.confounding import MIN_GROUPS, TOGETHER, measure
from melanoma.audit.cues import NUMBERS, describe
from melanoma.data.artefacts import add_round_frame
from melanoma.data.synthetic import render


def noise(n, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def find(report, cue, target="melanoma", scope=None):
    (found,) = [f for f in report.findings if (f.cue, f.target, f.scope) == (cue, target, scope)]
    return found


def halves(n):
    return np.arange(n) % 2


def describe_drawn(n, frames=False):
    """Cues of drawn images whose classes differ in the lesion as much as they can."""
    y_true, rows = halves(n), []
    for i in range(n):
        image = render(int(y_true[i]), np.random.default_rng(i), size=64, artefacts=(), difficulty=0).image
        if frames and y_true[i]:
            image = add_round_frame(image, np.random.default_rng(i))
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG")
        rows.append(describe(image, stream.getvalue()))
    return y_true, {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch):
    monkeypatch.setattr(crossvalidation, "TREES", 12)


@pytest.mark.parametrize(("share", "scatter"), [(0.5, 0.08), (0.1, 0.12)])
def test_noise_tells_nothing(share, scatter):
    for seed in range(3):
        y_true = np.random.default_rng(seed).random(400) < share
        x = {"border": noise(400, seed=200 + seed)}
        estimate = find(
            measure(x, y_true, ["a"] * 400, range(400), resamples=200), "border", scope="a"
        ).estimate
        assert estimate.low < 0.5 < estimate.high
        assert estimate.value == pytest.approx(0.5, abs=scatter)


def test_planted_frame_is_found():
    y_true, cues = describe_drawn(100, frames=True)
    report = measure(cues, y_true, ["drawn"] * 100, range(100), resamples=50)
    frame = find(report, "frame", scope="drawn")
    assert frame.estimate.value > 0.95
    assert find(report, TOGETHER, scope="drawn").estimate.value > 0.95
    assert "share outside the field" in dict(frame.strongest)
    assert dict(frame.strongest)["share outside the field"] > 0.95


def test_lesion_does_not_show_in_the_cues():
    y_true, cues = describe_drawn(120)
    report = measure(cues, y_true, ["drawn"] * 120, range(120), resamples=50)
    for cue in ("border", "frame", "skin", "file"):
        assert find(report, cue, scope="drawn").estimate.value < 0.65, cue


def test_copies_in_one_group_do_not_inflate():
    y_true, x = np.repeat(np.random.default_rng(1).integers(0, 2, 60), 8), np.repeat(noise(60), 8, axis=0)
    group, sources = np.repeat(np.arange(60), 8), ["a"] * 480
    together = find(
        measure({"border": x}, y_true, sources, group, resamples=100), "border", scope="a"
    ).estimate
    apart = find(
        measure({"border": x}, y_true, sources, range(480), resamples=100), "border", scope="a"
    ).estimate
    assert apart.value > 0.95
    assert together.low < 0.5 < together.high


def test_group_of_two_classes_and_two_sources_is_measured():
    n = 200
    group = np.arange(n) // 2
    sources = np.where(np.arange(n) % 4 < 2, "a", "b")
    report = measure({"skin": noise(n)}, halves(n), sources, group, resamples=50)
    assert find(report, "skin").estimate.value == pytest.approx(0.5, abs=0.15)
    assert find(report, "skin", scope="a").counts == {"other": 50, "melanoma": 50}


def test_sources_are_told_apart_one_by_one_and_on_average():
    sources = np.repeat(["a", "b", "c"], 60)
    x = noise(180, 2)
    x[:60, 0] += 20
    report = measure({"file": x}, halves(180), sources, range(180), resamples=100)
    each = [find(report, "file", "source", name).estimate for name in "abc"]
    mean = find(report, "file", "source").estimate
    assert each[0].value == 1
    assert 0.5 < each[1].value < 0.9
    assert mean.value == pytest.approx(np.mean([e.value for e in each]))
    assert mean.low < mean.value < mean.high
    assert find(report, "file", "source", "a").counts == {"a": 60, "the other sources": 120}
    assert find(report, "file", "source", "a").sentence == (
        "the file's header alone tells a from the other sources at AUROC 1.00"
    )


def test_two_sources_are_one_question():
    x = noise(120)
    x[:60] += 3
    report = measure({"skin": x}, halves(120), ["a"] * 60 + ["b"] * 60, range(120), resamples=50)
    assert [f.scope for f in report.findings if f.target == "source"] == [None]
    assert find(report, "skin", "source").estimate.value > 0.95


def test_too_small_source_is_left_out_of_the_sources():
    sources = ["a"] * 60 + ["b"] * 60 + ["tiny"] * 5
    report = measure({"skin": noise(125)}, halves(125), sources, range(125), resamples=50)
    told = find(report, "skin", "source")
    assert told.counts == {"a": 60, "b": 60, "tiny": 0}
    assert told.left_out == {"a": 0, "b": 0, "tiny": 5}
    assert find(report, "skin", scope="tiny").estimate.value is None


def test_images_without_the_cue_are_counted_by_class():
    x = noise(200)
    x[:30:2] = np.nan
    report = measure(
        {"border": x, "skin": noise(200, seed=2)}, halves(200), ["a"] * 200, range(200), resamples=50
    )
    border = find(report, "border", scope="a")
    assert border.counts == {"other": 85, "melanoma": 100}
    assert border.left_out == {"other": 15, "melanoma": 0}
    assert border.sentence.endswith("; left out: 15 of 100 other")
    assert find(report, "skin", scope="a").left_out == {"other": 0, "melanoma": 0}
    assert find(report, TOGETHER, scope="a").counts == border.counts


@pytest.mark.parametrize(
    ("y_true", "x", "group", "reason"),
    [
        (np.zeros(60), noise(60), range(60), "there is no image of melanoma"),
        (np.ones(60), noise(60), range(60), "there is no image of other"),
        (np.arange(60) < 19, noise(60), range(60), "19 independent images of melanoma"),
        (halves(600), noise(600), np.arange(600) % 10, "5 independent images of other"),
        (halves(60), noise(60) * np.nan, range(60), "0 independent images of other"),
    ],
)
def test_what_cannot_be_measured_has_a_reason_and_no_figure(y_true, x, group, reason):
    report = measure({"frame": x}, y_true, ["a"] * len(y_true), group, resamples=20)
    finding = find(report, "frame", scope="a")
    assert finding.estimate.value is None
    assert reason in finding.sentence
    assert find(report, "frame", "source").estimate.note == "there is one source only"
    json.dumps(report.to_dict(), allow_nan=False)


def test_nothing_at_all_is_no_crash():
    report = measure({"frame": noise(0)}, [], [], [])
    assert all(f.estimate.value is None for f in report.findings)


def test_twenty_of_each_class_are_enough():
    y_true = np.arange(60) < MIN_GROUPS
    report = measure({"frame": noise(60)}, y_true, ["a"] * 60, range(60), resamples=50)
    assert find(report, "frame", scope="a").estimate.value is not None


def test_cue_that_never_varies_is_worth_one_half():
    y_true = np.arange(83) % 3 == 0
    report = measure({"file": np.ones((83, 16), np.float32)}, y_true, ["a"] * 83, range(83), resamples=20)
    finding = find(report, "file", scope="a")
    assert finding.estimate.value == 0.5
    assert finding.estimate.low is None
    assert finding.strongest == ()


def test_same_seed_same_report():
    arguments = ({"skin": noise(150)}, halves(150), ["a"] * 90 + ["b"] * 60, range(150))
    first, again, other = (measure(*arguments, resamples=40, seed=seed).to_dict() for seed in (3, 3, 4))
    assert first == again
    assert first["findings"] != other["findings"]


def test_large_data_are_sampled_by_group_and_small_sources_stay_whole():
    sources = np.array(["large"] * 900 + ["small"] * 60)
    group = np.r_[np.arange(900) // 3, 1000 + np.arange(60)]
    report = measure({"skin": noise(960)}, halves(960), sources, group, resamples=20, limit=300)
    assert (report.n_images, report.n_sampled) == (960, 300)
    told = find(report, "skin", "source")
    assert told.counts == {"large": 240, "small": 60}
    json.dumps(report.to_dict(), allow_nan=False)


def test_lesion_dependent_cue_is_not_in_the_sum():
    x = noise(80, 2)
    x[:, 0] += 10 * halves(80)
    cues = {"border": noise(80, 4, 1), "skin": noise(80, 4, 2), "file size": x}
    report = measure(cues, halves(80), ["a"] * 80, range(80), resamples=20)
    assert find(report, "file size", scope="a").estimate.value > 0.95
    assert find(report, TOGETHER, scope="a").estimate.value < 0.75
    assert dict(find(report, "file size", scope="a").strongest)[NUMBERS["file size"][0]] > 0.95


def test_progress_ends_at_all():
    told = []
    measure(
        {"skin": noise(60)},
        halves(60),
        ["a"] * 60,
        range(60),
        resamples=5,
        progress=lambda *x: told.append(x),
    )
    assert told == [(1, 2), (2, 2)]


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="one entry an image"):
        measure({"skin": noise(60)}, halves(59), ["a"] * 60, range(60))

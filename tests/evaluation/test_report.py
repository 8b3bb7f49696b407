import base64
import importlib.resources
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from melanoma.errors import OutputError
from melanoma.evaluation import plots
from melanoma.evaluation.evaluate import EvaluationReport, summarise
from melanoma.evaluation.report import render_report, save
from melanoma.inference.decision import OperatingPoint

HISTORY = [{"loss": 0.6, "accuracy": 0.7, "val_loss": 0.65}, {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.6}]


def make_report(name="test", labels=(0, 1), refused=0):
    rng = np.random.default_rng(0)
    y_true = np.array([*labels] * 20)
    y_prob = np.clip(rng.random(len(y_true)) * 0.7 + 0.3 * y_true, 0, 1)
    decision = np.where(y_prob >= 0.5, "refer", "no_sign").astype(object)
    decision[:refused] = "cannot_assess"
    ids = [str(number) for number in range(len(y_true))]
    rows = pd.DataFrame({"source": "s", "path": ids, "image_id": ids, "y_true": y_true, "y_prob": y_prob})
    rows = rows.assign(
        decision=decision, group=ids, reason=np.where(decision == "cannot_assess", "<b>blur</b>", "")
    )
    point = OperatingPoint(0.5, 0.9, 0.91, 0.8, 30, 40)
    return summarise(
        rows, name=name, operating_point=point, bundle_digest="BUNDLE", manifest_digest="IMAGES", resamples=50
    )


class Page(HTMLParser):
    """What a browser would fetch or run, and the words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            value for key, value in attrs if key in {"src", "href", "srcset", "data", "action"}
        ]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def render(*reports, **options):
    return render_report(reports, **{"title": "A title", "facts": {"seed": "7"}} | options)


def test_page_needs_nothing_from_outside():
    text = render(make_report("train"), make_report(), history=HISTORY)
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert page.addresses
    kinds = {address.partition(",")[0] for address in page.addresses}
    assert kinds == {"data:image/svg+xml;base64", "data:image/jpeg;base64"}
    assert not re.search(r"https?:|@import|url\(", text)
    assert text == render(make_report("train"), make_report(), history=HISTORY)


def test_page_says_what_must_be_said():
    report = make_report(refused=3)
    text = Page(render(report, notice="Drawn images, no evidence.")).text
    for words in ("Drawn images, no evidence.", "not a medical device", "BUNDLE", "IMAGES", "seed 7"):
        assert words in text
    auroc = report.figures["auroc"]
    assert f"{auroc.value:.3f} {auroc.low:.3f}–{auroc.high:.3f}" in text
    assert "is 0.5 or more" in text
    assert "sensitivity of at least 90 %" in text
    assert "AUROC, all" in text


def test_page_has_a_column_for_each_set_and_the_last_one_leads():
    text = Page(render(make_report("train"), make_report("validation"), make_report("away"))).text
    assert "Result on away" in text
    assert re.search(r"Figure train 40 images 20 melanoma validation 40 images 20 melanoma away", text)
    assert "None: every image was assessed." in text


def test_names_cannot_become_markup():
    evil = '<script>alert("x")</script>'
    text = render(make_report(evil, refused=2), title=evil, facts={evil: evil}, notice=evil)
    page = Page(text)
    assert "script" not in page.tags
    assert evil in page.text
    assert "<b>blur</b>" in page.text


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_makes_a_page_that_says_so(label):
    text = render(make_report(labels=(label,)))
    assert "one class only" in text
    assert "Left out: it needs images of both classes." in Page(text).text
    assert "nan" not in Page(text).text.lower().split()


def test_only_refused_images_make_a_page():
    text = Page(render(make_report(refused=40))).text
    assert "could not assess 100 % of the images" in text
    assert "Left out: not one image was assessed." in text
    assert "no image was assessed" in text


def test_page_says_what_it_means_in_a_practice():
    report = make_report()
    text = Page(render(report)).text
    at = report.projections[1]
    assert at.prevalence == 0.02
    assert f"2 % {100 * at.ppv.value:.1f} %" in text
    assert "Where 50 % have melanoma" in text
    assert "Where 2 % have melanoma" in text


def test_page_can_be_made_again_from_json():
    report = make_report(refused=1)
    again = EvaluationReport.from_dict(json.loads(json.dumps(report.to_dict())))
    assert render(again) == render(report)


def test_saved_folder_holds_the_three_files(tmp_path):
    train, test = make_report("train"), make_report("test")
    save([train, test], tmp_path / "out", facts={"seed": "7"}, notice="Drawn.")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "evaluation.json",
        "predictions.csv",
        "report.html",
    ]
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [EvaluationReport.from_dict(entry) for entry in document["evaluations"]] == [train, test]
    assert (document["notice"], document["facts"]) == ("Drawn.", {"seed": "7"})
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert rows["dataset"].value_counts().to_dict() == {"train": 40, "test": 40}


def test_failing_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    save([make_report()], tmp_path, title="old")

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    before = (tmp_path / "evaluation.json").read_text()
    with pytest.raises(OutputError, match="No space left on device"):
        save([make_report()], tmp_path, title="new")
    assert (tmp_path / "evaluation.json").read_text() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_name_that_is_no_utf8_goes_through(tmp_path):
    save([make_report("n\udce9m")], tmp_path)
    assert b"n\xe9m" in (tmp_path / "predictions.csv").read_bytes()
    assert b"n\xe9m" in (tmp_path / "report.html").read_bytes()


def test_report_without_evaluation_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        render()


@pytest.mark.parametrize("labels", [(0, 1), (1,)])
def test_plots_can_be_drawn(labels):
    reports = [make_report(f"set {n} $x_$ 皮膚 {'long' * 9}\x00", labels) for n in range(7)]
    figures = [
        plots.plot_roc(reports),
        plots.plot_reliability(reports),
        plots.plot_confusion(reports[0]),
        plots.plot_probabilities(reports[0]),
        plots.plot_history(HISTORY),
        plots.plot_history([]),
        plots.plot_history(HISTORY[:1]),
    ]
    for figure in figures:
        assert plots.to_png(figure, dpi=40).startswith(b"\x89PNG")
        assert "<svg" in plots.to_svg(figure)


def test_roc_marks_the_decisions():
    report = make_report()
    axes = plots.plot_roc([report]).axes[0]
    dots = [
        line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o" and len(line.get_xydata())
    ]
    expected = (1 - report.figures["specificity"].value, report.figures["sensitivity"].value)
    assert dots[0] == pytest.approx(expected)


def test_pictures_are_whole_svg_files():
    addresses = [a for a in Page(render(make_report())).addresses if a.startswith("data:image/svg")]
    assert len(addresses) == 7
    for address in addresses:
        assert base64.b64decode(address.partition(",")[2]).rstrip().endswith(b"</svg>")


def test_template_lies_in_the_package():
    template = importlib.resources.files("melanoma.evaluation") / "templates" / "report.html.j2"
    assert template.is_file()


def test_import_leaves_pyplot_and_the_settings_alone():
    code = (
        "import sys, matplotlib; before = matplotlib.rcParams.copy(); import melanoma.evaluation.report;"
        "assert 'matplotlib.pyplot' not in sys.modules; assert matplotlib.rcParams.copy() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from conftest import require_extra

require_extra("pandas", "bench")
require_extra("yaml", "bench")

import pandas as pd

from melanoma.errors import ConfigError
from melanoma.evaluation import card_facts, checklist, report, statements
from melanoma.evaluation.card import AWAY, HOME, MADE, gather
from melanoma.evaluation.card_report import render_html, render_markdown, save
from melanoma.evaluation.evaluate import summarise
from melanoma.evaluation.looks import LookCount
from melanoma.evaluation.plain_words import Origin
from melanoma.inference import bundle as bundles
from melanoma.inference.decision import OperatingPoint

FIGURE = {"value": 0.25, "low": 0.1, "high": 0.4, "note": "", "dropped": 0}


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    loaded = bundles.load(tiny_bundle)
    facts = {**loaded.facts, "sources": ["home"], "images": {"train": 40, "test": 40}}
    return dataclasses.replace(loaded, facts=facts)


def judge(bundle, name, source, **columns):
    rows = pd.DataFrame({"y_true": [0, 1] * 20, "y_prob": [number / 40 for number in range(40)]})
    ids = [f"{name}{number}" for number in range(40)]
    rows = rows.assign(source=source, path=ids, image_id=ids, group=ids, reason="", **columns)
    rows["decision"] = ["refer" if share >= 0.3 else "no_sign" for share in rows["y_prob"]]
    return summarise(
        rows,
        name=name,
        operating_point=OperatingPoint(0.3, 0.95, 0.95, 0.8, 30, 40),
        bundle_digest=bundle.digest,
        manifest_digest=name,
        resamples=20,
    )


@pytest.fixture(scope="module")
def folders(bundle, tmp_path_factory):
    """Folders of results: a run's own evaluation, one from elsewhere with sex, stress, explanations."""
    root = tmp_path_factory.mktemp("results")
    run = [judge(bundle, name, "home") for name in ("train", "val", "test")]
    report.save(run, root / "run", origin=Origin(["home"], 40), looks=LookCount(3, 3))
    away = judge(bundle, "a|b <i>", "clinic", sex=["male"] * 20 + ["female"] * 20)
    report.save([away], root / "away", origin=Origin(["home"], 0))
    harm = {"figures": {name: {"changed": FIGURE} for name in ("to_no_sign", "to_refer")}}
    effects = [
        {"change": "ink", "classes": {"melanoma": harm}, "auroc": {"before": FIGURE, "after": FIGURE}},
        {"change": "lesion_hidden", "classes": {}, "auroc": {"before": FIGURE, "after": FIGURE}},
    ]
    titles = {name: {"title": name.title(), "strength": "a lot"} for name in ("ink", "lesion_hidden")}
    common = {"format_version": 1, "bundle_digest": bundle.digest}
    stress = {**common, "title": "under stress", "n": {"melanoma": 9}, "effects": effects, "changes": titles}
    finding = {"question": "On the lesion?", "answer": "no", "sentence": "Half of it."}
    heat = {**common, "name": "test", "n": 12, "findings": [finding]}
    for name, values in (("stress", stress), ("explanations", heat)):
        (root / name).mkdir()
        (root / name / f"{name}.json").write_text(json.dumps(values))
    return root


@pytest.fixture(scope="module")
def full(bundle, folders):
    results = [folders / "run", folders / "away"], [folders / "stress"], [folders / "explanations"]
    return gather(bundle, *results)


def statuses(items, card):
    return {tick.item.number: tick for tick in checklist.tick(items, card)}


def test_sets_are_placed_by_the_names_of_their_sources(full):
    assert [judged.source for judged in full.sets] == [MADE, MADE, HOME, AWAY]
    assert [judged.report.name for judged in full.judged] == ["test", "a|b <i>"]


def test_a_card_holds_what_was_given_and_nothing_more(full, bundle):
    text = render_markdown(full)
    auroc = full.sets[2].report.figures["auroc"]
    for words in (
        f"{auroc.value:.3f} ({auroc.low:.3f}–{auroc.high:.3f})",
        "looked at 3 times",
        "| Ink, a lot | 25.0 % (10.0–40.0 %) | – |",
        "With the lesion hidden the AUROC is 0.250",
        "| On the lesion? | no | Half of it. |",
        "| train | 40 images, 20 melanoma |",
        bundle.digest,
    ):
        assert words in text
    assert render_markdown(full) == text
    bare = render_markdown(gather(bundle))
    assert "**how good it is, is not known.**" in bare
    assert not re.search(r"0\.\d{3} \(0", bare)
    for section in (card_facts.COMPARED, card_facts.STRESS, card_facts.HEAT):
        assert re.search(rf"## {section}\n\nNo .* was given", bare)


def test_figures_for_programs_are_those_of_the_judged_sets(full, tmp_path):
    save(full, tmp_path / "results.json")
    values = json.loads((tmp_path / "results.json").read_text())
    assert values["bundle_digest"] == full.bundle.digest
    assert [one["name"] for one in values["results"]] == [judged.report.name for judged in full.judged]
    for one, judged in zip(values["results"], full.judged, strict=True):
        for name, figure in one["figures"].items():
            assert figure["value"] == judged.report.figures[name].value
    parts = {part["name"] for one in values["results"] for part in one["sources"]}
    assert parts == {
        part.name for one in full.list_breakdowns(["source"]) for part in one.subgroups if part.name
    }


def test_ticks_follow_from_what_is_there(full, bundle):
    bare, given = (statuses(checklist.TRIPOD, card) for card in (gather(bundle), full))
    for number in ("12e", "20a", "21", "23a", "23b"):
        assert not bare[number].is_reported, number
        assert given[number].is_reported, number
    assert given["23a"].sections == [card_facts.FIGURES, card_facts.PARTS]
    assert not given["17"].is_reported
    derm_bare, derm = (statuses(checklist.CLEAR_DERM, card) for card in (gather(bundle), full))
    assert [derm_bare["12"].is_reported, derm["12"].is_reported] == [False, True]
    assert derm["23"].missing == ["figures by skin tone"]


def test_figures_of_training_images_tick_nothing(bundle, folders, tmp_path):
    values = json.loads((folders / "run" / "evaluation.json").read_text())
    values["evaluations"].pop()
    (tmp_path / "evaluation.json").write_text(json.dumps(values))
    card = gather(bundle, [tmp_path])
    assert not statuses(checklist.TRIPOD, card)["12g"].is_reported
    assert "No evaluation was given: nothing is known" in render_markdown(card)


def test_the_lists_are_whole_and_ask_for_known_things():
    numbers = [item.number for item in checklist.TRIPOD]
    assert len(numbers) == len(set(numbers)) == 52
    assert {int(re.sub(r"\D", "", number)) for number in numbers} == set(range(1, 28))
    assert [item.number for item in checklist.CLEAR_DERM] == [str(number) for number in range(1, 26)]
    asked = {
        need
        for item in (*checklist.TRIPOD, *checklist.CLEAR_DERM)
        for needs in item.needs
        for need in needs.split("|")
    }
    assert asked <= {*card_facts.MEASURED, *statements.TITLES}
    assert set(statements.TITLES) - asked == {"data_licence"}
    assert all(item.needs for item in (*checklist.TRIPOD, *checklist.CLEAR_DERM))


def test_statements_tick_and_are_shown_as_the_authors(bundle, tmp_path):
    path = tmp_path / "said.yaml"
    path.write_text("ethics: waived by\n  a <b>board</b>\n")
    card = gather(bundle, statements=path)
    assert statuses(checklist.TRIPOD, card)["17"].sections == [card_facts.STATED]
    assert r"waived by a \<b\>board\</b\>" in render_markdown(card)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("etics: x", "unknown key 'etics'"),
        ("- a", "must hold lines"),
        ("ethics: ''", "must hold lines"),
        ("a: [", "no YAML"),
    ],
)
def test_wrong_statements_are_one_line(tmp_path, text, said):
    path = tmp_path / "said.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        statements.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["evaluation", "stress", "explanations"])
def test_results_of_another_bundle_are_refused(bundle, folders, kind):
    other = dataclasses.replace(bundle, digest="f" * 64)
    place = folders / ("away" if kind == "evaluation" else kind)
    argument = {"evaluation": "evaluations"}.get(kind, kind)
    with pytest.raises(ConfigError, match="is of another model"):
        gather(other, **{argument: [place]})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read .*stress.json"),
        ("{", "is damaged"),
        ("[]", "is of another kind"),
        ('{"evaluations": []}', "is of another kind"),
        ('{"effects": [], "format_version": 99}', "newer than this version"),
        ('{"effects": [{"change": "ink"}], "title": "", "n": {}, "changes": {}}', "is not as"),
        ('{"effects": [], "title": "", "n": {}, "changes": {}}', "is not as"),
    ],
)
def test_folders_of_another_kind_are_one_line(bundle, tmp_path, content, said):
    if content is not None:
        (tmp_path / "stress.json").write_text(content)
    with pytest.raises(ConfigError, match=said) as error:
        gather(bundle, stress=[tmp_path])
    assert "\n" not in str(error.value)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("href", "src") if key in found]


def test_the_page_needs_nothing_from_outside_and_its_links_lead_somewhere(full):
    text = render_html(full)
    page = Page(text)
    assert not {"script", "link", "iframe", "i"} & set(page.tags)
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert 'class="there"' in text
    assert 'class="missing"' in text
    assert "a|b &lt;i&gt;" in text


def test_links_of_the_markdown_lead_to_its_headings(full):
    text = render_markdown(full)
    headings = {
        re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-")
        for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert links
    assert set(links) <= headings

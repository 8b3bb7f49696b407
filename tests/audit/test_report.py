import base64
import importlib.resources
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from manifests import make_manifest, many
from melanoma.audit import plots
from melanoma.audit.confounding import Confounding, ConfoundingReport
from melanoma.audit.duplicates import COLUMNS, COPY, SAME_BYTES, SAME_PIXELS, VIEW
from melanoma.audit.page import format_share, render
from melanoma.audit.report import GROUP_COLUMNS, PAIR_COLUMNS, save
from melanoma.audit.result import IMAGE_COLUMNS, Audit, Leak, Overlap, Problem
from melanoma.audit.summary import list_largest
from melanoma.data import manifest, splits
from melanoma.errors import OutputError
from melanoma.evaluation.metrics import Estimate
from melanoma.evaluation.plots import to_svg

FILES = ["audit.json", "groups.csv", "pairs.csv", "report.html", "views.csv"]


def make_images(rows, root="/data"):
    """Image rows (dicts) of an audit; what is not given is unique or empty."""
    records = []
    for number, values in enumerate(rows):
        given = {"source": "a", "image_id": f"{number:04}", "y_true": 0, "width": 64, "height": 48} | values
        given["path"] = values.get("path", f"{root}/{given['source']}/{given['image_id']}.png")
        records.append(dict.fromkeys(IMAGE_COLUMNS, "") | {"group_id": f"g{number:04}"} | given)
    table = pd.DataFrame(records, columns=list(IMAGE_COLUMNS), dtype=object)
    return table.assign(y_true=table["y_true"].astype("Int64"))


def make_pairs(*rows):
    return pd.DataFrame(rows, columns=list(COLUMNS))


def make_audit(images, pairs=None, root="/data", **values):
    fields = {
        "problems": (),
        "overlaps": (),
        "leaks": (),
        "confounding": None,
        "no_confounding": "no image has a label",
        "plain": 0,
        "notes": (),
        "roots": {name: f"{root}/{name}" for name in images["source"].unique()},
        "digest": "DIGEST",
        "seconds": {"reading images": 1.5},
    }
    return Audit(images=images, pairs=make_pairs() if pairs is None else pairs, **fields | values)


def find(cue="border", scope=None, target="melanoma", value=0.97, low=0.95, high=0.98, note="", counts=None):
    counts = counts or {"other": 40, "melanoma": 30}
    return Confounding(target, cue, scope, Estimate(value, low, high, note), counts, dict.fromkeys(counts, 2))


def make_report(*findings):
    return ConfoundingReport(findings, 70, 70, 100, 0)


def make_full(tmp_path, draw_image):
    """Two sources with a pair of each kind, one of them across the given splits."""
    rows = [
        {"source": "a", "given_split": "train", "y_true": 1, "group_id": "g1", "label": "mel"},
        {"source": "a", "given_split": "test", "y_true": 1, "group_id": "g1"},
        {"source": "b", "y_true": 0, "group_id": "g1"},
        {"source": "b", "y_true": 0, "width": 32},
        {"source": "b", "y_true": None, "lesion_id": "L1"},
    ]
    images = make_images(rows, root=str(tmp_path))
    for path in images["path"]:
        Path(path).parent.mkdir(exist_ok=True)
        Image.fromarray(draw_image(len(path))).save(path)
    pairs = make_pairs(
        (0, 1, SAME_BYTES, 1.0, ""),
        (0, 2, COPY, 0.9, "cropped to 75% x 100%"),
        (1, 2, SAME_PIXELS, 1.0, ""),
        (3, 4, VIEW, 0.7, "mirrored"),
    )
    return make_audit(
        images,
        pairs,
        root=str(tmp_path),
        problems=tuple(Problem("tiny", "b", f"{tmp_path}/b/{n}.png", f"{n} x 9 pixels") for n in range(25)),
        overlaps=(Overlap("a", "a", 1, 0, 2, 2, 2, 2), Overlap("a", "b", 2, 0, 2, 1, 2, 0)),
        leaks=(
            Leak("splits", "photograph", "test", "train", 1, 2, ((1, 0),)),
            Leak("sources", "lesion", "a", "b", 2, 5, ((0, 2), (1, 2))),
            Leak("labels", "photograph", "melanoma", "other", 1, 3, ((0, 2),)),
        ),
        confounding=make_report(
            find(),
            find(scope="a", value=0.61),
            find(cue="skin", value=None, low=None, high=None, note="there is no image of melanoma"),
            find(target="source", counts={"a": 2, "b": 3}),
        ),
        no_confounding="",
        plain=2,
        notes=("b: class folders, 3 other files left aside",),
    )


@pytest.fixture
def full(tmp_path, draw_image):
    return make_full(tmp_path, draw_image)


class Page(HTMLParser):
    """What a browser would fetch or run, and the words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.words, self.alternatives = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            value for key, value in attrs if key in {"src", "href", "srcset", "data", "action"}
        ]
        self.alternatives += [value for key, value in attrs if key == "alt"]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def read(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_all_files_are_there(full, tmp_path):
    save(full, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_pairs_and_views_stand_apart_with_names(full, tmp_path):
    save(full, tmp_path / "out")
    pairs, views = (read(tmp_path / "out" / name) for name in ("pairs.csv", "views.csv"))
    assert tuple(pairs.columns) == tuple(views.columns) == PAIR_COLUMNS
    assert pairs["kind"].tolist() == [SAME_BYTES, COPY, SAME_PIXELS]
    assert pairs.iloc[1].tolist() == [
        "a",
        "0000.png",
        "b",
        "0002.png",
        "copy",
        "0.9",
        "cropped to 75% x 100%",
    ]
    assert views.iloc[0].tolist() == ["b", "0003.png", "b", "0004.png", "view", "0.7", "mirrored"]


def test_tables_without_a_pair_are_headers(tmp_path):
    save(make_audit(make_images([{}])), tmp_path)
    for name in ("pairs.csv", "views.csv"):
        assert tuple(read(tmp_path / name).columns) == PAIR_COLUMNS
        assert len(read(tmp_path / name)) == 0


def test_only_paths_below_the_root_are_relative(tmp_path):
    paths = ["/data/a/x/1.png", "/data/ab/2.png", "/elsewhere/3.png", '/data/a/x "y", \r\nz.png']
    images = make_images([{"path": path} for path in paths])
    save(make_audit(images), tmp_path)
    assert read(tmp_path / "groups.csv")["path"].tolist() == ["x/1.png", *paths[1:3], 'x "y", \r\nz.png']
    save(make_audit(images, roots={"a": "/"}), tmp_path)
    assert read(tmp_path / "groups.csv")["path"].tolist()[0] == "data/a/x/1.png"


def test_groups_come_back_as_splits_read_them(tmp_path):
    rows = [*many(source="a"), *many(source="b"), *many(n_other=5, n_melanoma=0, source="c")]
    data = make_manifest(rows)
    images = data.table.assign(width=64, height=64, group_id=[f"g{n % 30}" for n in range(len(rows))])
    images = images.assign(y_true=images["y_true"].astype("Int64"))[list(IMAGE_COLUMNS)]
    save(make_audit(images), tmp_path)
    groups = splits.load_groups(tmp_path / "groups.csv")
    assert tuple(groups.columns) == GROUP_COLUMNS
    assert len(groups) == len(rows)
    found = splits.find_groups(data, groups)
    assert (found.groupby(images["group_id"]).nunique() == 1).all()
    assert found.nunique() == 30
    dealt = splits.assign(data, seed=0, groups=groups).table
    assert (dealt.groupby(images["group_id"])["split"].nunique() == 1).all()
    part = data.subset(np.flatnonzero(data.table["source"] == "a"))
    assert len(splits.find_groups(part, groups)) == 60


def test_groups_of_a_csv_come_back(tmp_path, draw_image):
    (tmp_path / "own" / "x").mkdir(parents=True)
    paths = [tmp_path / "own" / "x" / "1.png", tmp_path / "2.png"]
    for number, path in enumerate(paths):
        Image.fromarray(draw_image(number)).save(path)
    rows = f"path,label\nx/1.png,melanoma\n{paths[1]},nevus\n"
    (tmp_path / "own" / "list.csv").write_text(rows)
    found = manifest.load([str(tmp_path / "own" / "list.csv")])
    images = found.table.assign(width=64, height=64, group_id="one")[list(IMAGE_COLUMNS)]
    roots = {source.name: str(source.root) for source in found.sources}
    save(make_audit(images, roots=roots), tmp_path / "out")
    groups = splits.load_groups(tmp_path / "out" / "groups.csv")
    assert sorted(groups["path"]) == sorted(["x/1.png", str(paths[1])])
    assert splits.find_groups(found, groups).nunique() == 1


def test_json_is_strict_and_holds_everything_but_the_pairs(full, tmp_path):
    save(full, tmp_path / "out")
    text = (tmp_path / "out" / "audit.json").read_text()
    document = json.loads(text, parse_constant=pytest.fail)
    assert document["digest"] == "DIGEST"
    assert document["pairs"] == {"same_bytes": 1, "same_pixels": 1, "copy": 1, "view": 1}
    assert document["groups"] == {"groups": 1, "images": 3}
    a, b = document["sources"]
    assert (a["images"], a["classes"]) == (2, {"melanoma": 2, "other": 0, "unlabelled": 0})
    assert (b["classes"]["unlabelled"], b["copied"], b["lesions"]) == (1, 1, 1)
    assert (a["given_splits"], b["sizes"]) == ({"test": 1, "train": 1}, {"64 x 48": 2, "32 x 48": 1})
    assert len(document["problems"]) == 25
    assert document["largest_groups"][0]["members"][2] == {"source": "b", "path": "0002.png"}
    assert document["leaks"][1]["examples"][0][1] == {"source": "b", "path": "0002.png"}
    assert document["confounding"]["findings"][0]["sentence"].startswith("the border alone tells melanoma")
    assert (document["plain"], document["seconds"]) == (2, {"reading images": 1.5})
    save(full, tmp_path / "again")
    assert (tmp_path / "again" / "audit.json").read_text() == text


def test_only_the_ten_largest_groups_are_told():
    rows = [{"group_id": f"g{group}"} for group in range(15) for _ in range(group + 1)]
    assert list(list_largest(make_audit(make_images(rows)))) == [f"g{group}" for group in range(14, 4, -1)]


def test_failing_write_leaves_the_old_files_and_no_litter(full, tmp_path, monkeypatch):
    save(full, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        save(make_audit(make_images([{}])), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_page_needs_nothing_from_outside(full):
    text = render(full)
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    kinds = {address.partition(",")[0] for address in page.addresses if not address.startswith("#")}
    assert kinds == {"data:image/jpeg;base64", "data:image/svg+xml;base64"}
    assert not re.search(r"https?:|@import|url\(", text)
    for anchor in (address for address in page.addresses if address.startswith("#")):
        assert f'id="{anchor[1:]}"' in text
    assert text == render(full)


def test_page_says_what_was_found(full):
    page = Page(render(full))
    for words in (
        "5 images of 2 sources. 60 % have a copy in this data",
        "1 photograph stands on both sides of test and train, with 2 images.",
        "2 lesions are in both a and b, with 5 images.",
        "1 photograph is called both melanoma and other, with 3 images.",
        "The border alone tells melanoma from other over all sources at AUROC 0.97 (0.95 to 0.98)",
        "there is no image of melanoma",
        "copy, score 0.90, cropped to 75% x 100%",
        "another view, score 0.70, mirrored",
        "The first 20 of 25",
        "3 other files left aside",
        "2 images are too plain",
        "melanoma split DATA --groups groups.csv",
        "--leave-source-out",
    ):
        assert words in page.text, words
    assert page.text.count("not a medical device") == 1
    assert "0002 of b, other" in page.alternatives


def test_page_shows_each_side_of_a_leak_once(full):
    rows = tuple(zip(range(4), range(1, 5), strict=True))
    leaks = [Leak("sources", by, "a", "b", 4, n, rows) for n, by in enumerate(("patient", "photograph"), 4)]
    page = render(replace(full, leaks=tuple(leaks), pairs=make_pairs()))
    shown = re.findall(
        r"(\d photographs|\d patients)|(?:alt=\"(\d+) of)", page[page.index("Across sources") :]
    )
    names = [first or second for first, second in shown]
    assert names.index("4 photographs") < names.index("4 patients")
    assert names[1:7] == ["0000", "0001", "0001", "0002", "0002", "0003"]
    assert names[8:] == ["0003", "0004"]


def test_page_of_one_image_says_that_there_is_nothing(tmp_path, draw_image):
    path = tmp_path / "one.png"
    Image.fromarray(draw_image()).save(path)
    page = Page(render(make_audit(make_images([{"path": str(path), "y_true": None}]))))
    for words in (
        "1 image of 1 source.",
        "No image has a copy in this data.",
        "None was found.",
        "No two images show the same photograph",
        "No two images belong together.",
        "No split is given",
        "There is one source only.",
        "These images have no labels.",
        "Not measured: no image has a label.",
        "No image is too plain",
    ):
        assert words in page.text, words
    assert "--leave-source-out" not in page.text
    assert page.alternatives == []


def test_page_of_a_source_without_a_readable_image():
    audit = make_audit(make_images([{}]), roots={"a": "/data/a", "empty": "/data/empty"})
    assert "of 2 sources" in Page(render(audit)).text


def test_page_of_given_splits_that_nothing_crosses():
    rows = [{"given_split": "train"}, {"given_split": "test"}]
    text = Page(render(make_audit(make_images(rows)))).text
    assert "No group crosses the given train/test line." in text
    assert "No group crosses the given splits." in text


def test_page_marks_an_image_that_is_gone(full):
    for path in full.images["path"]:
        Path(path).unlink()
    page = Page(render(full))
    assert "0002 of b, other: can no longer be read" in page.alternatives
    assert "can no longer be read" in page.text


@pytest.mark.parametrize(
    "evil", ['<script>alert("x")</script>', "'\"><img src=x onerror=y>", "$x_$ {{ 7*7 }}", "_x"]
)
def test_names_cannot_become_markup(full, evil, tmp_path):
    audit = replace(
        full,
        images=full.images.assign(source=evil, image_id=evil, given_split=evil),
        roots={evil: evil},
        problems=(Problem(evil, evil, evil, evil),),
        overlaps=(Overlap(evil, evil, 1, 1, 1, 1, 1, 1),),
        leaks=(Leak("splits", "photograph", evil, evil, 1, 2, ((0, 1),)),),
        confounding=make_report(
            find(scope=evil, note=evil), find(cue="skin", scope=evil, value=None, note=evil)
        ),
        notes=(evil,),
        digest=evil,
        seconds={evil: 1.0},
    )
    save(audit, tmp_path)
    page = Page((tmp_path / "report.html").read_text())
    assert set(page.tags) == set(Page(render(full)).tags)
    assert not any(address.startswith("x") for address in page.addresses)
    assert evil in page.text
    assert read(tmp_path / "groups.csv")["source"].eq(evil).all()


def test_names_that_are_no_utf8_go_through(full, tmp_path):
    problem = Problem("file name", "b", "n\udce9m.png", "n\ud800")
    save(replace(full, problems=(problem,), notes=("\udcff",), roots={"a": "/n\udce9"}), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert all(name in page for name in ("n\\udce9m.png", "n\\ud800", "\\udcff"))
    document = json.loads((tmp_path / "out" / "audit.json").read_text("utf-8"))
    assert document["problems"][0]["path"] == "n\udce9m.png"


def test_page_stays_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 160, 160, 3), dtype=np.uint8)
    for number, image in enumerate(noise):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    images = make_images([{"path": f"{tmp_path}/{n}.png", "group_id": f"g{n // 20}"} for n in range(400)])
    pairs = make_pairs(
        *((n, n + 1, COPY, 0.9, "") for n in range(0, 200, 2)),
        *((n, n + 1, VIEW, 0.7, "") for n in range(200, 398)),
    )
    pairs_of = [tuple((n, 399 - n) for n in range(start, start + 8)) for start in range(0, 160, 8)]
    leaks = tuple(
        Leak("labels", "lesion", f"{n}", "x", 8, 16, examples) for n, examples in enumerate(pairs_of)
    )
    page = render(make_audit(images, pairs, leaks=leaks))
    assert len(page) < 4_000_000
    assert page.count("data:image/jpeg") == 2 * 18 + 2 * 12 + 36 + 2 * 24


@pytest.mark.parametrize(
    ("part", "whole", "words"), [(0, 5, "0 %"), (1, 1000, "under 1 %"), (999, 1000, "over 99 %")]
)
def test_share_is_never_rounded_to_all_or_none(part, whole, words):
    assert format_share(part, whole) == words


def test_plot_shows_the_figures_at_their_cue():
    findings = [
        find(),
        find(scope="a", value=0.6, low=None, high=None),
        find(cue="skin", value=None, low=None, high=None),
    ]
    axes = plots.plot_confounding(findings, [(None, "all"), ("a", "_a $x")]).axes[0]
    dots = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() in {"D", "o"}]
    assert [[round(x, 2) for x, _ in series] for series in dots] == [[0.97], [0.6]]
    assert all(abs(y) < 0.5 for series in dots for _, y in series)
    names = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert names == ["all", "_a $x"]


def test_plot_can_be_drawn_whatever_a_source_is_called():
    scopes = [(f"{n}", f"{n} $x_$ 皮膚 \x00\ud800 {'long' * 9}") for n in range(plots.MAX_SCOPES)]
    figure = plots.plot_confounding([find(scope=scope) for scope, _ in scopes], scopes)
    assert "<svg" in to_svg(figure)


def test_many_sources_are_all_in_the_table(full):
    findings = [find(scope=f"s{n:02}", counts={"other": n, "melanoma": 1}) for n in range(20)]
    page = Page(render(replace(full, confounding=make_report(find(), *findings))))
    assert all(f"s{n:02}" in page.text for n in range(20))
    assert "6 of 21 columns of the table." in page.text


def test_pictures_are_whole(full):
    pictures = [address for address in Page(render(full)).addresses if address.startswith("data:image/svg")]
    assert pictures
    for address in pictures:
        assert base64.b64decode(address.partition(",")[2]).rstrip().endswith(b"</svg>")


def test_template_lies_in_the_package():
    assert (importlib.resources.files("melanoma.audit") / "templates" / "audit.html.j2").is_file()

"""The web page in a browser, as people use it. Screenshots for looking at lie in build/page."""

import base64
import contextlib
import csv
import io
import json
import math
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import require_extra
from served import serving

for module, extra in (("fastapi", "serve"), ("playwright", "dev"), ("axe_playwright_python", "dev")):
    require_extra(module, extra)
require_extra("skimage", "bench")

from axe_playwright_python.sync_playwright import Axe

from melanoma import load_predictor
from melanoma.data.synthetic import render
from melanoma.inference import bundle as bundles
from melanoma.inference import results
from melanoma.inference.calibration import rebase

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "build" / "page"
PAGE = ROOT / "src" / "melanoma" / "serving" / "page"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
WORDS = {"refer": "Refer for examination", "no_sign": "No sign found by this model"}
REFERRED, NO_SIGN = 1, 178  # seeds of drawn images on which the bundle that ships decides so
HAND_OVER = """([type, files]) => {
  const transfer = new DataTransfer();
  for (const { name, bytes } of files)
    transfer.items.add(new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0))], name));
  const event = type === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
    : new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""

PIXELS = """(image) => {
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  canvas.getContext("2d").drawImage(image, 0, 0);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return btoa(Array.from(data, (one) => String.fromCharCode(one)).join(""));
}"""


def encode(seed: int, form: str = "PNG") -> bytes:
    """A drawn dermoscopic image: a melanoma for an odd seed."""
    file = io.BytesIO()
    difficulty = 0.3 if seed % 2 else 0.0
    Image.fromarray(
        render(seed % 2, np.random.default_rng(seed), size=512, difficulty=difficulty).image
    ).save(file, form)
    return file.getvalue()


@pytest.fixture(scope="module")
def predictor():
    return load_predictor()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images that the server never sees as files."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "mole.png").write_bytes(encode(REFERRED))
    (folder / "harmless.jpg").write_bytes(encode(NO_SIGN, "JPEG"))
    (folder / "scan.tif").write_bytes(encode(3, "TIFF"))
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "empty.jpg").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The server in an empty folder, with an empty folder for what it might want to store."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "temporary").mkdir()
    with serving(folder, environment={"TMPDIR": str(folder / "temporary")}) as one:
        yield one


@pytest.fixture
def open_page(browser):
    """A function that opens a page of a server; at the end it must have asked nobody else and failed nowhere."""
    contexts, asked, failed, urls = [], [], [], []

    def open_one(url: str, viewport: dict | None = None, **options):
        context = browser.new_context(viewport=viewport or DESKTOP, locale="en-US", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("dialog", lambda dialog: (failed.append(dialog.message), dialog.dismiss()))
        page.goto(url)
        page.wait_for_selector("#model:not(:empty), dialog[open]")
        urls.append(url)
        return page

    yield open_one
    for context in contexts:
        assert context.cookies() == []
        for page in context.pages:
            assert page.evaluate("localStorage.length + sessionStorage.length") == 0
        context.close()
    assert failed == []
    assert [one for one in asked if not one.startswith(("blob:", *urls))] == []


@pytest.fixture
def page(open_page, served):
    return open_page(served.url)


def give(page, *files) -> None:
    """Choose files and wait until all of them are judged, heat maps too."""
    before = page.locator(".card").count()
    page.set_input_files("#files", list(files))
    page.locator(".card").nth(before + len(files) - 1).wait_for(state="attached")
    wait(page)


def wait(page) -> None:
    page.wait_for_function("() => document.querySelectorAll('.card[aria-busy=true]').length === 0")
    page.wait_for_selector("#progress.over", state="attached")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.card[data-group=refer], .card[data-group=noSign]')]"
        ".every((card) => card.classList.contains('with-heat'))"
    )


def settle(page) -> None:
    """Wait until what was changed is painted."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def hand_over(page, kind: str, files: dict[str, bytes]) -> None:
    packed = [{"name": name, "bytes": base64.b64encode(content).decode()} for name, content in files.items()]
    before = page.locator(".card").count()
    page.evaluate(HAND_OVER, [kind, packed])
    if kind != "dragenter" and files:
        page.locator(".card").nth(before + len(files) - 1).wait_for(state="attached")


def card_of(page, name: str):
    return page.locator(".card", has=page.locator("h3", has_text=re.compile(f"^{re.escape(name)}$")))


def shoot(page, name: str, **options) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", **options)


def read_number(text: str) -> float:
    return float(re.search(r"[\d.]+", text)[0]) / 100


def count_pages(pdf: bytes) -> int:
    return int(re.search(rb"/Count (\d+)", pdf)[1])


def find_barriers(page) -> list[str]:
    """What axe-core finds that keeps people out."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


def percent(share: float) -> str:
    """As the page writes it where nothing needs more: two digits that count."""
    return f"{100 * share:.2g} %"


def test_a_card_says_what_the_predictor_says(page, folder, predictor):
    give(page, folder / "mole.png", folder / "harmless.jpg")
    for name in ("mole.png", "harmless.jpg"):
        expected, card = predictor.predict(folder / name), card_of(page, name)
        assert card.locator(".decision").inner_text() == WORDS[expected.decision]
        number = card.locator("[data-part=number]").inner_text()
        assert read_number(number) == pytest.approx(expected.y_prob, abs=0.006)
        label = card.locator(".scale").get_attribute("aria-label")
        assert number in label
        assert percent(predictor.operating_point.threshold) in label
    shoot(page, "cards")


def test_the_mark_is_right_of_the_operating_point_only_if_it_refers(page, folder):
    give(page, folder / "mole.png", folder / "harmless.jpg")
    for name, right in (("mole.png", True), ("harmless.jpg", False)):
        mark, point = (card_of(page, name).locator(one).bounding_box() for one in (".here", ".point"))
        assert (mark["x"] + mark["width"] / 2 > point["x"]) == right


def test_the_heat_map_fades_and_goes(page, folder, predictor):
    give(page, folder / "mole.png")
    card = card_of(page, "mole.png")
    heat, strength = card.locator(".heat"), card.locator("[data-part=strength]")
    for value in (100, 30, 0):
        strength.fill(str(value))
        assert float(heat.evaluate("one => getComputedStyle(one).opacity")) == value / 100
    card.locator("[data-part=shown]").uncheck()
    assert strength.is_disabled()
    assert heat.evaluate("one => getComputedStyle(one).opacity") == "0"
    drawn = np.frombuffer(base64.b64decode(heat.evaluate(PIXELS)), dtype=np.uint8).reshape(512, 512, 4)[
        ..., :3
    ]
    assert np.array_equal(drawn, predictor.explain(folder / "mole.png", strength=0.75, longest_side=800))


def test_how_often_it_is_right_stands_on_card_and_page(page, folder):
    (result,) = results.read(bundles.load(bundles.default_folder()))
    sensitivity = result["figures"]["sensitivity"]
    shown = f"{100 * sensitivity['value']:.0f} ({100 * sensitivity['low']:.0f} to"
    assert shown in page.locator("#rightness").inner_text()
    give(page, folder / "mole.png")
    card = card_of(page, "mole.png")
    card.locator("summary").click()
    rows = card.locator("details tbody th").all_inner_texts()
    assert rows == ["all together", *(one["name"] for one in result["sources"])]
    assert shown in card.locator("details").inner_text()


def test_figures_that_are_no_evidence_say_so(open_page, served, folder):
    page = open_page(served.url)

    def mark(route):
        model = route.fetch().json()
        route.fulfill(json=model | {"facts": {"notice": "Trained on drawn images."}})

    page.route("**/v1/model", mark)
    page.reload()
    page.wait_for_selector("#rightness .alarm:has-text('Trained on drawn images.')")
    give(page, folder / "mole.png")
    assert "Trained on drawn images." in card_of(page, "mole.png").locator("details").text_content()


def test_what_cannot_be_assessed_says_why_and_gives_no_number(page, folder):
    give(page, folder / "noise.png", folder / "broken.jpg", folder / "empty.jpg")
    words = {
        "noise.png": ("does not look like a dermoscopic image", "edges and texture"),
        "broken.jpg": ("cannot be read as an image", "no image in a known format"),
        "empty.jpg": ("Not judged", "empty"),
    }
    for name, (decision, reason) in words.items():
        card = card_of(page, name)
        assert decision in card.locator(".decision").inner_text()
        assert reason in card.locator("[data-part=reason]").inner_text()
        assert "does not look" not in card.locator("[data-part=reason]").inner_text()
        assert not card.locator(".chance").is_visible()
    assert [card_of(page, name).locator("figure").is_visible() for name in words] == [True, False, False]
    shoot(page, "errors", full_page=True)


def test_a_format_that_browsers_cannot_show_is_shown(page, folder):
    give(page, folder / "scan.tif")
    card_of(page, "scan.tif").locator(".picture:not(.broken)").wait_for()
    page.wait_for_function("() => document.querySelector('.picture').naturalWidth === 512")
    assert card_of(page, "scan.tif").locator(".picture").is_visible()


def test_the_prevalence_of_a_practice_moves_numbers_and_no_decision(page, folder, predictor):
    give(page, folder / "mole.png")
    expected = predictor.predict(folder / "mole.png").y_prob
    page.fill("#prevalence", "2")
    card = card_of(page, "mole.png")
    odds = math.log(expected / (1 - expected)) + math.log(0.02 / 0.98)
    base = predictor.prevalence
    rebased = 1 / (1 + math.exp(-(odds - math.log(base / (1 - base)))))
    assert read_number(card.locator("[data-part=number]").inner_text()) == pytest.approx(rebased, abs=0.006)
    assert rebased == pytest.approx(load_predictor(prevalence=0.02).predict(folder / "mole.png").y_prob)
    assert card.locator(".decision").inner_text() == WORDS["refer"]
    assert "2 of 100" in card.locator("[data-part=point]").inner_text()
    for text, share in (("2,5", "2.5"), ("0.01", "0.01")):
        page.fill("#prevalence", text)
        assert f"for {share} in 100" in page.locator("#prevalence-note").inner_text()
        assert f"{share} of 100" in card.locator("[data-part=point]").inner_text()
    mark, point = (card.locator(one).bounding_box() for one in (".here", ".point"))
    assert mark["x"] > point["x"] + 20  # told apart however rare melanomas are
    threshold = rebase(np.array(predictor.operating_point.threshold), base, 0.0001)
    assert percent(float(threshold)) in card.locator("[data-part=point]").inner_text()
    for text in ("0", "100", "two", ""):
        page.fill("#prevalence", text)
        assert "from 0.001 to 99.9" in page.locator("#prevalence-note").inner_text()
    number = card.locator("[data-part=number]")
    before = number.inner_text()
    page.click("text=Reset")
    page.wait_for_function(
        "([one, before]) => one.innerText !== before", arg=[number.element_handle(), before]
    )
    assert page.input_value("#prevalence") == "32.1"
    assert read_number(number.inner_text()) == pytest.approx(expected, abs=0.006)


def test_thirty_at_once_are_listed_sorted_filtered_and_downloaded(page, folder, predictor):
    contents = {f"lesion {seed}.jpg": encode(seed, "JPEG") for seed in range(28)}
    hand_over(page, "drop", contents | {"noise.png": (folder / "noise.png").read_bytes(), "=1+1.jpg": b"x"})
    page.wait_for_selector("#progress:not(.over)")
    shoot(page, "being-judged")
    page.wait_for_selector("#progress.over", state="attached", timeout=60_000)
    page.check("[name=view][value=table]")
    settle(page)
    rows = page.locator("#rows tr")
    assert rows.count() == 30
    numbers = [text for text in page.locator("#rows td:nth-child(3)").all_inner_texts() if "%" in text]
    assert len(numbers) == 28
    assert [read_number(one) for one in numbers] == sorted(map(read_number, numbers), reverse=True)
    shoot(page, "table", full_page=True)
    page.click("[data-sort=name]")
    settle(page)
    assert rows.nth(1).locator("th").inner_text() == "lesion 0.jpg"
    assert rows.nth(11).locator("th").inner_text() == "lesion 10.jpg"
    page.select_option("#filter", "cannotAssess")
    page.wait_for_function("() => document.querySelectorAll('#rows tr').length === 2")
    page.select_option("#filter", "all")
    page.fill("#find", "lesion 2")
    page.wait_for_function("() => document.querySelectorAll('#rows tr').length === 9")
    page.fill("#find", "")
    settle(page)
    with page.expect_download() as download:
        page.click("#download")
    table = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig"))))
    assert list(table[0]) == [*predictor.predict(contents["lesion 0.jpg"]).to_dict(), "prevalence"]
    found = {row["path"]: row for row in table}
    assert len(found) == 30
    assert found["'=1+1.jpg"]["error"].startswith("no image")
    assert found["lesion 0.jpg"]["image_id"] == "lesion 0"
    for name, content in contents.items():
        expected = predictor.predict(content)
        assert float(found[name]["y_prob"]) == pytest.approx(expected.y_prob, rel=1e-12)
        assert (found[name]["decision"], found[name]["reason"]) == (expected.decision, expected.reason)
    rows.nth(3).locator("button").click()
    assert page.evaluate("document.activeElement.querySelector('h3').textContent") == "lesion 2.jpg"


def test_files_are_dropped_and_pasted(page, folder):
    content = (folder / "mole.png").read_bytes()
    hand_over(page, "dragenter", {"a.png": content})
    assert page.locator("#drop.over").count() == 1
    hand_over(page, "drop", {"dropped.png": content})
    assert page.locator("#drop.over").count() == 0
    hand_over(page, "paste", {"pasted.png": content})
    wait(page)
    assert page.locator(".card h3").all_inner_texts() == ["dropped.png", "pasted.png"]
    page.evaluate(
        "document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: new DataTransfer(), bubbles: true}))"
    )
    hand_over(page, "paste", {})
    assert not page.locator("#alarm").is_visible()  # text is none of our business


def choose_by_enter(page):
    """The file chooser that Enter opens; on a busy machine Chromium may lose the first one."""
    from playwright.sync_api import TimeoutError as LateError

    for _ in range(3):
        with contextlib.suppress(LateError):
            with page.expect_file_chooser(timeout=8000) as chooser:
                page.keyboard.press("Enter")
            return chooser.value
    raise AssertionError("Enter opens no file chooser")


def test_everything_is_done_with_the_keyboard(page, folder):
    def tab_to(what: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("what => document.activeElement.matches(what)", what):
                return
        raise AssertionError(f"the keyboard never comes to {what}")

    tab_to("#files")
    assert (
        page.locator(".button:has(#files)").evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    )
    choose_by_enter(page).set_files([folder / "mole.png", folder / "harmless.jpg"])
    page.locator(".card").nth(1).wait_for()
    wait(page)
    assert page.locator("#heard").inner_text() == "2 images are judged."
    tab_to("[name=view]")
    page.keyboard.press("ArrowRight")
    page.locator("#table").wait_for()
    tab_to("#rows button")
    page.keyboard.press("Enter")
    assert card_of(page, "mole.png").is_visible()
    tab_to("[data-part=shown]")
    page.keyboard.press("Space")
    page.keyboard.press("Space")
    tab_to("[data-part=strength]")
    page.keyboard.press("Home")
    assert card_of(page, "mole.png").locator(".heat").evaluate("one => getComputedStyle(one).opacity") == "0"
    tab_to("summary")
    page.keyboard.press("Enter")
    assert card_of(page, "mole.png").locator("details").get_attribute("open") is not None
    tab_to("[data-part=remove]")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('.card').length === 1")
    assert page.evaluate("document.activeElement.matches('.card')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("size", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_nothing_keeps_people_out(open_page, served, folder, scheme, size, viewport):
    page = open_page(
        served.url, viewport, color_scheme=scheme, reduced_motion="reduce", has_touch=size == "phone"
    )
    assert find_barriers(page) == []
    shoot(page, f"empty-{scheme}-{size}", full_page=True)
    give(page, *sorted(folder.iterdir()))
    page.locator(".card[data-group=refer] summary").first.click()
    assert find_barriers(page) == []
    shoot(page, f"cards-{scheme}-{size}", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.check("[name=view][value=table]")
    settle(page)
    assert find_barriers(page) == []
    shoot(page, f"table-{scheme}-{size}")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_a_phone_offers_its_camera(open_page, served):
    phone = open_page(served.url, PHONE, has_touch=True, is_mobile=True)
    camera = phone.locator("#camera")
    assert camera.get_attribute("capture") == "environment"
    assert phone.locator(".button:has(#camera)").is_visible()
    assert not open_page(served.url).locator(".button:has(#camera)").is_visible()


def test_a_name_is_only_a_name(page, folder):
    name = "<script>alert(1)<img src=x onerror=alert(2)>.png"
    hand_over(page, "drop", {name: (folder / "mole.png").read_bytes()})
    wait(page)
    assert page.locator(".card h3").inner_text() == name
    page.check("[name=view][value=table]")
    settle(page)
    assert page.locator("#rows th").inner_text() == name
    assert page.locator("#rows th img, .card h3 *").count() == 0


def test_a_report_is_one_page(page, folder):
    page.evaluate("window.print = () => {}")
    give(page, folder / "mole.png", folder / "harmless.jpg")
    report = card_of(page, "mole.png").locator("[data-part=report]")
    for paper in ("A4", "Letter"):
        report.click()
        assert count_pages(page.pdf(format=paper)) == 1
    assert count_pages(page.pdf(format="A4")) == 2  # afterwards all of them are printed again
    report.click()
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 690, "height": 1000})
    shown = page.locator("body").inner_text()
    for words in ("Report on one image", "mole.png", "Refer for examination", "all together", "no diagnosis"):
        assert words in shown
    point = percent(load_predictor().operating_point.threshold)
    for words in ("harmless.jpg", "Choose images", "Remove", "Heat map\n", f"Refers from {point} on."):
        assert words not in shown
    shoot(page, "report")


def test_nothing_is_stored(open_page, served, folder):
    page = open_page(served.url)
    before = sorted(served.logs.parent.rglob("*"))
    give(page, *folder.iterdir())
    assert sorted(served.logs.parent.rglob("*")) == before
    logged = served.logs.read_bytes()
    for path in folder.iterdir():
        assert path.stem.encode() not in logged
        assert not path.stat().st_size or path.read_bytes()[:16] not in logged
    answer = page.request.get(f"{served.url}/v1/model")
    assert answer.headers["cache-control"] == "no-store"


def test_a_server_that_has_gone_is_said_and_can_come_back(page, folder):
    page.route("**/v1/predictions", lambda route: route.abort())
    page.set_input_files("#files", folder / "mole.png")
    card = card_of(page, "mole.png")
    card.locator("[data-part=again]").wait_for()
    assert "does not answer" in card.locator("[data-part=reason]").inner_text()
    assert page.locator("#heard").inner_text() == "mole.png: Not judged"
    page.unroute("**/v1/predictions")
    card.locator("[data-part=again]").click()
    assert page.evaluate("document.activeElement.matches('.card')")
    page.wait_for_selector(".card[data-group=refer].with-heat")
    assert not card.locator("[data-part=again]").is_visible()


def test_failures_are_counted_apart_and_tried_again_together(page, folder):
    page.route("**/v1/predictions", lambda route: route.abort())
    page.set_input_files("#files", [folder / "mole.png", folder / "harmless.jpg"])
    page.wait_for_selector("text=0 of 2 judged, 2 not")
    assert page.locator("#heard").inner_text() == "0 images are judged, 2 are not."
    page.unroute("**/v1/predictions")
    page.route("**/v1/explanations*", lambda route: route.abort())
    page.click("#all-again")
    card = card_of(page, "mole.png")
    card.locator(".heat-lost").wait_for()
    page.unroute("**/v1/explanations*")
    card.locator("[data-part=redraw]").click()
    card.locator(".heat-lost").wait_for(state="hidden")
    page.wait_for_selector(".card.with-heat")


def test_what_is_removed_is_sent_no_more(page, folder):
    sent = []

    def slow(route):
        sent.append(route.request)
        time.sleep(0.1)
        route.continue_()

    page.route("**/v1/*", slow)
    content = (folder / "harmless.jpg").read_bytes()
    hand_over(page, "drop", {f"{number}.jpg": content for number in range(30)})
    page.wait_for_selector(".card[data-group=noSign]")
    page.evaluate("window.confirm = () => true")
    page.click("#clear")
    already = len(sent)
    hand_over(page, "drop", {"new.png": (folder / "mole.png").read_bytes()})
    wait(page)
    assert len(sent) <= already + 6  # what was on its way, and those of the new image
    assert page.locator(".card h3").all_inner_texts() == ["new.png"]


def test_two_images_of_one_name_are_told_apart(page, folder):
    content = (folder / "harmless.jpg").read_bytes()
    for _ in range(3):
        hand_over(page, "paste", {"image.jpg": content})
    wait(page)
    assert page.locator(".card h3").all_inner_texts() == ["image.jpg", "image (2).jpg", "image (3).jpg"]


def test_what_the_model_does_not_see_is_dimmed(page, tmp_path):
    square = Image.open(io.BytesIO(encode(REFERRED)))
    wide = Image.new("RGB", (900, 512), (190, 150, 130))
    wide.paste(square, (0, 0))
    wide.save(tmp_path / "wide.png")
    square.save(tmp_path / "square.png")
    give(page, tmp_path / "wide.png", tmp_path / "square.png")
    card = card_of(page, "wide.png")
    assert "only what lies within the frame" in card.locator("figcaption").inner_text()
    frame, pane = card.locator(".seen").first.bounding_box(), card.locator(".pane").first.bounding_box()
    height = pane["width"] * 512 / 900
    assert frame["width"] == pytest.approx(height, abs=2)
    assert frame["height"] == pytest.approx(height, abs=2)
    assert frame["x"] - pane["x"] == pytest.approx((pane["width"] - height) / 2, abs=2)
    assert not card_of(page, "square.png").locator("figcaption").is_visible()
    shoot(page, "wide")


def test_the_heat_lies_the_way_the_picture_does(page, tmp_path):
    image = Image.open(io.BytesIO(encode(REFERRED))).crop((0, 0, 512, 340))
    exif = image.getexif()
    exif[0x0112] = 6  # a camera held upright
    names = ["turned.webp", "turned.jpg", "turned.png", "turned.tif"]
    for name in names:
        image.save(tmp_path / name, exif=exif)
    give(page, *(tmp_path / name for name in names))
    page.wait_for_function(
        "() => [...document.querySelectorAll('.picture, .heat')].every((one) => one.naturalHeight > one.naturalWidth)"
    )
    assert page.locator(".with-heat").count() == len(names)


def test_a_new_model_is_shown_with_what_it_judged(open_page, tmp_path, bundle_copy, tiny_bundle, folder):
    with serving(tmp_path, "--bundle", bundle_copy) as one:
        page = open_page(one.url)
        give(page, folder / "mole.png")
        old = load_predictor(bundle_copy).digest
        other = ROOT / "tests" / "fixtures" / "bundle-v2"
        for path in other.iterdir():
            (bundle_copy / path.name).write_bytes(path.read_bytes())
        os.kill(one.process.pid, signal.SIGHUP)
        new = load_predictor(bundle_copy).digest
        until = time.monotonic() + 30
        while page.request.get(f"{one.url}/v1/model").json()["bundle_digest"] != new:
            assert time.monotonic() < until
        hand_over(page, "paste", {"new.png": (folder / "mole.png").read_bytes()})
        wait(page)
        for name, digest in (("mole.png", old), ("new.png", new)):
            assert digest[:12] in card_of(page, name).locator("[data-part=model]").text_content()
        assert new[:12] in page.locator("#model").inner_text()


def test_another_prevalence_of_the_server_is_noticed(open_page, tmp_path, folder, predictor):
    expected = predictor.predict(folder / "mole.png").y_prob
    with serving(tmp_path, "--prevalence", "0.02") as one:
        page = open_page(one.url)
        port = one.url.rpartition(":")[2]
        assert page.input_value("#prevalence") == "2"
    with serving(tmp_path, "--port", port):
        give(page, folder / "mole.png")
        assert page.input_value("#prevalence") == "32.1"
        number = card_of(page, "mole.png").locator("[data-part=number]").inner_text()
        assert read_number(number) == pytest.approx(expected, abs=0.006)


def test_a_busy_server_is_asked_again(page, folder):
    refused = []

    def refuse_twice(route):
        if len(refused) == 2:
            time.sleep(0.1)
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=503, headers={"Retry-After": "1"}, body=json.dumps({"detail": "busy"}))

    page.route("**/v1/predictions", refuse_twice)
    page.set_input_files("#files", folder / "mole.png")
    page.wait_for_selector("text=Waiting: the server is busy")
    shoot(page, "busy")
    wait(page)
    assert len(refused) == 2
    assert card_of(page, "mole.png").get_attribute("data-group") == "refer"


def test_too_large_is_said_before_it_is_sent(open_page, tmp_path, folder, tiny_bundle):
    with serving(tmp_path, "--max-body", "1", "--bundle", tiny_bundle) as one:
        page = open_page(one.url)
        assert "has not been measured" in page.locator("#rightness").inner_text()
        hand_over(page, "drop", {"large.png": b"x" * (2**20 + 1)})
        reason = page.locator(".card [data-part=reason]")
        reason.wait_for()
        assert reason.inner_text() == "The file has 1.0 MiB; this server takes less than 1.0 MiB."


def test_a_key_is_asked_for_once(open_page, tmp_path, run_melanoma, folder):
    keys = tmp_path / "keys.txt"
    _, key, _ = run_melanoma("serve", "--keys", keys, "--add-key", "ward")
    with serving(tmp_path, "--keys", keys) as one:
        page = open_page(one.url)
        assert find_barriers(page) == []
        shoot(page, "key")
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=This server does not know that key.")
        page.fill("#key", key.strip())
        page.keyboard.press("Enter")
        page.wait_for_selector("#model:not(:empty)")
        give(page, folder / "mole.png", folder / "harmless.jpg")
        assert page.locator(".card[data-group=refer]").count() == 1
        refused = open_page(one.url)
        refused.keyboard.press("Escape")
        refused.wait_for_selector("text=No key was given")
        refused.set_input_files("#files", folder / "mole.png")
        refused.wait_for_selector("dialog[open]")
        refused.click("text=Cancel")
        refused.wait_for_selector("text=No key was given")


def test_words_and_their_places_agree():
    words = (PAGE / "words.js").read_text(encoding="utf-8")
    defined = set(re.findall(r"^    (\w+):", words, re.MULTILINE))
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in PAGE.glob("*.js") if path.name != "words.js")
    used = set(re.findall(r'data-(?:words|label)="(\w+)"', html))
    quoted = set(re.findall(r'"(\w+)"', code))
    assert used <= defined
    assert set(re.findall(r'say\("(\w+)"', code)) <= defined
    assert defined - used - quoted - {"sources"} == set()

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw, require_extra, require_or_skip

require_extra("tensorflow", "train")
for module in ("onnx", "tf2onnx"):
    require_extra(module, "export")
require_extra("playwright", "dev")

from melanoma import load_predictor
from melanoma.errors import ConfigError
from melanoma.inference import bundle as bundles
from melanoma.training.browser_page import check, write_page

RUNTIME = Path(__file__).resolve().parents[2] / "build" / "onnxruntime-web"
JUDGE = "async (text) => melanoma.judge(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))]))"


@pytest.fixture(scope="module")
def page_file(browser, tmp_path_factory):
    if not RUNTIME.is_dir():
        require_or_skip("no onnxruntime-web: scripts/install_browser brings it")
    target = tmp_path_factory.mktemp("page") / "melanoma.html"
    write_page(bundles.load(bundles.default_folder()), RUNTIME, target, "none")
    return target


@pytest.fixture
def page(browser, page_file):
    """The page without a server, and a list of all that it asked for."""
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_selector("#state:not(:has-text('Loading'))", timeout=60_000)
    assert page.text_content("#state") == "Ready."
    yield page, asked
    page.close()


def encode(image: np.ndarray, form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


@pytest.mark.slow
def test_it_judges_as_the_predictor_does_and_asks_nobody(page, page_file):
    page, asked = page
    predictor = load_predictor(domain_check=False)
    shapes = [(300, 300), (160, 160), (450, 600), (768, 576), (100, 90), (1022, 767)]
    for number, (height, width) in enumerate(shapes * 2):
        content = encode(
            draw(number, height, width, melanoma=bool(number % 2)), "PNG" if number < 6 else "JPEG"
        )
        found = page.evaluate(JUDGE, base64.b64encode(content).decode())
        assert found == pytest.approx(predictor.predict(content).y_prob, abs=1e-3 if number >= 6 else 1e-4)
    assert [url for url in asked if not url.startswith(("blob:", page_file.as_uri()))] == []


@pytest.mark.slow
def test_people_see_a_card_for_each_image(page, tmp_path):
    page, _ = page
    (tmp_path / "a <b>.png").write_bytes(encode(draw(1, 200, 200), "PNG"))
    (tmp_path / "broken.png").write_bytes(b"no image")
    page.set_input_files("#files", [tmp_path / "a <b>.png", tmp_path / "broken.png"])
    page.wait_for_selector(".card:has-text('Cannot be read') ~ .card .number:has-text('Probability')")
    assert page.locator(".card h2").all_text_contents() == ["broken.png", "a <b>.png"]
    said = page.locator(".card .decision").all_text_contents()
    assert said[0] == "Cannot be read as an image"
    expected = load_predictor(domain_check=False).predict(tmp_path / "a <b>.png").decision
    assert said[1] == {"refer": "Refer for examination", "no_sign": "No sign found by this model"}[expected]


def test_what_is_no_runtime_is_said(tmp_path):
    with pytest.raises(ConfigError, match="npm install onnxruntime-web"):
        check(bundles.load(bundles.default_folder()), tmp_path)

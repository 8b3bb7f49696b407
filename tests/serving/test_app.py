import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import draw, require_extra

require_extra("fastapi", "serve")

from fastapi.testclient import TestClient

from melanoma import load_predictor
from melanoma.errors import BundleError, ConfigError
from melanoma.inference import results
from melanoma.serving import keys as api_keys
from melanoma.serving import logs
from melanoma.serving.app import create_app
from melanoma.serving.limits import Limits

FIELDS = ["source", "path", "image_id", "y_prob", "decision", "reason", "error", "bundle_digest"]
PREDICTIONS = "/v1/predictions"


def encode(image: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format=form)
    return file.getvalue()


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    return load_predictor(tiny_bundle, max_pixels=10_000)


@pytest.fixture
def ask(predictor):
    """A function that makes a client of an app with so many limits and other arguments."""
    opened = []

    def open_client(limits: dict | None = None, **arguments) -> TestClient:
        limits = replace(Limits(), **(limits or {}))
        client = TestClient(create_app(predictor, limits=limits, **arguments), raise_server_exceptions=False)
        opened.append(client.__enter__())
        return client

    yield open_client
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(ask):
    return ask()


def part(content: bytes, name: str = "lesion.png") -> tuple[str, tuple[str, bytes]]:
    return ("files", (name, content))


def check_problem(answer, status: int, words: str) -> dict:
    """Hold an answer to what RFC 9457 asks for."""
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert words in problem["detail"]
    assert problem["title"]
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    return problem


def test_rows_are_those_of_the_predictor(client, predictor):
    images = [encode(draw(seed, melanoma=seed > 1)) for seed in range(4)]
    rows = client.post(
        PREDICTIONS, files=[part(image, f"a {n}.png") for n, image in enumerate(images)]
    ).json()
    assert [list(row) for row in rows] == [FIELDS] * 4
    assert [(row["path"], row["image_id"]) for row in rows] == [(f"a {n}.png", f"a {n}") for n in range(4)]
    expected = [predictor.predict(image) for image in images]
    assert [row["y_prob"] for row in rows] == [one.y_prob for one in expected]
    assert [row["decision"] for row in rows] == [one.decision for one in expected]
    assert {row["bundle_digest"] for row in rows} == {predictor.digest}


def test_a_raw_body_is_one_image(client, predictor):
    image = encode(draw(3), "JPEG")
    (row,) = client.post(PREDICTIONS, content=image, headers={"Content-Type": "image/jpeg"}).json()
    assert row == predictor.predict(image).to_dict()


@pytest.mark.parametrize("name", ["../../etc/a.png", "C:\\patients\\a.png", "/srv/a.png"])
def test_only_the_last_part_of_a_name_comes_back(client, name):
    (row,) = client.post(PREDICTIONS, files=[part(encode(draw()), name)]).json()
    assert (row["path"], row["image_id"]) == ("a.png", "a")


def test_a_broken_image_is_a_row_among_others_and_a_problem_alone(client):
    good, bad = part(encode(draw())), part(b"nothing", "bad.png")
    rows = client.post(PREDICTIONS, files=[good, bad]).json()
    assert [bool(row["error"]) for row in rows] == [False, True]
    problem = check_problem(client.post(PREDICTIONS, files=[bad]), 422, "no image in a known format")
    assert [row["path"] for row in problem["predictions"]] == ["bad.png"]
    problem = check_problem(
        client.post(PREDICTIONS, files=[bad, bad]), 422, "2 of 2 images could not be read"
    )
    assert len(problem["predictions"]) == 2


def test_an_explanation_is_a_png_of_the_same_size(client, predictor):
    image = encode(draw(5, 70, 90))
    answer = client.post("/v1/explanations", files=[part(image)])
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Bundle-Digest"] == predictor.digest
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(picture, predictor.explain(image))
    check_problem(client.post("/v1/explanations", files=[part(b"x")]), 422, "known format")
    check_problem(
        client.post("/v1/explanations", files=[part(image)] * 2), 422, "give one image, not several"
    )


def test_an_explanation_is_as_strong_and_as_large_as_wished(client, predictor):
    image = encode(draw(5, 70, 90))

    def ask_for(wish: str) -> np.ndarray:
        answer = client.post(f"/v1/explanations?{wish}", files=[part(image)])
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    assert np.array_equal(ask_for("strength=0"), draw(5, 70, 90))
    assert ask_for("longest_side=45").shape == (35, 45, 3)
    assert np.array_equal(ask_for("longest_side=90&strength=0.5"), predictor.explain(image, strength=0.5))
    for wish in ("strength=2", "strength=x", "longest_side=0"):
        name = wish.partition("=")[0]
        check_problem(
            client.post(f"/v1/explanations?{wish}", files=[part(image)]), 422, f"{name}: Input should"
        )


def test_the_model_says_how_often_it_was_right_only_where_that_is_known_of_it(bundle_copy):
    def ask_it(content: str | None) -> list:
        if content is not None:
            (bundle_copy / results.FILE).write_text(content)
        with TestClient(create_app(load_predictor(bundle_copy))) as client:
            return client.get("/v1/model").json()["results"]

    digest = load_predictor(bundle_copy).digest
    entry = {"name": "test", "where": "another", "n_melanoma": 1, "n_other": 2, "coverage": 1.0}
    entry |= {"figures": {}, "sources": []}
    known = {"format_version": 1, "bundle_digest": digest, "results": [entry]}
    assert ask_it(None) == []
    assert ask_it(json.dumps(known)) == known["results"]
    half = {key: value for key, value in entry.items() if key != "sources"}
    others = [known | {"results": [half]}, known | {"results": [entry | {"sources": [{}]}]}, {}, []]
    for wrong in (known | {"bundle_digest": "0" * 64}, known | {"format_version": 2}, *others):
        assert ask_it(json.dumps(wrong)) == []
    assert ask_it("{") == []


def test_the_page_and_its_parts_come_from_the_server_itself(client):
    page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    parts = re.findall(r'(?:src|href)="(page/[^"]+)"', page.text)
    assert len(parts) >= 4
    for name in (*parts, "page/words.js"):
        part = client.get(f"/{name}")
        assert part.status_code == 200
        assert part.headers["Cache-Control"] == "no-cache"
    assert not re.findall(r'(?:src|href)="(?!page/)', page.text)
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    check_problem(client.get("/page/../app.py"), 404, "nothing is here")
    check_problem(client.get("/page/%2e%2e%2fapp.py"), 404, "nothing is here")


def test_what_is_no_image_is_refused_in_words(client):
    check_problem(client.post(PREDICTIONS, json={"image": "x"}), 415, "multipart/form-data")
    zipped = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    check_problem(client.post(PREDICTIONS, content=b"x", headers=zipped), 415, "Content-Encoding")
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    check_problem(client.post(PREDICTIONS, content=b"--b--\r\n", headers=form), 422, "no image")
    check_problem(client.post(PREDICTIONS, content=b"--x", headers=form), 422, "no whole multipart")
    nameless = {"Content-Type": "multipart/form-data"}
    check_problem(client.post(PREDICTIONS, content=b"x", headers=nameless), 422, "no whole multipart")
    check_problem(client.post(PREDICTIONS, data={"a": "b"}, files=[part(b"x")]), 422, "nothing else")
    check_problem(client.post(PREDICTIONS, files=[("other", ("a.png", b"x"))]), 422, "nothing else")
    empty = client.post(PREDICTIONS, content=b"", headers={"Content-Type": "image/png"})
    check_problem(empty, 422, "the file is empty")
    check_problem(client.get("/nothing"), 404, "nothing is here")
    answer = client.get(PREDICTIONS)
    check_problem(answer, 405, "not with this method")
    assert answer.headers["Allow"] == "POST"


def test_limits_of_one_request(ask):
    client = ask({"max_body": 4000, "max_files": 2})
    png = {"Content-Type": "image/png"}
    check_problem(client.post(PREDICTIONS, content=bytes(4001), headers=png), 413, "more than 4,000 bytes")
    without_length = (bytes(1000) for _ in range(5))
    check_problem(client.post(PREDICTIONS, content=without_length, headers=png), 413, "more than 4,000 bytes")
    check_problem(client.post(PREDICTIONS, files=[part(b"x")] * 3), 413, "more than 2 images")
    ask_large = ask()
    problem = check_problem(
        ask_large.post(PREDICTIONS, files=[part(encode(draw(0, 101, 100)))]), 422, "pixels"
    )
    assert problem["detail"] == "100 x 101 is more than 10,000 pixels"


def test_limits_that_serve_nobody():
    for wrong in ({"max_files": 99}, {"max_body": 2**40}, {"answer_seconds": 0}):
        with pytest.raises(ConfigError, match=r"never fit|serves nobody"):
            replace(Limits(), **wrong)


def test_headers_keep_a_browser_in_bounds(client):
    for path in ("/docs", "/healthz", "/nothing", "/v1/model"):
        headers = client.get(path, headers={"Origin": "https://else.example"}).headers
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers


def test_pages_of_a_named_origin_may_call(ask):
    client = ask(origins=["https://a.example"], keys=api_keys.Keys({"0" * 64: "nobody"}))
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "Authorization"}
    answer = client.options(PREDICTIONS, headers={"Origin": "https://a.example", **preflight})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    refused = client.get("/v1/model", headers={"Origin": "https://b.example"})
    assert "Access-Control-Allow-Origin" not in refused.headers


def test_keys_open_the_gate(ask, tmp_path):
    file = tmp_path / "keys"
    key, other = api_keys.add(file, "ward-3"), api_keys.add(file, "ward-4")
    assert key not in file.read_text()
    client = ask(keys=api_keys.load(file))
    for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {key}"}):
        answer = client.get("/v1/model", headers=wrong)
        check_problem(answer, 401, "Authorization: Bearer KEY")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    for right in (key, other):
        assert client.get("/v1/model", headers={"Authorization": f"Bearer {right}"}).status_code == 200
    assert client.get("/healthz").status_code == 200
    assert client.get("/metrics").status_code == 401
    assert client.get("/openapi.json").json()["security"] == [{"key": []}]


def test_key_files_are_checked(tmp_path):
    file = tmp_path / "keys"
    with pytest.raises(ConfigError, match="cannot read"):
        api_keys.load(file)
    api_keys.add(file, "one")
    with pytest.raises(ConfigError, match="already"):
        api_keys.add(file, "one")
    with pytest.raises(ConfigError, match="no name for a key"):
        api_keys.add(file, "two words")
    file.write_text("# nobody\n")
    with pytest.raises(ConfigError, match="no key"):
        api_keys.load(file)
    file.write_text("one hunter2\n")
    with pytest.raises(ConfigError, match="line 1") as caught:
        api_keys.load(file)
    assert "hunter2" not in str(caught.value)


def test_the_model_is_described_without_paths(tiny_bundle, predictor):
    facts = {
        "recipe": {"model": {"weights": "/home/somebody/weights.h5"}},
        "notes": ["C:\\data\\x.csv", "a/b"],
    }
    changed = load_predictor(tiny_bundle)
    changed.bundle = replace(changed.bundle, facts=facts)
    with TestClient(create_app(changed)) as client:
        model = client.get("/v1/model").json()
    assert model["facts"] == {"recipe": {"model": {"weights": "weights.h5"}}, "notes": ["x.csv", "a/b"]}
    assert model["bundle_digest"] == predictor.digest
    assert model["operating_point"] == predictor.operating_point.to_dict()
    assert re.fullmatch("[0-9a-f]{64}", model["files"]["network.tflite"])
    assert str(tiny_bundle) not in json.dumps(model)


def test_health_and_metrics(client):
    client.post(PREDICTIONS, files=[part(encode(draw())), part(b"x")])
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    client.get("/patients/doe")
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'melanoma_requests_total{method="POST",route="/v1/predictions",status="200"} 1.0' in lines
    assert 'melanoma_images_total{decision="error"} 1.0' in lines
    assert "melanoma_waiting_images 0.0" in lines
    assert "doe" not in answer.text


def test_logs_name_neither_files_nor_paths(client, caplog):
    caplog.set_level("INFO", logger=logs.LOGGER.name)
    answer = client.post(
        PREDICTIONS,
        files=[part(encode(draw()), "doe.png")],
        headers={"X-Request-ID": "abc-1"},
    )
    client.get("/doe", headers={"X-Request-ID": "doe\x01"})
    assert client.post(f"{PREDICTIONS}?doe=1", files=[part(encode(draw()), "doe.png")]).status_code == 422
    assert answer.headers["X-Request-ID"] == "abc-1"
    lines = [json.loads(logs.JsonLines().format(record)) for record in caplog.records]
    first, second, third = [line for line in lines if line["event"] == "request"]
    assert (first["request_id"], first["route"], first["status"], first["images"]) == (
        "abc-1",
        PREDICTIONS,
        200,
        1,
    )
    assert (second["route"], third["route"], third["status"]) == ("other", PREDICTIONS, 422)
    assert "doe" not in json.dumps(lines)


def test_our_own_mistake_is_a_problem_that_tells_nothing(client, caplog, monkeypatch):
    def fail(*_):
        raise RuntimeError("of /home/doe/lesion.png")

    monkeypatch.setattr("melanoma.inference.predictor.Predictor.predict_files", fail)
    answer = client.post(PREDICTIONS, files=[part(encode(draw()))])
    check_problem(answer, 500, "the server has made a mistake")
    lines = [logs.JsonLines().format(record) for record in caplog.records if record.levelname == "ERROR"]
    assert "RuntimeError" in lines[0]
    assert "doe" not in "".join(lines)


def test_a_new_bundle_takes_over_and_a_broken_one_does_not(tiny_bundle, predictor):
    new = load_predictor(tiny_bundle, prevalence=0.01)
    new.bundle = replace(new.bundle, digest="new")
    following = [lambda: predictor, lambda: new]

    def load():
        if not following:
            raise BundleError("broken")
        return following.pop(0)()

    app = create_app(predictor, load=load)
    image = part(encode(draw(2, melanoma=True)))
    with TestClient(app) as client:
        said = []
        for _ in range(3):
            said.append(app.state.service.model.reload())
            (row,) = client.post(PREDICTIONS, files=[image]).json()
            said.append(row["bundle_digest"])
    assert said == ["unchanged", predictor.digest, "replaced", "new", "failed", "new"]


def test_documents_need_nothing_from_elsewhere(client):
    page = client.get("/docs").text
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert "<script>" not in page
    for name in re.findall(r"(?:src|href)=\"(docs/[^\"]+)\"", page):
        assert client.get(f"/{name}").status_code == 200
    assert client.get("/docs/docs.html").status_code == 404
    schema = client.get("/openapi.json").json()
    assert {"/v1/predictions", "/v1/explanations", "/v1/model", "/healthz", "/readyz", "/metrics"} == set(
        schema["paths"]
    )
    references = re.findall(r"#/components/schemas/(\w+)", json.dumps(schema))
    assert set(references) <= set(schema["components"]["schemas"])


@pytest.mark.filterwarnings("ignore")
def test_damaged_forms_are_answered_in_their_own_words(ask):
    client, rng = ask({"max_body": 100_000}), np.random.default_rng(0)
    images = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + encode(draw(seed)) + b"\r\n"
        for seed in range(2)
    )
    whole = images + b"--b--\r\n"
    form, statuses = {"Content-Type": "multipart/form-data; boundary=b"}, set()
    for _ in range(200):
        body, at = bytearray(whole), int(rng.integers(len(whole)) * rng.random() ** 2)
        if rng.random() < 0.5:
            body[at : at + int(rng.integers(1, 40))] = rng.bytes(int(rng.integers(0, 40)))
        else:
            del body[at:]
        answer = client.post(PREDICTIONS, content=bytes(body), headers=form)
        statuses.add(answer.status_code)
        assert answer.status_code == 200 or answer.json()["detail"]
    assert statuses <= {200, 413, 422}
    assert statuses >= {200, 422}
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("field", [{}, {"SOPClassUID": "1.2.3"}, {"Columns": 9}])
def test_nothing_of_a_patient_leaves_a_dicom_file(client, caplog, field):
    require_extra("pydicom", "dicom")
    from dicom_files import write

    caplog.set_level("DEBUG")
    content = write(draw(4).tobytes(), draw(4), PatientID="12345", **field)
    answer = client.post(PREDICTIONS, content=content, headers={"Content-Type": "application/dicom"})
    assert answer.status_code == (422 if field else 200)
    said = answer.text + str(answer.headers) + "".join(logs.JsonLines().format(one) for one in caplog.records)
    assert "Doe" not in said
    assert "12345" not in said

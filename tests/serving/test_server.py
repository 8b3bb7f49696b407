"""The command as a process of its own."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from conftest import draw, require_extra, require_or_skip
from served import Served, serving

require_extra("fastapi", "serve")

import httpx

from melanoma import load_predictor
from melanoma.client import Client
from melanoma.errors import ImageError, RefusalError

ROOT = Path(__file__).resolve().parents[2]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


@pytest.fixture(scope="module")
def served(tiny_bundle, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served"), "--bundle", tiny_bundle, "--no-domain-check") as one:
        yield one


def read_logs(served: Served, event: str) -> list[dict]:
    lines = [json.loads(line) for line in served.logs.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def test_it_says_where_it_is_and_who_can_reach_it(served):
    assert served.said[0].startswith("serving on http://127.0.0.1:")
    assert "only programs on this machine" in served.said[1]


@pytest.mark.parametrize("origin", ["clinic.example", "https://clinic.example/", "https://a.example/page"])
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(run_melanoma, tiny_bundle, origin):
    code, _, err = run_melanoma("serve", "--bundle", tiny_bundle, "--port", 0, "--allow-origin", origin)
    assert code == 2
    assert err.splitlines()[-1].startswith(f"melanoma: --allow-origin {origin}: give what browsers send")


def test_the_client_gets_what_the_predictor_says(served, image_files, tiny_bundle):
    image_files[2].write_bytes(b"broken")
    with Client(served.url) as client:
        rows = list(client.predict([*image_files, *image_files]))
        expected = [load_predictor(tiny_bundle).predict(path) for path in image_files] * 2
        assert [row.y_prob for row in rows] == [row.y_prob for row in expected]
        assert [row.image_id for row in rows] == [row.image_id for row in expected]
        (broken,) = client.predict([b"broken"])
        assert "known format" in broken.error
        assert client.explain(image_files[0]).startswith(b"\x89PNG")
        assert client.describe()["bundle_digest"] == rows[0].bundle_digest
        with pytest.raises(RefusalError, match="known format"):
            client.explain(b"broken")
        with pytest.raises(ImageError, match="cannot read"):
            list(client.predict(["nowhere.png"]))
        with pytest.MonkeyPatch.context() as patch:
            gateway = httpx.MockTransport(lambda _: httpx.Response(502, html="<h1>Bad Gateway</h1>"))
            patch.setattr(client, "_http", httpx.Client(transport=gateway, base_url=served.url))
            with pytest.raises(RefusalError, match="answered 502; is it a server of melanoma"):
                list(client.predict(image_files[:1]))
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(RefusalError, match="cannot reach"):
        nobody.describe()


def test_micro_batches_over_many_requests_change_no_bit(tmp_path, image_files):
    """Eight clients of one thread that takes four images at a time, whoever sent them."""
    predictor = load_predictor(domain_check=False)
    expected = {path: predictor.predict(path).y_prob for path in image_files}
    assert len(set(expected.values())) == len(expected)
    with serving(tmp_path, "--workers", "1", "--micro-batch", "4", "--no-domain-check") as one:

        def ask(path):
            with Client(one.url) as client:
                return path, [row.y_prob for row in client.predict([path])]

        with ThreadPoolExecutor(8) as clients:
            for path, found in clients.map(ask, 4 * image_files):
                assert found == [expected[path]]


def test_logs_are_json_lines(served):
    httpx.get(f"{served.url}/v1/model", trust_env=False)
    (*_, line) = [line for line in read_logs(served, "request") if line["route"] == "/v1/model"]
    assert (line["method"], line["status"]) == ("GET", 200)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_nothing_heavy_is_loaded(served):
    libraries = Path(f"/proc/{served.process.pid}/maps").read_text()
    assert "/PIL/" in libraries
    for heavy in ("/tensorflow/", "/pandas/", "/scipy/", "/sklearn/", "/cv2/"):
        assert heavy not in libraries


def test_the_examples_of_the_guide(served, tmp_path):
    if shutil.which("curl") is None:
        require_or_skip("curl is not installed")
    for number, name in enumerate(("lesion.jpg", "other.png")):
        Image.fromarray(draw(number, 90, 90)).save(tmp_path / name)
    text = (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
    lines = re.findall(r"^curl .*(?:\\\n.*)*", text, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line.replace("\\\n", "").replace("http://127.0.0.1:8000", served.url))
        words += ["--fail", "--silent", "--noproxy", "*"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, line
        assert done.stdout or "-o" in words
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    code = code.replace("http://127.0.0.1:8000", served.url)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 2


@posix_only
def test_sigterm_finishes_what_was_accepted(tiny_bundle, tmp_path):
    Image.fromarray(draw(1, 500, 500)).save(tmp_path / "large.png")
    content = (tmp_path / "large.png").read_bytes()
    outcomes: list[object] = []

    def ask(url: str) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while True:
                try:
                    headers = {"Content-Type": "image/png"}
                    answer = client.post(f"{url}/v1/predictions", content=content, headers=headers)
                except httpx.ConnectError:
                    return
                except httpx.HTTPError as error:  # a connection that was closed between two requests
                    outcomes.append(type(error).__name__)
                    return
                outcomes.append(answer.status_code)

    with serving(tmp_path, "--bundle", tiny_bundle) as served:
        clients = [threading.Thread(target=ask, args=(served.url,)) for _ in range(4)]
        for client in clients:
            client.start()
        wait_for(lambda: len(outcomes) >= 8)
        served.process.terminate()
        for client in clients:
            client.join()
        assert served.process.wait(30) == 0
        begun = read_logs(served, "request")
    answered = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert set(answered) == {200}
    posts = [line for line in begun if line["route"] == "/v1/predictions"]
    assert [line["status"] for line in posts] == [200] * len(answered)


def test_a_parameter_that_is_not_heeded_is_refused(served, image_files):
    content = image_files[0].read_bytes()
    for path, asked, known in (
        ("predictions", "prevalence=0.02", "this address takes none"),
        ("explanations", "strengt=1", "known: strength, longest_side"),
    ):
        answer = httpx.post(
            f"{served.url}/v1/{path}?{asked}", content=content, headers={"Content-Type": "image/png"}
        )
        assert answer.status_code == 422
        name = asked.partition("=")[0]
        assert answer.json()["detail"] == f"there is no query parameter '{name}'; {known}"


@posix_only
def test_sighup_loads_the_bundle_again(bundle_copy, tmp_path):
    other = ROOT / "tests" / "fixtures" / "bundle-v2"
    Image.fromarray(draw(1)).save(tmp_path / "a.png")
    with serving(tmp_path, "--bundle", bundle_copy) as served, Client(served.url) as client:
        first = client.describe()["bundle_digest"]
        seen, end = [], threading.Event()
        others = threading.Thread(target=ask_until, args=(served.url, tmp_path / "a.png", seen, end))
        others.start()
        (bundle_copy / "network.tflite").write_bytes(b"broken")
        os.kill(served.process.pid, signal.SIGHUP)
        wait_for(lambda: read_logs(served, "reload"))
        (failure,) = read_logs(served, "reload")
        assert "sha256 differs" in failure["error"]
        (row,) = client.predict([tmp_path / "a.png"])
        assert (row.error, row.bundle_digest) == ("", first)
        shutil.rmtree(bundle_copy)
        shutil.copytree(other, bundle_copy)
        os.kill(served.process.pid, signal.SIGHUP)
        wait_for(lambda: len(read_logs(served, "reload")) == 2)
        os.kill(served.process.pid, signal.SIGHUP)
        wait_for(lambda: len(read_logs(served, "reload")) == 3)
        assert read_logs(served, "reload")[2]["result"] == "unchanged"
        (row,) = client.predict([tmp_path / "a.png"])
        assert row.bundle_digest == json.loads((other / "bundle.json").read_text())["digest"] != first
        wait_for(lambda: row.bundle_digest in seen)
        end.set()
        others.join()
        assert set(seen) == {first, row.bundle_digest}  # and not one failure


def ask_until(url: str, image: Path, seen: list[str], end: threading.Event) -> None:
    """Note which bundle answers, or what went wrong, again and again."""
    with Client(url, patience=0) as client:
        while not end.is_set():
            try:
                (row,) = client.predict([image])
                seen.append(row.bundle_digest)
            except RefusalError as error:
                seen.append(str(error))


def wait_for(condition, rounds: int = 500) -> None:
    for _ in range(rounds):
        if condition():
            return
        threading.Event().wait(0.02)
    pytest.fail("it never came")


def test_errors_are_one_line(run_melanoma, tmp_path, served):
    port = served.url.rpartition(":")[2]
    code, _, err = run_melanoma("serve", "--port", port)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "give another --host or --port" in err
    code, _, err = run_melanoma("serve", "--bundle", tmp_path / "none")
    assert (code, len(err.splitlines())) == (2, 1)
    code, _, err = run_melanoma("serve", "--add-key", "me")
    assert (code, len(err.splitlines())) == (2, 1)


def test_a_key_is_printed_once(run_melanoma, tmp_path):
    code, key, _ = run_melanoma("serve", "--keys", tmp_path / "keys", "--add-key", "ward-3")
    assert code == 0
    assert len(key.strip()) >= 40
    assert key.strip() not in (tmp_path / "keys").read_text()

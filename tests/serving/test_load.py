"""A real server in a thread, whose predictor takes as long as a test wants."""

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from conftest import require_extra

require_extra("fastapi", "serve")

import httpx
import uvicorn

from melanoma import load_predictor
from melanoma.serving import connections, server
from melanoma.serving.app import create_app
from melanoma.serving.limits import Limits

PNG = {"Content-Type": "image/png"}


class Slow:
    """A predictor that judges nothing before it is let go, and counts what it has judged."""

    def __init__(self, predictor):
        self._predictor = predictor
        self.prevalence = predictor.prevalence
        self.go = threading.Event()
        self.judged = 0

    def predict_files(self, files):
        assert self.go.wait(20)
        self.judged += len(files)
        grey = np.full((64, 64, 3), 99, np.uint8)
        return self._predictor.predict_files([(file, grey) for file, _ in files])


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    return load_predictor(tiny_bundle)


@pytest.fixture
def start(predictor):
    """A function that starts a server with so many limits: its slow predictor and its port."""
    running = []

    def start_server(**limits) -> tuple[Slow, int]:
        slow = Slow(predictor)
        app = create_app(slow, limits=replace(Limits(), **limits))
        slow.pool = app.state.service.pool
        listener = server.listen("127.0.0.1", 0)
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14
        )  # an answer must not fit into the kernel
        one = uvicorn.Server(server.configure(app))
        thread = threading.Thread(target=one.run, args=([listener],))
        thread.start()
        running.append((one, thread, slow))
        port = listener.getsockname()[1]
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/healthz").is_success)
        return slow, port

    yield start_server
    for one, thread, slow in running:
        slow.go.set()
        one.should_exit = True
        thread.join()


def wait_for(condition, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def post(port: int, content: bytes = b"x", timeout: float = 30.0) -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{port}/v1/predictions",
        content=content,
        headers=PNG,
        timeout=timeout,
        trust_env=False,
    )


def connect(port: int, head: str) -> socket.socket:
    """A connection over which only the head of a request has gone."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(head.replace("\n", "\r\n").encode())
    return connection


def head(length: int) -> str:
    return f"POST /v1/predictions HTTP/1.1\nHost: x\nContent-Type: image/png\nContent-Length: {length}\n\n"


def test_a_full_queue_refuses_at_once_and_recovers(start):
    slow, port = start(max_waiting=4, max_files=4)
    with ThreadPoolExecutor(12) as clients:
        accepted = [clients.submit(post, port) for _ in range(4)]
        wait_for(lambda: slow.pool.waiting == 4)
        began = time.monotonic()
        refused = list(clients.map(lambda _: post(port), range(8)))
        assert time.monotonic() - began < 2
        assert {answer.status_code for answer in refused} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        assert "4 images are waiting" in refused[0].json()["detail"]
        assert httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 503
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
        slow.go.set()
        assert {one.result().status_code for one in accepted} == {200}
    assert post(port).status_code == 200
    assert slow.pool.waiting == 0


def test_one_client_does_not_take_all(start):
    slow, port = start(max_per_client=2)
    with ThreadPoolExecutor(2) as clients:
        mine = [clients.submit(post, port) for _ in range(2)]
        wait_for(lambda: slow.pool.waiting == 2)
        refused = post(port)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        slow.go.set()
        assert {one.result().status_code for one in mine} == {200}
    assert post(port).status_code == 200


def test_what_takes_too_long_is_given_up(start):
    slow, port = start(answer_seconds=0.2)
    answers = [post(port), post(port)]
    assert [answer.status_code for answer in answers] == [504, 504]
    assert "not done within 0.2 seconds" in answers[0].json()["detail"]
    slow.go.set()
    wait_for(lambda: slow.pool.waiting == 0)
    assert slow.judged == 1  # the second had not begun


def test_work_for_a_client_that_left_is_dropped(start):
    slow, port = start()
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(post, port)
        wait_for(lambda: slow.pool.waiting == 1)
        with connect(port, head(1)) as leaver:
            leaver.sendall(b"x")
            wait_for(lambda: slow.pool.waiting == 2)
        wait_for(lambda: slow.pool.waiting == 1)
        slow.go.set()
        assert first.result().status_code == 200
    assert slow.judged == 1


def test_slow_and_halting_senders_do_not_hold_up_others(start):
    slow, port = start(read_seconds=1.0)
    slow.go.set()
    with connect(port, head(1000)) as trickling, connect(port, head(1000)) as halting:
        trickling.sendall(b"x")
        halting.sendall(b"x" * 500)
        halting.shutdown(socket.SHUT_WR)
        assert post(port).status_code == 200
        answer = b"".join(iter(lambda: trickling.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"the body took more than 1 seconds" in answer


def test_a_huge_body_is_refused_before_it_comes(start):
    slow, port = start()
    slow.go.set()
    with connect(port, head(5 * 2**30)) as huge:
        huge.sendall(bytes(2**16))
        assert huge.recv(4096).startswith(b"HTTP/1.1 413")
        assert post(port).status_code == 200


def test_bodies_held_at_once_have_a_limit(start):
    slow, port = start(max_body=4000, max_memory=6000)
    with ThreadPoolExecutor(1) as clients:
        first = clients.submit(post, port, bytes(4000))
        wait_for(lambda: slow.pool.waiting == 1)
        refused = post(port, bytes(4000))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        slow.go.set()
        assert first.result().status_code == 200
    assert post(port, bytes(4000)).status_code == 200


@pytest.mark.parametrize("said", ["", "POST /v1/predictions HT", "GET /healthz HTTP/1.1\nHost: x\n\nGET /he"])
def test_a_silent_connection_is_closed(start, monkeypatch, said):
    monkeypatch.setattr(connections, "SECONDS", 0.3)
    _, port = start()
    with connect(port, said) as silent:
        came = list(iter(lambda: silent.recv(4096), b""))  # the answer to a whole request first, then the end
    assert b"".join(came).startswith(b"HTTP/1.1 200") == ("healthz" in said)


def test_a_client_that_does_not_read_is_cut_and_a_slow_one_is_not(start, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS", 0.3)
    _, port = start()
    for pause, whole in ((1.2, False), (0.0, True)):
        with socket.socket() as reader:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)
            reader.settimeout(10)
            reader.connect(("127.0.0.1", port))
            reader.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            time.sleep(pause)
            assert (count_bytes(reader) > 1_000_000) == whole


def count_bytes(reader: socket.socket) -> int:
    """How much comes until the end, read at a leisurely pace."""
    n = 0
    while True:
        try:
            some = reader.recv(2**16)
        except ConnectionResetError:
            return n
        if not some:
            return n
        n += len(some)
        time.sleep(0.01)


def test_the_bundle_is_loaded_again_from_time_to_time(predictor):
    loads = []
    app = create_app(predictor, load=lambda: loads.append(1) or predictor)

    async def watch() -> None:
        task = asyncio.create_task(server.watch(app.state.service, 0.01))
        while len(loads) < 3:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(asyncio.wait_for(watch(), 10))
    assert 'melanoma_reloads_total{result="unchanged"}' in app.state.service.metrics.render().decode()

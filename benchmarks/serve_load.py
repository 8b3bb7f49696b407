"""CPU time, memory and latency of `melanoma serve` on loopback, beside the predictor alone in one thread.

    python benchmarks/serve_load.py --requests 400 [--bundle FOLDER] [--micro-batch N] [--overload] [--keras]

`--overload`: then ten times as many requests as one core answers, and the same load as before once more. `--keras`:
beside it, in the same run, the plain way: FastAPI with Keras' `predict` in the handler.
"""

import argparse
import asyncio
import io
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import speed
from PIL import Image

from melanoma import load_predictor
from melanoma.data.synthetic import render

COMMAND = "from melanoma.cli.main import run; run()"
TICKS = os.sysconf("SC_CLK_TCK")
FLOOD_SECONDS = 10
KERAS_SERVER = """
import io, os, socket, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, uvicorn
from fastapi import FastAPI, Request
from PIL import Image
model = keras.models.load_model(sys.argv[1])
size = model.input_shape[1]
app = FastAPI()
@app.post("/v1/predictions")
async def predict(request: Request):
    image = Image.open(io.BytesIO(await request.body())).convert("RGB").resize((size, size), Image.BILINEAR)
    return float(model.predict(np.asarray(image, np.float32)[None] / 127.5 - 1, verbose=0)[0, 0])
sock = socket.socket()
sock.bind(("127.0.0.1", 0))
sys.stderr.write(f"http://127.0.0.1:{sock.getsockname()[1]}\\n")
sys.stderr.flush()
uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[sock])
"""
HEADERS = {"Content-Type": "image/jpeg"}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--micro-batch", type=int, default=1)
    parser.add_argument("--bundle", help="folder; default: the bundle that ships")
    parser.add_argument("--overload", action="store_true")
    parser.add_argument("--keras", action="store_true")
    options = parser.parse_args()
    images = [encode(seed) for seed in range(8)]
    alone = time_predictor(images, min(options.requests, 1000), options.bundle)
    print(f"predictor alone: {1000 * alone:.1f} ms CPU an image")
    with serve(options.workers, options.bundle, options.micro_batch) as (url, pid):
        load(url, images, options.clients * 2, options.clients)
        before, resident = cpu_seconds(pid), resident_mb(pid)
        seconds, statuses = load(url, images, options.requests, options.clients)
        cpu = (cpu_seconds(pid) - before) / options.requests
        p50, p99 = np.percentile(seconds, [50, 99])
        print(f"server: {1000 * cpu:.1f} ms CPU an image, {cpu / alone:.2f} times the predictor's")
        print(f"p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms ({p99 / p50:.1f} times)")
        print(f"answers {dict(Counter(statuses))}")
        print(f"resident {resident:.0f} MB before, {resident_mb(pid):.0f} MB after")
    if options.overload:
        overload(images, options.clients, options.bundle)
    if options.keras:
        time_keras(images, min(options.requests, 400), options.clients)


def overload(images: list[bytes], clients: int, bundle: str | None) -> None:
    """Ten times as many requests a second as can be answered, then as many clients as before.

    The server has core 0 for itself: how fast it refuses is its own doing and not that of clients beside it.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {0})  # what is started now stays there
    with serve(1, bundle) as (url, _):
        os.sched_setaffinity(0, cores - {0} or cores)
        load(url, images, 2 * clients, clients)
        began = time.perf_counter()
        usual, _ = load(url, images, 200, clients)
        rate = 200 / (time.perf_counter() - began)
        answers = asyncio.run(flood(url, images, 10 * rate, FLOOD_SECONDS))
        print(
            f"one core answers {rate:.0f} requests a second; {10 * rate:.0f} a second for {FLOOD_SECONDS} s:"
        )
        for status in sorted({status for _, status in answers}):
            p50, p99 = np.percentile([second for second, got in answers if got == status], [50, 99])
            n = sum(got == status for _, got in answers)
            print(f"  {status}: {n:,} after p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms")
        seconds, statuses = load(url, images, 200, clients)
        p50, before = np.median(seconds), np.median(usual)
        print(
            f"at once after: p50 {1000 * p50:.0f} ms ({p50 / before:.2f} times that before), {dict(Counter(statuses))}"
        )


async def flood(url: str, images: list[bytes], rate: float, seconds: float) -> list[tuple[float, int]]:
    """Seconds and status of requests that come `rate` times a second, whether or not earlier ones are answered.

    Bare sockets: an HTTP client would need more of the machine than the server does for saying no. 0: no answer came.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    head = "POST /v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nConnection: close\r\n"
    bodies = [f"{head}Content-Length: {len(one)}\r\n\r\n".encode() + one for one in images]

    async def ask(number: int) -> tuple[float, int]:
        began = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(bodies[number % len(bodies)])
            line = await reader.readline()
            writer.close()
        except OSError:
            line = b""
        return time.perf_counter() - began, int((line.split() or [b"", b"0"])[1])

    began, asked = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(began + number / rate - time.perf_counter())
        asked.append(asyncio.create_task(ask(number)))
    return await asyncio.gather(*asked)


def time_keras(images: list[bytes], n: int, clients: int) -> None:
    """The same load on FastAPI and Keras."""
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "model.keras"
        speed.make_keras_model(network)
        command = [sys.executable, "-c", KERAS_SERVER, str(network)]
        with start(command) as (url, pid):
            load(url, images, clients, clients)
            before = cpu_seconds(pid)
            seconds, statuses = load(url, images, n, clients)
            cpu = (cpu_seconds(pid) - before) / n
            p50, p99 = np.percentile(seconds, [50, 99])
            print(f"Keras in the handler: {1000 * cpu:.1f} ms CPU an image")
            print(f"p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms")
            print(f"answers {dict(Counter(statuses))}, resident {resident_mb(pid):.0f} MB")


def encode(seed: int) -> bytes:
    """A drawn image as JPEG."""
    file = io.BytesIO()
    Image.fromarray(render(seed % 2, np.random.default_rng(seed), size=300).image).save(
        file, format="JPEG", quality=92
    )
    return file.getvalue()


def time_predictor(images: list[bytes], n: int, bundle: str | None) -> float:
    """CPU seconds an image of the predictor in this process."""
    predictor = load_predictor(bundle)
    predictor.predict(images[0])
    before = resource.getrusage(resource.RUSAGE_SELF)
    for number in range(n):
        predictor.predict(images[number % len(images)])
    after = resource.getrusage(resource.RUSAGE_SELF)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / n


@contextmanager
def serve(workers: int, bundle: str | None, micro_batch: int = 1) -> Iterator[tuple[str, int]]:
    """The server as a process: its address and its number."""
    options = ["--port", "0", "--workers", str(workers), "--micro-batch", str(micro_batch)]
    options += ["--bundle", bundle] if bundle else []
    with start([sys.executable, "-c", COMMAND, "serve", *options]) as served:
        yield served


@contextmanager
def start(command: list[str]) -> Iterator[tuple[str, int]]:
    """A server that says its address on standard error."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        lines = (re.search(r"http://127\S+:\d+", line) for line in process.stderr)
        found = next((match for match in lines if match), None)
        if found is None:
            sys.exit("the server does not start")
        threading.Thread(
            target=process.stderr.read, daemon=True
        ).start()  # else it waits when the pipe is full
        yield found[0], process.pid
    finally:
        process.terminate()
        process.wait()


def load(url: str, images: list[bytes], n: int, clients: int) -> tuple[list[float], list[int]]:
    """Seconds and status of each of `n` requests by so many clients, one after the other each."""
    answers: list[tuple[float, int]] = []
    numbers = iter(range(n))

    def ask() -> None:
        with httpx.Client(base_url=url, headers=HEADERS, timeout=60, trust_env=False) as client:
            for number in numbers:
                began = time.perf_counter()
                status = client.post("/v1/predictions", content=images[number % len(images)]).status_code
                answers.append((time.perf_counter() - began, status))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [second for second, _ in answers], [status for _, status in answers]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    """Resident memory of a process, MB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()

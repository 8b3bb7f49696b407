"""CPU time, memory and latency of `melanoma serve` on loopback, beside the predictor alone in one thread.

python benchmarks/serve_load.py --requests 400 --clients 16
"""

import argparse
import io
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from melanoma import load_predictor
from melanoma.data.synthetic import render

COMMAND = "from melanoma.cli.main import run; run()"
TICKS = os.sysconf("SC_CLK_TCK")
HEADERS = {"Content-Type": "image/jpeg"}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    images = [encode(seed) for seed in range(8)]
    alone = time_predictor(images, options.requests)
    print(f"predictor alone: {1000 * alone:.1f} ms CPU an image")
    with serve(options.workers) as (url, pid):
        load(url, images, options.clients * 2, options.clients)
        before, resident = cpu_seconds(pid), resident_mb(pid)
        seconds, statuses = load(url, images, options.requests, options.clients)
        cpu = (cpu_seconds(pid) - before) / options.requests
        p50, p99 = np.percentile(seconds, [50, 99])
        print(f"server: {1000 * cpu:.1f} ms CPU an image, {cpu / alone:.2f} times the predictor's")
        print(
            f"p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms ({p99 / p50:.1f} times); answers {dict(statuses)}"
        )
        print(f"resident {resident:.0f} MB before, {resident_mb(pid):.0f} MB after")


def encode(seed: int) -> bytes:
    """A drawn image as JPEG."""
    file = io.BytesIO()
    Image.fromarray(render(seed % 2, np.random.default_rng(seed), size=300).image).save(
        file, format="JPEG", quality=92
    )
    return file.getvalue()


def time_predictor(images: list[bytes], n: int) -> float:
    """CPU seconds an image of the predictor in this process."""
    predictor = load_predictor()
    predictor.predict(images[0])
    before = resource.getrusage(resource.RUSAGE_SELF)
    for number in range(n):
        predictor.predict(images[number % len(images)])
    after = resource.getrusage(resource.RUSAGE_SELF)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / n


@contextmanager
def serve(workers: int) -> Iterator[tuple[str, int]]:
    """The server as a process: its address and its number."""
    command = [sys.executable, "-c", COMMAND, "serve", "--port", "0", "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stderr.readline() if process.stderr else ""
        found = re.search(r"http://\S+:\d+", said)
        if found is None:
            sys.exit(said)
        yield found[0], process.pid
    finally:
        process.terminate()
        process.wait()


def load(url: str, images: list[bytes], n: int, clients: int) -> tuple[list[float], Counter[int]]:
    """Seconds and statuses of `n` requests by so many clients, one after the other each."""
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    numbers = iter(range(n))

    def ask() -> None:
        with httpx.Client(base_url=url, headers=HEADERS, timeout=60, trust_env=False) as client:
            for number in numbers:
                began = time.perf_counter()
                status = client.post("/v1/predictions", content=images[number % len(images)]).status_code
                seconds.append(time.perf_counter() - began)
                statuses[status] += 1

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, statuses


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

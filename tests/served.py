"""`melanoma serve` as a process of its own."""

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-c", "from melanoma.cli.main import run; run()", "serve", "--port", "0"]


@dataclass
class Served:
    process: subprocess.Popen
    url: str
    said: list[str]
    logs: Path


@contextmanager
def serving(folder: Path, *arguments: object, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """The command on a free port, in `folder`, from its first words to its end."""
    logs = folder / "logs.jsonl"
    with logs.open("w") as out:
        command = [*COMMAND, *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=os.environ | (environment or {}),
        )
    said = [process.stderr.readline(), process.stderr.readline()]
    served = Served(process, re.search(r"http://\S+:\d+", said[0])[0], said, logs)
    try:
        urllib.request.urlopen(f"{served.url}/readyz", timeout=30).close()
        yield served
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()

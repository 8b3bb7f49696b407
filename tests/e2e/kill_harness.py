"""Runs that die at a chosen moment, in processes that are forked with TensorFlow imported already."""

import os
import random
import signal
import sys
import threading
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR


def train_and_die(source: str, folder: str, log: str, kill_at: int | None, delay: float = 0.0) -> None:
    """Start or resume the run in `folder`; SIGKILL `delay` seconds after its `kill_at`-th write to disk.

    Every write is a line in `log`. The weights, the history and the probabilities of a run that ends are left
    in `outcome.npz`.
    """
    os.chdir(Path(folder).parent)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{Path(folder).parent}/mlflow.db"
    os.environ["MELANOMA_CACHE"] = str(Path(source).parent / "cache")
    watch(Path(folder), Path(log), kill_at, delay)
    train(source, Path(folder))
    save_outcome(Path(folder))


def train(source: str, folder: Path) -> None:
    from melanoma import runs
    from melanoma.config import parse_recipe
    from melanoma.run_images import Request

    if (folder / "run.json").exists():
        runs.resume(folder)
        return
    values = {
        "name": "tiny",
        "model": {"dropout": 0.3},
        "input": {"size": 32},
        "augmentation": {"rotation": 20, "zoom": 0.2, "horizontal_flip": True, "brightness": 0.1},
        "optimizer": {"name": "adamw", "schedule": "cosine", "warmup_epochs": 1, "ema_momentum": 0.9},
        "training": {"epochs": 3, "batch_size": 16, "keep": "best"},
        "splits": {"val": 0.25, "calibration": 0.25},
        "evaluation": {"resamples": 100},
    }
    runs.start(Request(sources=[source], seed=5), parse_recipe(values, "test"), folder)


def save_outcome(folder: Path) -> None:
    import numpy as np
    import pandas as pd

    from melanoma.runs import load_model

    weights = {f"weight_{n:02}": value for n, value in enumerate(load_model(folder).get_weights())}
    history = (folder / "history.csv").read_bytes()
    y_prob = pd.read_csv(folder / "evaluation" / "predictions.csv")["y_prob"].to_numpy()
    np.savez(folder / "outcome.npz", history=np.frombuffer(history, np.uint8), y_prob=y_prob, **weights)


def watch(folder: Path, log: Path, kill_at: int | None, delay: float) -> None:
    """Count writes inside `folder` through Python's audit events, and die at one of them."""
    count = 0
    log.write_text("")

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        path = written_path(event, arguments)
        if path is None or not path.startswith(str(folder)):
            return
        count += 1
        with log.open("a") as file:
            file.write(f"{event} {os.path.relpath(path, folder)}\n")
        if count == kill_at:
            die(delay)

    sys.addaudithook(on_event)


def written_path(event: str, arguments: tuple[object, ...]) -> str | None:
    """The path that an audit event is about to change, if any."""
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & WRITES
        return os.fsdecode(path) if writes and isinstance(path, str | bytes | os.PathLike) else None
    if event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.copyfile"}:
        return str(arguments[0])
    return None


def die(delay: float) -> None:
    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if delay:
        threading.Timer(delay, kill).start()
    else:
        kill()


def choose_moments(events: list[str], of_each_kind: int, seed: int) -> list[tuple[int, float]]:
    """Moments (number of the write, delay in seconds), so many in each of four kinds of write."""
    rng = random.Random(seed)
    kinds: dict[str, list[int]] = {"checkpoint": [], "export": [], "tracking": [], "other": []}
    for number, event in enumerate(events, start=1):
        kinds[kind_of(event)].append(number)
    return [
        (rng.choice(numbers), rng.choice([0.0, 0.001, 0.01, 0.05]))
        for numbers in kinds.values()
        for _ in range(of_each_kind)
    ]


def kind_of(event: str) -> str:
    for kind, words in (("checkpoint", ["epoch-"]), ("export", ["bundle"]), ("tracking", ["tracking"])):
        if any(word in event for word in words):
            return kind
    return "other"

"""A run that is killed at any moment and resumed ends with the same weights, bit for bit."""

import multiprocessing
import shutil
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kill_harness
import numpy as np
import pytest

from conftest import require_extra, write_images

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

require_extra("tensorflow", "train")

FINISHED, KILLED = 0, -signal.SIGKILL


@pytest.fixture(scope="module")
def forks():
    """Processes that start with TensorFlow and MLflow imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kill_harness", "melanoma.runs", "tensorflow", "keras", "mlflow"])
    return context


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, forks):
    """Images, an MLflow database with its tables, and an uninterrupted run to compare with."""
    root = tmp_path_factory.mktemp("kill")
    write_images(root / "images")
    (root / "reference").mkdir()
    assert train(forks, root, "reference", None) == FINISHED
    return root


def train(forks, root: Path, name: str, kill_at: int | None, delay: float = 0.0) -> int | None:
    folder = root / name
    arguments = (str(root / "images"), str(folder / "run"), str(folder / "writes.log"), kill_at, delay)
    process = forks.Process(target=kill_harness.train_and_die, args=arguments)
    process.start()
    process.join(300)
    return process.exitcode


@pytest.mark.parametrize(
    ("of_each_kind", "seed"), [(1, 0), pytest.param(5, 1, marks=pytest.mark.long, id="20 kills")]
)
def test_kills_end_in_the_same_weights(forks, workplace, subtests, of_each_kind, seed):
    events = (workplace / "reference" / "writes.log").read_text().splitlines()
    moments = list(enumerate(kill_harness.choose_moments(events, of_each_kind, seed)))
    with ThreadPoolExecutor(2) as pool:
        problems = pool.map(lambda moment: kill_and_resume(forks, workplace, moment[0], *moment[1]), moments)
        for (_, (kill_at, delay)), problem in zip(moments, problems, strict=True):
            with subtests.test(moment=f"{kill_at}: {events[kill_at - 1]}", delay=delay):
                assert problem == ""


def kill_and_resume(forks, root: Path, number: int, kill_at: int, delay: float) -> str:
    """What differs from the uninterrupted run, '' when nothing does."""
    folder = root / f"killed-{number}"
    folder.mkdir()
    copy_empty_database(root / "reference" / "mlflow.db", folder / "mlflow.db")
    codes = [train(forks, root, folder.name, kill_at, delay), train(forks, root, folder.name, None)]
    if codes not in ([KILLED, FINISHED], [FINISHED, FINISHED]):  # a delay may outlast the run's last writes
        return f"exit codes {codes}"
    expected, found = (np.load(root / name / "run" / "outcome.npz") for name in ("reference", folder.name))
    different = [name for name in expected if not np.array_equal(expected[name], found.get(name))]
    problem = f"differs: {different}" if different else check_tracking(folder / "mlflow.db")
    shutil.rmtree(folder, ignore_errors=True)
    return problem


def copy_empty_database(source: Path, target: Path) -> None:
    """The tables, so that no run has to make them again, without the reference run in them."""
    shutil.copy(source, target)
    with sqlite3.connect(target) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in set(names) - {"alembic_version", "experiments", "experiment_tags", "workspaces"}:
            connection.execute(f'DELETE FROM "{name}"')


def check_tracking(database: Path) -> str:
    """One finished run, each epoch's point once, one registered version; what is wrong with it, else ''."""
    with sqlite3.connect(database) as connection:
        found = [
            connection.execute("SELECT status FROM runs").fetchall(),
            connection.execute("SELECT step FROM metrics WHERE key = 'val_loss' ORDER BY step").fetchall(),
            connection.execute("SELECT version FROM model_versions").fetchall(),
        ]
    expected = [[("FINISHED",)], [(1,), (2,), (3,)], [(1,)]]
    return "" if found == expected else f"tracked {found}"

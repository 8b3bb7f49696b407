"""The Ray engine, on clusters of several nodes that are processes of this machine."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from conftest import draw, require_extra

require_extra("ray", "cluster")
require_extra("s3fs", "cluster")

from PIL import Image
from pyarrow import dataset

from melanoma import cluster, load_predictor, study
from melanoma.archive import blocks, scoring
from melanoma.archive.output import Output
from melanoma.cluster.nodes import check_workers
from melanoma.errors import ClusterError
from melanoma.inference.sources import find_images
from ray_nodes import nodes

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray has many of its own

MELANOMA = [sys.executable, "-c", "from melanoma.cli.main import run; run()"]
BROKEN = (7, 150)
JOBS = {"good": ("models", "list"), "bad": ("nonsense",)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """300 images, two of them broken."""
    folder = tmp_path_factory.mktemp("images") / "archive"
    folder.mkdir()
    for number in range(300):
        path = folder / f"{number:03d}.png"
        if number in BROKEN:
            path.write_bytes(b"no image")
        else:
            Image.fromarray(draw(number, melanoma=number % 2 == 1)).save(path)
    return folder


@pytest.fixture(scope="module")
def expected(folder, tiny_bundle):
    predictor = load_predictor(tiny_bundle)
    return [row.to_dict() for row in predictor.score_files(find_images([str(folder)]))]


def read_rows(output: Path) -> list[dict]:
    return dataset.dataset(str(output), format="parquet").to_table().to_pylist()


def start(folder: Path, output: Path, bundle: Path, address: str = "auto") -> subprocess.Popen:
    command = [*MELANOMA, "predict", folder, "--bundle", bundle, "--cluster", address]
    command += ["--format", "parquet", "-o", output]
    return subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for_parts(output: Path, n: int) -> None:
    until = time.monotonic() + 120
    while len(list(output.glob("part-*.parquet"))) < n:
        assert time.monotonic() < until, "no part came"
        time.sleep(0.05)


@pytest.mark.long
def test_a_driver_that_was_killed_goes_on(folder, tiny_bundle, tmp_path, expected):
    output = tmp_path / "out"
    first = start(folder, output, tiny_bundle)
    wait_for_parts(output, 1)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    done = {path: path.stat().st_mtime_ns for path in output.glob("part-*.parquet")}
    assert 1 <= len(done) < 5
    second = start(folder, output, tiny_bundle)
    said = second.communicate(timeout=200)[1]
    assert second.returncode == 0, said
    assert "going on in" in said
    assert "without --cluster is faster" in said
    assert "300 images" in said.splitlines()[-1]
    assert [line for line in said.splitlines() if "ray" in line.lower().replace("starting ray", "")] == []
    assert read_rows(output) == expected
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert sorted(path.name for path in output.iterdir() if path.name.startswith(".")) == []


def test_a_node_that_dies_loses_nothing_and_nothing_comes_twice(
    folder, tiny_bundle, tmp_path, expected, monkeypatch
):
    monkeypatch.setattr(blocks, "SMALLEST", 10)
    predictor, output = load_predictor(tiny_bundle), Output(str(tmp_path / "out"))
    archive = blocks.find([str(folder)])
    output.begin(scoring.describe(predictor, archive))
    with nodes(1, 1, 1) as made:
        victim = list(made.worker_nodes)[-1]

        def kill() -> None:
            wait_for_parts(tmp_path / "out", 3)
            made.remove_node(victim, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        seen = []
        with cluster.connect(made.address):
            task = scoring.pack(predictor, None, output)
            cluster.score(
                list(enumerate(archive.blocks)), task, lambda done, total: seen.append((done, total))
            )
        killer.join()
    assert seen[-1] == (300, 300)
    assert output.count([block.n for block in archive.blocks]).total() == 300
    assert read_rows(tmp_path / "out") == expected


def test_what_does_not_fit_is_said_in_time(tmp_path, tiny_bundle, folder, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as mute:
        for address, words in (
            (f"127.0.0.1:{port}", "no cluster answers"),
            (f"127.0.0.1:{mute.getsockname()[1]}", "no cluster answers"),
            ("nonsense", "is no address"),
        ):
            began = time.monotonic()
            with pytest.raises(ClusterError, match=words), cluster.connect(address):
                pass
            assert time.monotonic() - began < 10
    with nodes(1) as made, cluster.connect(made.address):
        assert check_workers() == 1
        with monkeypatch.context() as patch:
            patch.setattr("melanoma.cluster.nodes.TO_TRAIN", ("numpy", "nothing_so_named"))
            with pytest.raises(ClusterError, match="cannot train: nothing_so_named not installed"):
                check_workers(training=True)
        jobs = [study.Job(name, tmp_path / name, words) for name, words in JOBS.items()]
        found = {job.name: problem for job, problem in cluster.run_jobs(jobs)}
        assert found["good"] == ""
        assert "no such command" in found["bad"].lower()
        monkeypatch.setattr("melanoma.cluster.nodes.__version__", "9.9")
        with pytest.raises(ClusterError, match=r"has melanoma 0\.\d+\.\d+, this is 9\.9"):
            check_workers()
    with nodes(1) as made, monkeypatch.context() as patch:
        patch.setattr("ray.__version__", "2.0.0")
        with pytest.raises(ClusterError, match=r"Version mismatch.* Ray: 2\.0\.0 .*use the same"):
            cluster.connect(made.address).__enter__()


def test_no_jobs_are_no_work():
    assert list(cluster.run_jobs([])) == []


def test_nothing_is_left_where_no_cluster_answers(folder, tiny_bundle, tmp_path):
    process = start(folder, tmp_path / "out", tiny_bundle, "127.0.0.1:1")
    assert "no cluster answers" in process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert not (tmp_path / "out").exists()


def test_a_node_without_the_runtime_is_named(tmp_path, tiny_bundle, folder):
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text("raise ImportError('no runtime here')")
    with nodes(1, env_vars={"PYTHONPATH": str(tmp_path)}) as made:
        process = start(folder, tmp_path / "out", tiny_bundle, made.address)
        said = process.communicate(timeout=100)[1]
    assert process.returncode == 2, said
    assert "cannot judge: no runtime here; install melanoma[cluster]" in said.splitlines()[-1]


def test_an_audit_on_a_cluster_finds_the_same_groups(tmp_path, run_melanoma, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label, melanoma in (("benign", False), ("malignant", True)):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(70):
            picture = draw(
                number % 60 + 1000 * melanoma, 96, 96, melanoma=melanoma
            )  # the last ten come twice
            size = (96, 96) if number < 60 else (80, 80)
            Image.fromarray(picture).resize(size).save(tmp_path / "images" / label / f"{number}.png")
    for options in ((), ("--cluster", "auto")):
        code, _, said = run_melanoma("audit", "images", "-o", f"audit{len(options)}", *options)
        assert code == 0, said
    here, there = ((tmp_path / name / "groups.csv").read_bytes() for name in ("audit0", "audit2"))
    assert here == there
    assert (tmp_path / "audit0" / "pairs.csv").read_bytes() == (
        tmp_path / "audit2" / "pairs.csv"
    ).read_bytes()

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from melanoma.errors import BundleError
from melanoma.inference import bundle as bundles
from melanoma.inference.runtime import LiteRtNetwork


@pytest.fixture(scope="module")
def network(tiny_bundle):
    return LiteRtNetwork(tiny_bundle / "network.tflite")


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).random((6, 32, 32, 3), dtype=np.float32)


def test_outputs_have_the_promised_shapes(network, batch):
    output = network.run(batch)
    assert output.logit.shape == (6,)
    assert output.embedding.ndim == 2
    assert output.heatmap.ndim == 3
    assert len(output.embedding) == len(output.heatmap) == 6
    assert {array.dtype for array in (output.logit, output.embedding, output.heatmap)} == {
        np.dtype(np.float32)
    }
    assert output.heatmap.min() >= 0
    assert len(set(output.logit.tolist())) == 6


def test_an_image_does_not_depend_on_its_neighbours(network, batch):
    together = network.run(batch)
    for number in range(6):
        alone = network.run(batch[number : number + 1])
        assert alone.logit[0] == together.logit[number]
        np.testing.assert_array_equal(alone.heatmap[0], together.heatmap[number])


def test_a_network_of_before_takes_one_at_a_time(network, tiny_bundle, batch):
    old = LiteRtNetwork(tiny_bundle / "network.tflite", batch=4)
    assert old.batch == 1
    np.testing.assert_array_equal(old.run(batch).logit, network.run(batch).logit)


def test_the_network_that_ships_takes_several():
    network = bundles.default_folder() / "network.tflite"
    together, alone = LiteRtNetwork(network, batch=4), LiteRtNetwork(network)
    assert (together.batch, alone.batch) == (4, 1)
    images = np.random.default_rng(0).uniform(-1, 1, (5, 208, 208, 3)).astype(np.float32)
    found, expected = together.run(images), alone.run(images)
    assert len(set(expected.logit.tolist())) == 5
    for output in ("logit", "embedding", "heatmap"):
        np.testing.assert_array_equal(getattr(found, output), getattr(expected, output))


def test_threads_do_not_disturb_one_another(network, batch):
    expected = network.run(batch).logit
    start = threading.Barrier(8)

    def work(_: int) -> list[bool]:
        start.wait()
        return [np.array_equal(network.run(batch).logit, expected) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        assert all(all(same) for same in pool.map(work, range(8)))


def test_an_output_stays_what_it_was(network, batch):
    first = network.run(batch[:1])
    kept = first.heatmap.copy()
    network.run(batch[1:2])
    np.testing.assert_array_equal(first.heatmap, kept)


@pytest.mark.parametrize("content", [b"", b"no network", bytes(1000)])
def test_a_file_that_is_no_network_is_a_bundle_error(tmp_path, content, capfd):
    (tmp_path / "network.tflite").write_bytes(content)
    with pytest.raises(BundleError, match=r"network.tflite is no network this version can run"):
        LiteRtNetwork(tmp_path / "network.tflite")


SCRIPT = """
import os, sys, threading
from pathlib import Path
from melanoma.inference.runtime import LiteRtNetwork
path = Path(sys.argv[1])
threads = [threading.Thread(target=LiteRtNetwork, args=(path,)) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.write(2, b"heard")
"""


def test_standard_error_is_quiet_and_still_there(tiny_bundle):
    """Eight threads load at once: nothing is printed, and standard error is what it was before."""
    command = [sys.executable, "-c", SCRIPT, tiny_bundle / "network.tflite"]
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("", "heard")


@pytest.mark.skipif(os.name == "nt", reason="no such redirection")
def test_a_closed_standard_error_does_no_harm(tiny_bundle):
    script = SCRIPT.replace('os.write(2, b"heard")', "")
    command = f'exec "{sys.executable}" -c \'{script}\' "{tiny_bundle / "network.tflite"}" 2>&-'
    assert subprocess.run(["/bin/sh", "-c", command], check=True).returncode == 0

import errno
import json
import multiprocessing
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from conftest import draw, require_extra

require_extra("filelock", "train")

from melanoma.errors import ConfigError, ImageError, OutputError
from melanoma.inference import images
from melanoma.inference.preprocessing import Preprocessing, prepare
from melanoma.training import cache as caching
from melanoma.training.cache import open_cache

SPEC = Preprocessing(32)


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for number in range(10):
        Image.fromarray(draw(number)).save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(10)]


@pytest.fixture
def open_for():
    """`open_cache` for some paths; what it opens is closed after the test."""
    opened = []

    def open_(paths, folder, digests=None, spec=SPEC, **options):
        opened.append(open_cache(paths, digests or paths, spec, folder=folder, **options))
        return opened[-1]

    yield open_
    for cache in opened:
        cache.close()


def test_rows_are_the_prepared_images(open_for, paths, tmp_path):
    cache = open_for(paths, tmp_path / "cache")
    rows = np.array([7, 0, 7])
    expected = [prepare(images.load(paths[row]), SPEC) for row in rows]
    np.testing.assert_array_equal(cache.read(rows), expected)
    assert cache.broken == {}


def test_a_second_run_reads_and_does_not_decode(open_for, paths, tmp_path, monkeypatch):
    first = open_for(paths, tmp_path / "cache")
    monkeypatch.setattr(images, "load", lambda path: pytest.fail("decoded again"))
    second = open_for(paths, tmp_path / "cache")
    np.testing.assert_array_equal(first.read(np.arange(10)), second.read(np.arange(10)))


def test_other_content_or_size_is_another_cache(open_for, paths, tmp_path):
    open_for(paths, tmp_path / "cache")
    open_for(paths, tmp_path / "cache", [*paths[:-1], "changed"])
    open_for(paths, tmp_path / "cache", spec=Preprocessing(48))
    assert len(list((tmp_path / "cache").glob("*.uint8"))) == 3


def test_broken_files_are_listed_with_their_reason_and_their_row(open_for, paths, tmp_path):
    Path(paths[3]).write_bytes(b"no image")
    Path(paths[5]).write_bytes(b"")
    cache = open_for(paths, tmp_path / "cache")
    assert set(cache.broken) == {3, 5}
    assert "empty" in cache.broken[5]
    np.testing.assert_array_equal(cache.read(np.array([6]))[0], prepare(images.load(paths[6]), SPEC))


def test_threads_may_read_at_once(open_for, paths, tmp_path):
    cache = open_for(paths, tmp_path / "cache")
    expected = cache.read(np.arange(10))
    wrong = []

    def read(seed: int) -> None:
        rows = np.random.default_rng(seed).integers(0, 10, 200)
        wrong.extend(row for row in rows if (cache.read(np.array([row]))[0] != expected[row]).any())

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_least_recently_used_cache_makes_room(open_for, paths, tmp_path):
    size = 10 * 32 * 32 * 3
    folder = tmp_path / "cache"
    for age, name in ((2, "old"), (1, "new")):
        cache = open_for(paths, folder, [name] * 10, limit=2 * size)
        first = cache.read(np.array([0]))
        stamp = 1_000_000_000 - age * 1000
        os.utime(next(p for p in folder.glob("*.uint8") if p.stat().st_mtime > 1_000_000_000), (stamp, stamp))
    assert len(list(folder.glob("*.uint8"))) == 2
    open_for(paths, folder, ["third"] * 10, limit=2 * size)
    left = {path.stem for path in folder.glob("*.uint8")}
    assert left == {caching._key([name] * 10, SPEC) for name in ("new", "third")}
    np.testing.assert_array_equal(cache.read(np.array([0])), first)


def test_more_than_the_limit_is_refused_with_what_to_do(open_for, paths, tmp_path):
    with pytest.raises(OutputError, match="MELANOMA_CACHE_LIMIT"):
        open_for(paths, tmp_path / "cache", limit=1000)


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(open_for, paths, tmp_path, monkeypatch):
    def decode(path, spec):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching, "_decode", decode)
    with pytest.raises(OutputError, match="disk is full"):
        open_for(paths, tmp_path / "cache")
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".lock"}


@pytest.mark.parametrize("damage", ["index lost", "pixels lost", "pixels cut short"])
def test_a_cache_that_is_not_whole_is_built_again(open_for, paths, tmp_path, damage):
    folder = tmp_path / "cache"
    open_for(paths, folder)
    pixels, index = next(folder.glob("*.uint8")), next(folder.glob("*.json"))
    if damage == "index lost":
        index.unlink()
    elif damage == "pixels lost":
        pixels.unlink()
    else:
        pixels.write_bytes(pixels.read_bytes()[:-1])
    cache = open_for(paths, folder)
    np.testing.assert_array_equal(cache.read(np.array([9]))[0], prepare(images.load(paths[9]), SPEC))
    assert json.loads(index.read_text()) == {"broken": {}}


def test_a_file_that_is_cut_while_open_is_noticed(open_for, paths, tmp_path):
    cache = open_for(paths, tmp_path / "cache")
    os.truncate(next((tmp_path / "cache").glob("*.uint8")), 32 * 32 * 3 * 4)
    cache.read(np.array([3]))
    with pytest.raises(OSError, match="cut short"):
        cache.read(np.array([8]))


def test_what_a_killed_build_left_behind_makes_room(open_for, paths, tmp_path):
    folder, size = tmp_path / "cache", 10 * 32 * 32 * 3
    folder.mkdir()
    (folder / "dead.part").write_bytes(bytes(10 * size))
    open_for(paths, folder, limit=2 * size)
    assert not (folder / "dead.part").exists()


def test_what_a_killed_build_of_the_same_images_left_counts_once(open_for, paths, tmp_path):
    folder, size = tmp_path / "cache", 10 * 32 * 32 * 3
    open_for(paths, folder, ["first"] * 10, limit=2 * size)
    (folder / f"{caching._key(['second'] * 10, SPEC)}.part").write_bytes(bytes(size))
    open_for(paths, folder, ["second"] * 10, limit=2 * size)
    assert len(list(folder.glob("*.uint8"))) == 2


def test_a_build_under_way_counts_and_stays(open_for, paths, tmp_path):
    folder, size = tmp_path / "cache", 10 * 32 * 32 * 3
    open_for(paths, folder, ["first"] * 10, limit=3 * size)
    (folder / "other.part").write_bytes(bytes(size))
    with FileLock(folder / "other.lock"):
        open_for(paths, folder, ["second"] * 10, limit=2 * size)
    assert (folder / "other.part").exists()
    assert len(list(folder.glob("*.uint8"))) == 1


def test_too_little_memory_is_not_kept_as_the_images_fault(open_for, paths, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(caching, "prepare", lambda image, spec: (_ for _ in ()).throw(_out_of_memory()))
        with pytest.raises(OutputError, match="memory"):
            open_for(paths, tmp_path / "cache")
    assert open_for(paths, tmp_path / "cache").broken == {}


def _out_of_memory() -> ImageError:
    error = ImageError("too large for this machine's memory")
    error.__cause__ = MemoryError()
    return error


def test_a_limit_that_is_no_number_is_one_line(open_for, paths, tmp_path, monkeypatch):
    monkeypatch.setenv("MELANOMA_CACHE_LIMIT", "10GB")
    with pytest.raises(ConfigError, match="number of bytes"):
        open_for(paths, tmp_path / "cache")


def _open_and_sum(paths: list[str], folder: str, results) -> None:
    cache = open_cache(paths, paths, SPEC, folder=Path(folder))
    results.put(int(cache.read(np.arange(len(paths))).sum()))
    cache.close()


def test_two_processes_at_once_build_one_cache(open_for, paths, tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    folder = tmp_path / "cache"
    workers = [context.Process(target=_open_and_sum, args=(paths, str(folder), results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    sums = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sums[0] == sums[1] > 0
    assert len(list(folder.glob("*.uint8"))) == 1
    assert list(folder.glob("*.part")) == []

"""Archives without a cluster: what is found, read and written, locally, over HTTP and in an S3-compatible store."""

import functools
import http.server
import json
import os
import threading
from pathlib import Path

import pytest

from conftest import draw, require_extra

for module in ("fsspec", "s3fs", "aiohttp"):
    require_extra(module, "cluster")
require_extra("pyarrow", "parquet")
require_extra("moto", "dev")

import pyarrow as pa
from moto.server import ThreadedMotoServer
from PIL import Image
from pyarrow import dataset, parquet

from melanoma import load_predictor
from melanoma.archive import blocks, scoring, storage
from melanoma.archive.output import Output
from melanoma.errors import ConfigError, ImageError, OutputError, StorageError


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    return load_predictor(tiny_bundle, domain_check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eleven images, two of them below another folder, one broken, one empty, and what is no image."""
    folder = tmp_path_factory.mktemp("archive") / "scans"
    (folder / "more").mkdir(parents=True)
    for number in range(9):
        place = folder / ("more" if number > 6 else ".") / f"lesion {number}.png"
        Image.fromarray(draw(number, melanoma=number % 2 == 1)).save(place)
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.md").write_text("none")
    return folder


@pytest.fixture(scope="module")
def store():
    """An S3-compatible server, and the environment in which it is found."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    system = storage.find_system("s3://archive")[0]
    system.mkdir("archive")
    yield system
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
    server.stop()


@pytest.fixture
def site(folder):
    """The address of a web server for the folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def judge(predictor, archive, address) -> list[dict]:
    """All blocks in this process; the rows of all parts in order."""
    output = Output(str(address))
    done = output.begin(scoring.describe(predictor, archive))
    scorer = scoring.BlockScorer(scoring.pack(predictor, None, output))
    for number, block in enumerate(archive.blocks):
        if number not in done:
            assert scorer.score(number, block) == block.n
    counts = output.count([block.n for block in archive.blocks])
    output.finish(counts, archive.n)
    return read_rows(str(address))


def read_rows(address: str) -> list[dict]:
    """As anybody would read the folder."""
    system, path = storage.find_system(address)
    return dataset.dataset(path, filesystem=system, format="parquet").to_table().to_pylist()


def expect(predictor, files) -> list[dict]:
    return [row.to_dict() for row in predictor.score_files(files)]


def numbers(rows) -> list[tuple]:
    return [(row["image_id"], row["y_prob"], row["decision"]) for row in rows]


def test_a_folder_gives_the_rows_of_the_local_predictor(predictor, folder, tmp_path):
    archive = blocks.find([str(folder)])
    assert archive.n == 11
    rows = judge(predictor, archive, tmp_path / "out")
    assert rows == expect(predictor, blocks.find_images([str(folder)]))
    assert sum(row["error"] != "" for row in rows) == 2
    summary = json.loads((tmp_path / "out" / "_summary.json").read_text())
    assert summary["images"] == 11
    assert summary["error"] == 2


def test_blocks_cover_every_image_once_whatever_the_number(monkeypatch):
    files = [blocks.name_file("a", f"/a/{number}.png") for number in range(1000)]
    for size in (1, 7, 64, 999, 1000, 1001):
        cut = list(blocks._cut_files(files, size))
        assert [file for block in cut for file in block.files] == files
        assert all(block.n == size for block in cut[:-1])
    monkeypatch.setattr(blocks, "find_images", lambda _: iter(files * 2000))
    large = blocks.find(["a"])
    assert large.n == 2_000_000
    assert len(large.blocks) <= blocks.MOST_BLOCKS


def test_a_list_names_paths_beside_it_and_addresses(predictor, folder, site, tmp_path):
    lines = ["lesion 1.png", str(folder / "lesion 2.png"), "", f"{site}/lesion%203.png", f"{site}/gone.png"]
    listed = folder.parent / "some.txt"
    listed.write_text("\n".join(f"scans/{line}" if line == "lesion 1.png" else line for line in lines))
    rows = judge(predictor, blocks.find([str(listed)]), tmp_path / "out")
    assert [row["image_id"] for row in rows] == ["lesion 1", "lesion 2", "lesion 3", "gone"]
    expected = expect(predictor, [blocks.name_file("", str(folder / f"lesion {n}.png")) for n in (1, 2, 3)])
    assert numbers(rows[:3]) == numbers(expected)
    assert "is not there" in rows[3]["error"]
    assert {row["source"] for row in rows} == {"some"}


@pytest.mark.parametrize("kind", ["bytes", "path", "pair"])
def test_a_table_holds_bytes_or_paths(predictor, folder, tmp_path, kind):
    paths = [folder / f"lesion {number}.png" for number in range(6)]
    values = {
        "bytes": {"bytes": [path.read_bytes() for path in paths]},
        "path": {"path": [path.name for path in paths]},
        "pair": {"image": [{"bytes": path.read_bytes(), "path": path.name} for path in paths]},
    }[kind]
    table = pa.table({**values, "isic_id": [f"ISIC_{number}" for number in range(5)] + [None]})
    source = folder / f"{kind}.parquet"
    parquet.write_table(table, source, row_group_size=4)
    try:
        archive = blocks.find([str(source)])
        assert [block.n for block in archive.blocks] == [4, 2]
        rows = judge(predictor, archive, tmp_path / "out")
    finally:
        source.unlink()
    expected = expect(predictor, [blocks.name_file("", str(path)) for path in paths])
    assert [row["y_prob"] for row in rows] == [row["y_prob"] for row in expected]
    last = "bytes-5" if kind == "bytes" else "lesion 5"
    assert [row["image_id"] for row in rows] == [*(f"ISIC_{number}" for number in range(5)), last]
    assert len({row["path"] for row in rows}) == 6


def test_rows_without_an_image_are_rows_with_an_error(predictor, tmp_path):
    parquet.write_table(pa.table({"image": pa.array([None, b"x"], pa.binary())}), tmp_path / "a.parquet")
    rows = judge(predictor, blocks.find([str(tmp_path / "a.parquet")]), tmp_path / "out")
    assert "neither bytes nor a path" in rows[0]["error"]
    assert "known format" in rows[1]["error"]
    parquet.write_table(pa.table({"n": [1]}), tmp_path / "b.parquet")
    with pytest.raises(ConfigError, match=r"has no column image or .*; give one of n with --column"):
        blocks.find([str(tmp_path / "b.parquet")])
    rows = judge(predictor, blocks.find([str(tmp_path / "b.parquet")], "n"), tmp_path / "out-b")
    assert "holds int; give bytes or paths" in rows[0]["error"]


def test_a_store_is_source_and_sink(predictor, folder, store, tmp_path):
    for path in folder.rglob("*"):
        if path.is_file():
            store.put_file(str(path), f"archive/scans/{path.relative_to(folder)}")
    archive = blocks.find(["s3://archive/scans"])
    rows = judge(predictor, archive, "s3://archive/results")
    assert numbers(rows) == numbers(judge(predictor, blocks.find([str(folder)]), tmp_path / "out"))
    assert rows[0]["path"] == "s3://archive/scans/broken.jpg"
    assert judge(predictor, archive, "s3://archive/results") == rows  # nothing is judged again
    with pytest.raises(ConfigError, match="holds something else"):
        Output("s3://archive/scans").begin({})
    with pytest.raises(StorageError, match="s3://archive/nothing is not there"):
        blocks.find(["s3://archive/nothing"])
    with pytest.raises(OutputError, match="cannot write there"):
        Output("s3://no-such-bucket/results").begin({})


def test_stopped_work_goes_on_and_other_work_is_refused(predictor, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "SMALLEST", 3)
    archive, output = blocks.find([str(folder)]), Output(str(tmp_path / "out"))
    settings = scoring.describe(predictor, archive)
    assert output.begin(settings) == set()
    scorer = scoring.BlockScorer(scoring.pack(predictor, None, output))
    scorer.score(2, archive.blocks[2])
    assert output.begin(settings) == {2}
    with pytest.raises(OutputError, match="part-000000"):
        output.count([block.n for block in archive.blocks])
    before = (tmp_path / "out" / "part-000002.parquet").stat().st_mtime_ns
    assert len(judge(predictor, archive, tmp_path / "out")) == 11
    assert (tmp_path / "out" / "part-000002.parquet").stat().st_mtime_ns == before
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for key, words in (
        ("bundle", "another bundle"),
        ("prevalence", "other options"),
        ("archive", "other images"),
    ):
        with pytest.raises(ConfigError, match=words):
            output.begin({**settings, key: "x"})
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_what_cannot_be_is_said(folder, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    for source, words in (
        (tmp_path / "empty.txt", "names no image"),
        (tmp_path / "gone.txt", "is not there"),
        (tmp_path / "gone.parquet", "is not there"),
        ("no-such://a/b.png", "are not known"),
        (tmp_path / "gone", "does not exist"),
    ):
        with pytest.raises((ConfigError, ImageError, StorageError), match=words):
            blocks.find([str(source)])
    (tmp_path / "bad.parquet").write_bytes(b"no table")
    with pytest.raises(StorageError, match=r"bad\.parquet"):
        blocks.find([str(tmp_path / "bad.parquet")])
    with pytest.raises(ConfigError, match="holds something else"):
        Output(str(folder)).begin({})


def test_a_local_part_is_whole_or_not_there(predictor, tmp_path, monkeypatch):
    output = Output(str(tmp_path))
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(StorageError, match="No space left"):
        output.write(0, [predictor.predict(draw(0))])
    assert list(Path(tmp_path).iterdir()) == []


def test_names_are_no_patterns(tmp_path):
    names = ["lesion[1].png", "lesion1.png", "what?.png", "*.png", "gone.png"]
    for name in names[:-1]:
        (tmp_path / name).write_bytes(name.encode())
    paths = [str(tmp_path / name) for name in names]
    for asked in (paths, paths[:1], paths[-1:]):
        *found, last = storage.read_many(storage.find_system(paths[0])[0], asked)
        expected = [Path(path).name.encode() for path in asked]
        assert found == expected[:-1]
        assert isinstance(last, FileNotFoundError) if asked[-1] == paths[-1] else last == expected[-1]


def test_names_are_no_patterns_in_a_store(store):
    system = storage.find_system("s3://archive")[0]
    for name in ("a[1].png", "a1.png"):
        system.pipe_file(f"archive/odd/{name}", name.encode())
    asked = [f"archive/odd/{name}" for name in ("a[1].png", "a1.png", "gone.png")]
    *found, last = storage.read_many(system, asked)
    assert found == [b"a[1].png", b"a1.png"]
    assert isinstance(last, FileNotFoundError)

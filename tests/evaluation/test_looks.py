import json

import pandas as pd
import pytest

from melanoma.errors import OutputError
from melanoma.evaluation.looks import NAME, count_test_images, find_run, look_now, read, record


def look(images="M", bundle="B", command="melanoma evaluate"):
    return look_now(
        command, bundle_digest=bundle, manifest_digest=images, data=["FOLDER"], splits=["test"], n=7
    )


def test_every_look_is_a_line_and_counted(tmp_path):
    record(tmp_path / "out", look())
    record(tmp_path / "out", look(images="other"))
    found = record(tmp_path / "out", look())
    assert (found.total, found.same_images) == (3, 2)
    lines = (tmp_path / "out" / NAME).read_text().splitlines()
    assert len(lines) == 3
    assert json.loads(lines[0]) | {"time": ""} == {
        "time": "",
        "command": "melanoma evaluate",
        "bundle_digest": "B",
        "manifest_digest": "M",
        "data": ["FOLDER"],
        "splits": ["test"],
        "n": 7,
    }


def test_resumed_run_does_not_look_again(tmp_path):
    record(tmp_path, look(command="melanoma train"), once=True)
    assert record(tmp_path, look(command="melanoma train"), once=True).total == 1
    assert record(tmp_path, look(command="melanoma train", bundle="new"), once=True).total == 2
    assert record(tmp_path, look()).total == 3


def test_line_that_was_not_written_whole_is_passed_over(tmp_path):
    record(tmp_path, look())
    with (tmp_path / NAME).open("a") as file:
        file.write('{"time": "2026')
    assert record(tmp_path, look()).total == 2
    assert len(read(tmp_path)) == 2


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        record(tmp_path / "file", look())


def test_run_is_found_by_its_bundle(tmp_path):
    assert find_run(tmp_path / "run" / "bundle") is None
    (tmp_path / "run" / "bundle").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    assert find_run(tmp_path / "run" / "bundle") == tmp_path / "run"


def images(splits, contents):
    return pd.DataFrame({"given_split": splits, "content_digest": contents})


def test_test_images_are_the_given_ones_and_those_of_the_run_by_content(tmp_path):
    table = images(["", "test", "train", ""], ["a", "b", "c", "d"])
    assert count_test_images(table, None) == 1
    pd.DataFrame({"source": "s", "image_id": ["1", "2"], "content_digest": ["a", "c"]}).to_csv(
        tmp_path / "manifest.csv", index=False
    )
    pd.DataFrame({"source": "s", "image_id": ["1", "2"], "split": ["test", "train"]}).to_csv(
        tmp_path / "splits.csv", index=False
    )
    assert count_test_images(table, tmp_path) == 2
    (tmp_path / "splits.csv").unlink()
    assert count_test_images(table, tmp_path) == 1

import json
import math

import pytest

from melanoma.errors import OutputError, RunError
from melanoma.tracking.journal import Journal, Progress


@pytest.fixture
def journal(tmp_path):
    return Journal.open(tmp_path)


def written(folder):
    return [(entry.seq, entry.kind, entry.payload) for entry in Journal.open(folder).entries()]


def test_opening_writes_nothing(journal, tmp_path):
    assert journal.entries() == []
    assert list(tmp_path.iterdir()) == []


def test_entries_come_back_as_they_were_noted(journal, tmp_path):
    journal.append("params", {"name": "模型 \ud800"})
    journal.append("metrics", {"loss": math.inf, "auroc": 0.1})
    assert written(tmp_path) == [
        (0, "params", {"name": "模型 \ud800"}),
        (1, "metrics", {"loss": math.inf, "auroc": 0.1}),
    ]


def test_a_key_stands_once_also_after_opening_again(journal, tmp_path):
    journal.append("metrics", {"loss": 1.0}, key="epoch/1")
    time = journal.entries()[0].time
    journal.append("metrics", {"loss": 2.0}, key="epoch/1")
    again = Journal.open(tmp_path)
    again.append("metrics", {"loss": 3.0}, key="epoch/1")
    again.append("metrics", {"loss": 4.0}, key="epoch/2")
    assert [entry.payload["loss"] for entry in Journal.open(tmp_path).entries()] == [1.0, 4.0]
    assert Journal.open(tmp_path).entries()[0].time == time


@pytest.mark.parametrize(
    "torn", [b'{"seq": 1, "kind": "met', b"\0\0\0\0", b"\0\0\n", b'{"seq": 1}\n', b"[1]\n"]
)
def test_a_torn_last_line_is_dropped_and_written_over(journal, tmp_path, torn):
    journal.append("params", {"a": 1})
    path = tmp_path / "tracking.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + torn)

    again = Journal.open(tmp_path)
    assert len(again.entries()) == 1
    assert path.read_bytes() == whole + torn  # a reader may look on while the run goes on
    again.append("params", {"b": 2})
    assert written(tmp_path) == [(0, "params", {"a": 1}), (1, "params", {"b": 2})]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_journal_cut_at_any_byte_opens(journal, tmp_path):
    for number in range(3):
        journal.append("params", {"number": number}, key=str(number))
    content = (tmp_path / "tracking.jsonl").read_bytes()
    for cut in range(len(content)):
        (tmp_path / "tracking.jsonl").write_bytes(content[:cut])
        assert len(Journal.open(tmp_path).entries()) == content[:cut].count(b"\n")


def test_damage_inside_is_named_with_its_line(journal, tmp_path):
    for number in range(3):
        journal.append("params", {"number": number})
    path = tmp_path / "tracking.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"?" + lines[1] + lines[2])
    with pytest.raises(RunError, match=r"tracking\.jsonl is damaged in line 2"):
        Journal.open(tmp_path)


def test_a_full_disk_leaves_a_whole_journal(journal, tmp_path, monkeypatch):
    journal.append("params", {"a": 1})

    def fill(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fill)
        with pytest.raises(OutputError, match=r"tracking\.jsonl: No space left on device"):
            journal.append("params", {"b": 2}, key="b")
    journal.append("params", {"b": 3}, key="b")
    assert written(tmp_path) == [(0, "params", {"a": 1}), (1, "params", {"b": 3})]


def test_progress_comes_back_and_damage_means_anew(tmp_path):
    assert Progress.load(tmp_path) is None
    progress = Progress("key", "http://host", "1", "run", sent=3, refused={"2": "too long"})
    progress.save(tmp_path)
    assert Progress.load(tmp_path) == progress
    assert [path.name for path in tmp_path.iterdir()] == ["tracking-state.json"]
    for damaged in ("", "{", "[]", '{"sent": 1}', "\0"):
        (tmp_path / "tracking-state.json").write_text(damaged)
        assert Progress.load(tmp_path) is None

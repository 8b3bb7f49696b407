import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import require_extra

require_extra("httpx", "data")

import archive_server as faults
from archive_server import Archive, serve
from melanoma.data.download import folder, http, isic
from melanoma.data.download.http import Http, UnavailableError
from melanoma.errors import ConfigError, DownloadError, OutputError
from melanoma.version import __version__

ALWAYS = 1000  # more faults than any test asks for


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    return Archive()


@pytest.fixture
def api(archive):
    with serve(archive) as address:
        yield address


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def get(api, tmp_path, pauses):
    """A function that downloads from the local server without waiting between tries."""

    def download(output=tmp_path / "out", timeout=5.0, **arguments):
        arguments = {"api": api, "collection": 7} | arguments
        return isic.download(output, http=Http(timeout=timeout, sleep=pauses.append, seed=0), **arguments)

    return download


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def image_names(output: Path) -> list[str]:
    """Every file under images/, hidden ones too."""
    return sorted(path.name for path in (output / "images").iterdir())


def all_names(count: int = 5) -> list[str]:
    return [f"ISIC_{number:07d}.jpg" for number in range(count)]


def check_whole(output: Path, archive: Archive, names: list[str]) -> None:
    assert image_names(output) == names
    for name in names:
        assert (output / "images" / name).read_bytes() == archive.files[f"/files/{name}"]


def test_a_collection_with_its_papers(get, archive, tmp_path):
    seen = []
    result = get(progress=lambda done, total: seen.append((done, total)))
    output = tmp_path / "out"
    check_whole(output, archive, all_names())
    assert (result.fetched, result.present, result.failed) == (5, 0, [])
    assert result.licences == {"CC-BY-NC": 4, "CC-0": 1}
    assert "Seven" in result.title
    assert seen == [(number, 5) for number in range(1, 6)]
    metadata = rows(output / "metadata.csv")
    assert list(metadata[0])[:13] == [
        "isic_id", "attribution", "copyright_license", "age_approx", "sex", "anatom_site_general",
        "lesion_id", "patient_id", *(f"diagnosis_{level}" for level in range(1, 6)),
    ]  # fmt: skip
    assert metadata[1]["diagnosis_3"] == "Melanoma in situ"
    assert metadata[1]["pixels_x"] == "48"
    assert metadata[1]["melanocytic"] == "True"
    assert rows(output / "attribution.csv")[1] == {
        "isic_id": "ISIC_0000001", "licence": "CC-BY-NC", "attribution": "Hospital Clínic de Barcelona",
    }  # fmt: skip
    text = (output / "LICENCES.md").read_text(encoding="utf-8")
    assert "| 2 | CC-BY-NC | Hospital Clínic de Barcelona |" in text
    assert "MSK \\| anonymous" in text
    assert "10.1/7" in text


def test_the_manifest_reads_it(get, tmp_path):
    require_extra("pandas", "bench")
    from melanoma.data import manifest

    get()
    loaded = manifest.load([str(tmp_path / "out")])
    assert loaded.sources[0].layout == "ISIC Archive"
    assert loaded.table["y_true"].tolist() == [0, 1, 0, 1, 0]
    assert loaded.table["lesion_id"].tolist() == ["IL_0", "IL_0", "IL_1", "IL_1", "IL_2"]
    assert loaded.table["age_approx"].tolist() == [45.0] * 5
    assert loaded.skipped == ()


def test_the_request_is_what_the_archive_expects(get, archive):
    get(search="diagnosis_1:Malignant AND age_approx:[20 TO 40]", limit=3)
    asked = next(path for path in archive.asked if "search" in path)
    assert "collections=7" in asked
    assert "limit=3" in asked
    assert "query=diagnosis_1%3AMalignant" in asked
    assert archive.agents == {next(iter(archive.agents))}
    assert next(iter(archive.agents)).startswith(f"melanoma/{__version__}")


def test_no_more_than_four_at_once(get, archive):
    archive.records, archive.page_size = [], 100
    for number in range(24):
        archive.add(number)
        archive.faults[f"/files/ISIC_{number:07d}.jpg"] = [slowly]
    get()
    assert 2 <= archive.most_at_once <= 4


def slowly(handler, body):
    time.sleep(0.02)
    handler.answer(200, body)


def test_limit_and_size(get, archive, tmp_path):
    result = get(limit=3, size="thumbnail")
    assert image_names(tmp_path / "out") == all_names(3)
    assert (tmp_path / "out/images/ISIC_0000002.jpg").read_bytes() == archive.files[
        "/thumbnails/ISIC_0000002.jpg"
    ]
    assert result.fetched == 3
    assert archive.count_asked("/files/") == 0


@pytest.mark.parametrize(
    "fault",
    [
        faults.drop, faults.truncate, faults.understate, faults.html, faults.hang_up,
        faults.status(500), faults.status(502), faults.status(503), faults.status(504), faults.status(429),
    ],
)  # fmt: skip
def test_what_passes_is_tried_again(get, archive, tmp_path, pauses, fault):
    for path in archive.files:
        archive.faults[path] = [fault, fault]
    archive.faults["/api/v2/images/search/"] = [fault]
    archive.faults["/api/v2/collections/7/"] = [fault]
    result = get()
    assert result.failed == []
    check_whole(tmp_path / "out", archive, all_names())
    assert len(pauses) == 12


def test_a_silent_server_is_asked_again(get, archive, tmp_path):
    archive.faults["/files/ISIC_0000001.jpg"] = [faults.stall]
    assert get(timeout=0.2).failed == []
    check_whole(tmp_path / "out", archive, all_names())


def test_pauses_grow_and_differ(get, archive, pauses):
    archive.faults["/files/ISIC_0000000.jpg"] = [faults.status(500)] * (http.TRIES - 1)
    assert get(limit=1).failed == []
    assert len(pauses) == http.TRIES - 1
    for number, pause in enumerate(pauses):
        assert 0.5 * http.FIRST_PAUSE <= pause / 2**number <= 1.5 * http.FIRST_PAUSE
    assert pauses[1] / pauses[0] != 2


@pytest.mark.parametrize("header", ["7", "date"])
def test_retry_after_is_honoured(get, archive, pauses, header):
    from email.utils import formatdate

    text = formatdate(time.time() + 8, usegmt=True) if header == "date" else header
    archive.faults["/files/ISIC_0000000.jpg"] = [faults.status(429, Retry_After=text)]
    assert get(limit=1).failed == []
    assert len(pauses) == 1
    assert 6 < pauses[0] <= 8


def test_retry_after_holds_for_all_threads(api, archive, monkeypatch):
    pauses = []
    with Http(sleep=pauses.append) as client:
        archive.faults["/files/ISIC_0000000.jpg"] = [faults.status(429, Retry_After="9")]
        client.fetch(f"{archive.address}/files/ISIC_0000000.jpg", bytes)
        client.fetch(f"{archive.address}/files/ISIC_0000001.jpg", bytes)
    assert len(pauses) == 2
    assert min(pauses) > 8


@pytest.mark.parametrize("header", ["", "soon", "-5", "9" * 400, "Mon, 99 Foo"])
def test_an_odd_retry_after_never_hangs(get, archive, pauses, header):
    archive.faults["/files/ISIC_0000000.jpg"] = [faults.status(429, Retry_After=header)]
    result = get(limit=2)
    assert len(result.failed) == (1 if header.startswith("9") else 0)
    assert all(pause < 1 for pause in pauses)


def test_what_stays_wrong_is_named_and_leaves_no_file(get, archive, tmp_path):
    archive.faults["/files/ISIC_0000000.jpg"] = [faults.truncate] * ALWAYS
    archive.faults["/files/ISIC_0000001.jpg"] = [faults.drop] * ALWAYS
    archive.faults["/files/ISIC_0000003.jpg"] = [faults.html] * ALWAYS
    del archive.files["/files/ISIC_0000004.jpg"]
    result = get()
    reasons = dict(result.failed)
    assert sorted(reasons) == ["ISIC_0000000", "ISIC_0000001", "ISIC_0000003", "ISIC_0000004"]
    assert "bytes came in place of" in reasons["ISIC_0000000"]
    assert "cannot reach" in reasons["ISIC_0000001"]
    assert "has no /files/" in reasons["ISIC_0000004"]
    check_whole(tmp_path / "out", archive, ["ISIC_0000002.jpg"])
    assert [row["isic_id"] for row in rows(tmp_path / "out/metadata.csv")] == ["ISIC_0000002"]
    assert archive.count_asked("ISIC_0000004") == 1
    assert archive.count_asked("ISIC_0000001") == http.TRIES


def test_without_a_stated_size_the_image_itself_is_checked(get, archive, tmp_path):
    for record in archive.records:
        del record["files"]["full"]["size"]
    archive.faults["/files/ISIC_0000000.jpg"] = [faults.truncate] * ALWAYS
    archive.faults["/files/ISIC_0000001.jpg"] = [faults.html] * ALWAYS
    result = get()
    assert sorted(name for name, _ in result.failed) == ["ISIC_0000000", "ISIC_0000001"]
    check_whole(tmp_path / "out", archive, all_names()[2:])


def test_a_second_call_fetches_what_is_missing(get, archive, tmp_path):
    get(limit=2)
    first = len(archive.asked)
    result = get()
    assert (result.fetched, result.present) == (3, 2)
    assert sum("/files/" in path for path in archive.asked[first:]) == 3
    assert len(rows(tmp_path / "out/metadata.csv")) == 5
    again = len(archive.asked)
    assert get().fetched == 0
    assert not any("/files/" in path for path in archive.asked[again:])


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_a_damaged_file_is_fetched_again(get, archive, tmp_path, damage, stated):
    if not stated:
        for record in archive.records:
            del record["files"]["full"]["size"]
    get()
    path = tmp_path / "out/images/ISIC_0000001.jpg"
    body = path.read_bytes()
    path.write_bytes({"cut": body[:-100], "empty": b"", "noise": bytes(len(body))}[damage])
    assert get().fetched == 1
    assert path.read_bytes() == body


def test_a_damaged_file_does_not_stay_when_it_cannot_be_replaced(get, archive, tmp_path):
    get()
    path = tmp_path / "out/images/ISIC_0000001.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    archive.faults["/files/ISIC_0000001.jpg"] = [faults.drop] * ALWAYS
    assert [name for name, _ in get().failed] == ["ISIC_0000001"]
    assert not path.exists()
    assert "ISIC_0000001" not in {row["isic_id"] for row in rows(tmp_path / "out/metadata.csv")}


def test_a_server_that_breaks_down_ends_the_call_and_the_next_goes_on(get, archive, tmp_path):
    archive.records = []
    for number in range(40):
        archive.add(number)
        if number > 5:
            archive.faults[f"/files/ISIC_{number:07d}.jpg"] = [faults.status(503)] * ALWAYS
    with pytest.raises(UnavailableError, match=r"503; 6 images are there, the same command goes on"):
        get()
    assert archive.count_asked("/files/") < 20 * http.TRIES
    check_whole(tmp_path / "out", archive, all_names(6))
    assert len(rows(tmp_path / "out/metadata.csv")) == 6
    archive.faults.clear()
    result = get()
    assert (result.fetched, result.present) == (34, 6)


def test_a_listing_that_breaks_off_keeps_the_papers_of_the_earlier_call(get, archive, tmp_path):
    get()
    archive.change_page = lambda page, start: page.pop("results") if start else None
    with pytest.raises(DownloadError, match="does not answer as the ISIC Archive"):
        get()
    assert len(rows(tmp_path / "out/metadata.csv")) == 5
    assert len(rows(tmp_path / "out/attribution.csv")) == 5


@pytest.mark.parametrize("loop", ["same", "first", "new"])
def test_a_listing_that_goes_round_ends(get, archive, tmp_path, loop):
    def turn(page, start):
        if loop == "new":
            page["next"] = (
                f"{archive.address}/api/v2/images/search/?cursor={(start + 2) % 4}&turn={len(archive.asked)}"
            )
        else:
            page["next"] = f"{archive.address}/api/v2/images/search/?cursor={start if loop == 'same' else 0}"

    archive.change_page = turn
    with pytest.raises(DownloadError, match="round in circles"):
        get()
    assert archive.count_asked("search") < 10
    assert len(image_names(tmp_path / "out")) >= 2


def test_a_repeated_image_counts_once(get, archive):
    archive.records.insert(3, archive.records[1])
    result = get()
    assert result.fetched + result.present == 5


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"<html>sign in</html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"detail": "hello"}', "does not answer as"),
        (b"[1, 2]", "does not answer as"),
        (b'{"results": [], "next": 5}', "does not answer as"),
        (b'{"results": [], "next": null, "count": 0}', "no public image that fits"),
    ],
)
def test_answers_that_are_no_listing(get, archive, tmp_path, answer, message):
    archive.faults["/api/v2/images/search/"] = [faults.status(200, answer)] * ALWAYS
    with pytest.raises(DownloadError, match=message) as caught:
        get()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_query_that_the_server_refuses(get, archive):
    archive.faults["/api/v2/images/search/"] = [
        faults.status(400, b'{"message": "Could not parse search query."}')
    ]
    with pytest.raises(DownloadError, match="400: Could not parse search query"):
        get(collection=None, search="((")
    detail = b'{"detail": [{"type": "value_error", "msg": "Value error, bad query"}]}'
    archive.faults["/api/v2/images/search/"] = [faults.status(422, detail)]
    with pytest.raises(DownloadError, match="422: Value error, bad query"):
        get(collection=None, search="((")


def test_a_collection_that_does_not_exist(get, tmp_path):
    with pytest.raises(DownloadError, match="no public collection 8"):
        get(collection=8)
    assert not (tmp_path / "out").exists()


def test_records_that_lack_what_is_needed(get, archive, tmp_path):
    archive.add(5)
    del archive.records[0]["files"]
    del archive.records[1]["files"]["full"]
    archive.records[2]["files"]["full"] = {"url": None}
    archive.records[3] = {"public": True, "files": {}}
    archive.records[4]["metadata"] = "none"
    archive.records[5]["metadata"]["clinical"] = None
    result = get()
    assert sorted(name for name, _ in result.failed) == [
        *(f"ISIC_000000{n}" for n in range(3)),
        "number 2 of a page",
    ]
    assert image_names(tmp_path / "out") == ["ISIC_0000004.jpg", "ISIC_0000005.jpg"]
    assert [row["diagnosis_1"] for row in rows(tmp_path / "out/metadata.csv")] == ["", ""]


BAD_NAMES = ["../../evil", "/tmp/evil", "..", "a/b", "a\\b", ".hidden", "", 5, "x" * 300, "a\x00b"]


def test_names_never_leave_the_folder(get, archive, tmp_path):
    for number, name in enumerate(BAD_NAMES, start=5):
        archive.add(number)["isic_id"] = name
    archive.page_size = 100
    before = {path for path in tmp_path.parent.rglob("*") if "out" not in path.parts}
    result = get()
    assert len(result.failed) == len(BAD_NAMES)
    assert image_names(tmp_path / "out") == all_names()
    assert {path for path in tmp_path.parent.rglob("*") if "out" not in path.parts} == before
    assert archive.count_asked("/files/") == 5


def test_the_suffix_is_an_images_own(get, archive, tmp_path):
    archive.files["/evil.sh"] = body = archive.files["/files/ISIC_0000000.jpg"]
    suffixes = [".png", ".exe", "", ".jpg/../../../evil.sh", ".JPEG?signature=a/b.exe"]
    for record, suffix in zip(archive.records, suffixes, strict=True):
        archive.files[f"/files/odd{suffix.partition('?')[0]}"] = body
        record["files"]["full"] = {"url": f"/files/odd{suffix}"}
    assert get().failed == []
    saved = [".png", ".jpg", ".jpg", ".jpg", ".jpeg"]
    assert image_names(tmp_path / "out") == [
        f"ISIC_{number:07d}{suffix}" for number, suffix in enumerate(saved)
    ]


@pytest.mark.parametrize(
    "target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:image/jpeg;base64,AAAA", "http://[::1"]
)
@pytest.mark.parametrize("how", ["redirect", "directly", "next"])
def test_only_http_is_followed(get, archive, tmp_path, target, how):
    if how == "redirect":
        archive.faults["/files/ISIC_0000000.jpg"] = [faults.status(302, Location=target)] * ALWAYS
    elif how == "directly":
        archive.records[0]["files"]["full"]["url"] = target
    else:
        archive.change_page = lambda page, start: page.update(next=target)
        with pytest.raises(DownloadError, match=r"no http address|no address"):
            get()
        return
    [(name, reason)] = get().failed
    assert name == "ISIC_0000000"
    assert "http" in reason or "Invalid URL" in reason
    assert image_names(tmp_path / "out") == all_names()[1:]


def test_redirects_are_followed_and_end(get, archive, tmp_path):
    archive.faults["/files/ISIC_0000000.jpg"] = [faults.status(302, Location="/files/ISIC_0000009.jpg")]
    archive.files["/files/ISIC_0000009.jpg"] = archive.files["/files/ISIC_0000000.jpg"]
    archive.faults["/files/ISIC_0000001.jpg"] = [
        faults.status(302, Location="/files/ISIC_0000001.jpg")
    ] * ALWAYS
    result = get()
    assert [name for name, _ in result.failed] == ["ISIC_0000001"]
    assert "circles" in result.failed[0][1]


ODD_ADDRESSES = [
    "http://",
    "http://[::1",
    "http://a b/",
    "http://127.0.0.1:99999/x",
    "x" * 5000,
    "http://\ud800/",
]


def test_odd_addresses(get, archive, tmp_path):
    for number, url in enumerate(ODD_ADDRESSES, start=5):
        archive.add(number)["files"]["full"]["url"] = url
    result = get()
    assert sorted(name for name, _ in result.failed) == [f"ISIC_{number:07d}" for number in range(5, 11)]
    assert image_names(tmp_path / "out") == all_names()


def test_text_from_the_server_stays_in_its_cell(get, archive, tmp_path):
    archive.records[0]["attribution"] = 'A, "B"\nC\r\u2028D \ud800\x00| E'
    archive.records[0]["metadata"]["clinical"] |= {"note": {"a": [1]}, "SEX": "x", "age_approx": None}
    get()
    first = rows(tmp_path / "out/metadata.csv")[0]
    assert first["attribution"] == 'A, "B" C D | E'
    assert first["note"] == '{"a": [1]}'
    assert first["sex"] == "female"
    assert first["age_approx"] == ""


def test_a_body_without_end_is_cut_off(get, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "MAX_BYTES", 20_000)
    archive.files["/files/ISIC_0000001.jpg"] = bytes(500_000)
    reasons = dict(get(limit=2).failed)
    assert "more than 20,000 bytes" in reasons["ISIC_0000001"]


def test_a_host_that_is_not_there(tmp_path, pauses, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(UnavailableError, match=r"cannot reach 127\.0\.0\.1:9: ") as caught:
        isic.download(
            tmp_path / "out", collection=7, api="http://127.0.0.1:9/api", http=Http(sleep=pauses.append)
        )
    assert len(pauses) == http.TRIES - 1
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "other", [{"collection": None, "search": "x:y"}, {"size": "thumbnail"}, {"search": "x:y"}]
)
def test_another_request_is_refused(get, archive, tmp_path, other):
    get(limit=1)
    asked = len(archive.asked)
    with pytest.raises(OutputError, match="holds another download"):
        get(**other)
    assert len(archive.asked) == asked


def test_folders_that_cannot_be_used(get, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.jpg").write_bytes(b"")
    with pytest.raises(OutputError, match="holds other files"):
        get(other)
    with pytest.raises(OutputError, match="cannot use"):
        get(other / "mine.jpg")
    (other / folder.REQUEST).write_text("[")
    with pytest.raises(OutputError, match="damaged"):
        get(other)
    assert (other / "mine.jpg").exists()


def test_the_whole_archive_is_not_fetched_by_accident(get):
    with pytest.raises(ConfigError):
        get(collection=None)


def test_leftovers_of_a_killed_call_are_cleared_away(get, tmp_path):
    get(limit=1)
    old, young = tmp_path / "out/images/.123.ISIC_1.jpg", tmp_path / "out/images/.124.ISIC_1.jpg"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    get()
    assert not old.exists()
    assert young.exists()  # another call may be writing it


def test_ctrl_c_leaves_whole_files_only(get, archive, tmp_path):
    """Interrupted from the progress callback, while other images are under way."""

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    archive.page_size = 5
    with pytest.raises(KeyboardInterrupt):
        get(progress=interrupt)
    names = image_names(tmp_path / "out")
    assert 3 <= len(names) <= 5
    check_whole(tmp_path / "out", archive, names)
    assert len(rows(tmp_path / "out/metadata.csv")) >= 3
    result = get()
    assert result.present == len(names)
    check_whole(tmp_path / "out", archive, all_names())


COMMAND = """
import sys
from pathlib import Path
from melanoma.data.download import isic
isic.download(Path(sys.argv[1]), collection=7, api=sys.argv[2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_process_goes_on_later(get, api, archive, tmp_path, how):
    """Also: a server that has gone silent does not hold up the end."""
    archive.page_size = 5
    archive.faults["/files/ISIC_0000003.jpg"] = [faults.stall]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, tmp_path / "out", api], stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 20
    while time.monotonic() < until and len(list((tmp_path / "out").glob("images/ISIC*"))) < 4:
        time.sleep(0.02)
    process.send_signal(how)
    assert process.wait(timeout=8) != 0
    check_whole(tmp_path / "out", archive, [name for name in all_names() if "3" not in name])
    archive.released.set()
    assert get().fetched == 1
    check_whole(tmp_path / "out", archive, all_names())
    assert len(rows(tmp_path / "out/metadata.csv")) == 5


def test_a_disk_that_is_full_ends_the_call(get, tmp_path, monkeypatch):
    def fail(path, body):
        raise OutputError("no room")

    monkeypatch.setattr(folder, "save", fail)
    with pytest.raises(OutputError, match="no room"):
        get()

import csv
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import require_extra
from melanoma.cli import gathering, rows
from melanoma.cli.gathering import gather
from melanoma.inference import bundle as bundles
from melanoma.inference.description import FEATURES
from melanoma.inference.domain import Domain

FIELDS = ["source", "path", "image_id", "y_prob", "decision", "reason", "error", "bundle_digest"]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="pipes and signals as POSIX has them")


@pytest.fixture
def predict(run_melanoma, tiny_bundle):
    """A function that runs `melanoma predict` with the tiny bundle: exit code, output, standard error."""
    return lambda *arguments: run_melanoma("predict", "--bundle", tiny_bundle, *arguments)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from melanoma.cli.main import run; run()", "predict", *map(str, arguments)]


@pytest.fixture
def mixed(image_files):
    """The folder of six images, one of them broken."""
    image_files[3].write_bytes(b"")
    return image_files[0].parent


def test_json_and_jsonl_and_csv_say_the_same(predict, mixed):
    outputs = {form: predict(mixed, "--format", form)[1] for form in ("json", "jsonl", "csv")}
    parsed = json.loads(outputs["json"])
    assert [list(row) for row in parsed] == [FIELDS] * 6
    assert [json.loads(line) for line in outputs["jsonl"].splitlines()] == parsed
    from_csv = list(csv.DictReader(io.StringIO(outputs["csv"])))
    assert [list(row) for row in from_csv] == [FIELDS] * 6
    for row, other in zip(parsed, from_csv, strict=True):
        assert {**row, "y_prob": str(row["y_prob"] or "")} == {**other, "y_prob": other["y_prob"]}
    broken = [row for row in parsed if row["error"]]
    assert [(row["image_id"], row["y_prob"], row["decision"]) for row in broken] == [
        ("lesion 3", None, "cannot_assess")
    ]


def test_the_table_is_for_people(predict, mixed):
    code, out, err = predict(mixed)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["probability", "decision", "image"]
    assert len(lines) == 7
    judged = [line for line in lines[1:] if "cannot_assess" not in line]
    assert all(0 <= float(line.split()[0]) <= 1 for line in judged)
    assert sum("lesion 3.png  (the file is empty)" in line for line in lines) == 1
    assert err.startswith("6 images: ")
    assert "1 could not be read" in err


def test_one_image_needs_no_summary(predict, image_files):
    code, out, err = predict(image_files[0])
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 2


def test_results_go_to_a_file_whole(predict, image_files, tmp_path):
    target = tmp_path / "new" / "rows.json"
    code, out, _ = predict(image_files[0].parent, "--format", "json", "-o", target)
    assert (code, out) == (0, "")
    assert len(json.loads(target.read_text())) == 6
    assert list(target.parent.iterdir()) == [target]


def test_strict_and_nothing_judged_end_with_two(predict, mixed):
    code, out, err = predict("--strict", mixed)
    assert code == 2
    assert len(out.splitlines()) == 7
    assert err.splitlines()[-1].startswith("melanoma: 1 of 6 images could not be read")
    code, _, err = predict(mixed / "lesion 3.png")
    assert code == 2
    assert err == "melanoma: 1 of 1 images could not be read; the results name each with its reason\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-file.jpg"], "'no-such-file.jpg' does not exist"),
        (["", "x"], "'' does not exist"),
        (["{image}", "--prevalence", "1.5"], "a prevalence of 1.5 makes no sense"),
        (["{image}", "--prevalence", "nan"], "a prevalence of nan makes no sense"),
        (["{image}", "-o", "{folder}"], "Is a directory"),
        (["{image}", "-o", "rows.csv", "--format", "jsonl"], "rows.csv would hold jsonl; give --format csv"),
        (["{image}", "-o", "{image}/rows.csv"], "cannot write"),
        (["{image}", "--explain", "{image}"], "cannot write"),
        (["{image}", "--bundle", "{folder}"], "no bundle in"),
        (["{empty}"], "no image in"),
    ],
)
def test_the_users_errors_are_one_line_and_two(predict, image_files, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    names = {"image": image_files[0], "folder": image_files[0].parent, "empty": tmp_path / "empty"}
    code, out, err = predict(*[argument.format(**names) for argument in arguments])
    assert code == 2
    assert out == "" or "--explain" in arguments
    assert message in err
    assert err.startswith("melanoma: ")
    assert err.count("\n") == 1
    assert not [path for path in image_files[0].parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: SOURCE"),
        (["x.jpg", "--format", "xml"], "argument --format: invalid choice: 'xml' (choose from 'table',"),
        (["x.jpg", "--prevalence", "half"], "argument --prevalence: invalid float value: 'half'"),
        (["x.jpg", "--colour"], "unrecognized arguments: --colour"),
        (["x.jpg", "--format", "parquet"], "--format parquet needs a file"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(run_melanoma, arguments, message):
    code, out, err = run_melanoma("predict", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_prevalence_changes_probabilities_only(predict, image_files):
    plain, moved = (
        json.loads(predict(*image_files, "--format", "json", *extra)[1])
        for extra in ([], ["--prevalence", "0.01"])
    )
    assert all(a["y_prob"] > b["y_prob"] for a, b in zip(plain, moved, strict=True))
    assert [row["decision"] for row in plain] == [row["decision"] for row in moved]


def test_explain_writes_overlays(predict, mixed, tmp_path):
    overlays = tmp_path / "overlays"
    assert predict(mixed, "--explain", overlays)[0] == 0
    assert sorted(path.name for path in overlays.iterdir()) == [f"lesion {n}.png" for n in (0, 1, 2, 4, 5)]
    original = np.asarray(Image.open(mixed / "lesion 1.png"))
    assert np.asarray(Image.open(overlays / "lesion 1.png")).shape == original.shape


def test_overlays_of_images_with_one_name_stay_apart(predict, image_files, tmp_path):
    for place in ("a/x.png", "b/x.png", "b/sub/x.png", "c/X.png", "c/x-2.png", "d/x.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.open(image_files[1]).save(tmp_path / place)
    overlays = tmp_path / "overlays"
    assert predict(tmp_path / "a/x.png", *(tmp_path / name for name in "bcd"), "--explain", overlays)[0] == 0
    found = sorted(path.relative_to(overlays).as_posix() for path in overlays.rglob("*.png"))
    assert found == ["X-3.png", "sub/x.png", "x-2-2.png", "x-2.png", "x-4.png", "x.png"]


NAMES = [
    "with space",
    'it\'s "quoted", so',
    "two\nlines",
    "re\rturn",
    "皮膚-ÄÖ",
    "-dash",
    "undecodable\udcff",
    "=1+1",
]


@pytest.fixture
def odd_names(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (40, 40), (200, 150, 130)).save(folder / f"{name}.png")
    return folder


@posix_only
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_any_file_name_can_be_read_back(odd_names, tiny_bundle, tmp_path, form, encoding):
    arguments = [odd_names, "--bundle", tiny_bundle, "--format", form, "--explain", tmp_path / "overlays"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command(*arguments), capture_output=True, env=environment, check=True)
    written = subprocess.run(command(*arguments, "-o", tmp_path / "rows"), capture_output=True, check=True)
    assert written.stdout == b""
    expected = sorted(str(odd_names / f"{name}.png") for name in NAMES)
    if form == "table":
        assert done.stdout.count(b"\n") == 1 + len(NAMES)
        return
    assert (tmp_path / "rows").read_bytes() == done.stdout
    text = io.StringIO(done.stdout.decode("utf-8", "surrogateescape"), newline="")
    parsed = {"json": json.load, "jsonl": lambda lines: map(json.loads, lines), "csv": csv.DictReader}[form](
        text
    )
    assert sorted(row["path"] for row in parsed) == expected
    assert sorted(path.stem for path in (tmp_path / "overlays").iterdir()) == sorted(NAMES)


@posix_only
def test_a_leading_dash_needs_two(odd_names, tiny_bundle):
    arguments = command("--bundle", tiny_bundle, "--format", "json", "--", "-dash.png")
    done = subprocess.run(arguments, capture_output=True, cwd=odd_names, check=True)
    assert json.loads(done.stdout)[0]["path"] == "-dash.png"


class FullDisk(io.StringIO):
    def write(self, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_file_and_nothing_half(predict, image_files, tmp_path, monkeypatch):
    target = tmp_path / "out" / "rows.csv"
    target.parent.mkdir()
    target.write_text("old")

    def open_full(path, *_, **__):
        path.touch()
        return FullDisk()

    monkeypatch.setattr(rows, "_open", open_full)
    code, _, err = predict(*image_files, "--format", "csv", "-o", target)
    assert code == 2
    assert err == f"melanoma: cannot write {target}: No space left on device; choose another place\n"
    assert target.read_text() == "old"
    assert sorted(target.parent.iterdir()) == [target, target.with_name("rows.csv.part")]
    monkeypatch.undo()
    code, _, err = predict(*image_files, "--format", "csv", "-o", target)
    assert (code, "6 of 6 are judged" in err) == (0, True)
    assert list(target.parent.iterdir()) == [target]


def test_a_full_disk_leaves_no_half_overlay(predict, image_files, tmp_path, monkeypatch):
    def save_half(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", save_half)
    code, _, err = predict(image_files[0], "--explain", tmp_path / "overlays")
    assert code == 2
    assert err.endswith("lesion 0.png: No space left on device; choose another place\n")
    assert list((tmp_path / "overlays").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_a_full_standard_output_is_one_line(image_files, tiny_bundle, form):
    with Path("/dev/full").open("w") as full:
        arguments = command(*image_files, "--bundle", tiny_bundle, "--format", form)
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "melanoma: cannot write to standard output: No space left on device\n"


@posix_only
def test_a_link_stays_and_a_device_is_written_to(predict, image_files, tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert predict(image_files[0], "--format", "csv", "-o", tmp_path / "link.csv")[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("source,path")
    (tmp_path / "null").symlink_to("/dev/null")
    assert predict(image_files[0], "-o", tmp_path / "null")[0] == 0
    assert Path("/dev/null").is_char_device()


@posix_only
def test_a_reader_who_leaves_ends_it_quietly(many, tiny_bundle):
    for form in ("table", "json", "jsonl", "csv"):
        with subprocess.Popen(
            command(many, "--bundle", tiny_bundle, "--format", form),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait() == 0


@pytest.fixture(scope="module")
def many(tmp_path_factory, draw_image):
    """Twenty thousand names of one image: more than is judged while a test waits."""
    folder = tmp_path_factory.mktemp("many")
    Image.fromarray(draw_image(0)).save(folder / "0.png")
    for number in range(1, 20_000):
        (folder / f"{number}.png").symlink_to(folder / "0.png")
    return folder


@posix_only
def test_ctrl_c_ends_with_130_and_leaves_no_file(many, tiny_bundle, tmp_path):
    arguments = command(
        many, "--bundle", tiny_bundle, "-o", tmp_path / "out" / "rows", "--explain", tmp_path / "seen"
    )
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "seen").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        said = process.stderr.read()
        assert "Traceback" not in said
        assert "the same command goes on where this one stopped" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rows.part"]


@posix_only
@pytest.mark.parametrize("seconds", [0.4, 0.7, 1.0, 1.5])
def test_ctrl_c_while_processes_start_is_quiet(many, tiny_bundle, tmp_path, seconds):
    """A terminal sends it to all of them."""
    arguments = command(many, "--bundle", tiny_bundle, "-o", tmp_path / "rows.csv")
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "melanoma: stopped"
    assert "KeyboardInterrupt" not in said
    assert "Traceback" not in said


@posix_only
def test_killed_and_started_again_each_image_has_one_row(tiny_bundle, tmp_path, draw_image):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(300):
        Image.fromarray(draw_image(number)).save(folder / f"{number}.png")
    (folder / "150.png").write_bytes(b"broken")
    target, part = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.part"
    arguments = command(folder, folder / "7.png", "--bundle", tiny_bundle, "--format", "jsonl", "-o", target)
    counts = []
    for wanted in (20, 120, 230):
        with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
            while not part.exists() or part.read_bytes().count(b"\n") < wanted:
                assert process.poll() is None
            process.kill()
        assert not target.exists()
        counts.append(part.read_bytes().count(b"\n"))
        part.write_bytes(part.read_bytes() + b'{"source": "torn')
    assert counts == sorted(counts)
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert f"{counts[-1] - 1} of 301 are judged" in done.stderr
    assert not part.exists()
    found = [json.loads(line) for line in target.read_text().splitlines()]
    straight = subprocess.run(arguments[:-2], capture_output=True, text=True, check=True)
    assert found == [json.loads(line) for line in straight.stdout.splitlines()]
    assert len(found) == 301


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("rows.csv", "source,path"),
        ("ROWS.JSONL", '{"source"'),
        ("rows.json", "[\n"),
        ("rows.txt", "probability"),
    ],
)
def test_the_name_of_the_output_says_its_form(predict, image_files, tmp_path, name, begins):
    assert predict(*image_files, "-o", tmp_path / name)[0] == 0
    assert (tmp_path / name).read_text().startswith(begins)


def test_results_of_other_options_are_not_mixed(predict, image_files, tmp_path):
    target = tmp_path / "rows.csv"
    with pytest.raises(KeyError), gather(target, {"bundle": "another"}):
        raise KeyError
    code, _, err = predict(*image_files, "-o", target)
    assert code == 2
    assert "holds results of another bundle or other options; delete it or choose another --output" in err
    assert not target.exists()


def test_a_part_without_overlays_does_not_pass_for_one_with_them(predict, image_files, tmp_path, monkeypatch):
    target = tmp_path / "rows.csv"
    monkeypatch.setattr(rows, "write", lambda *_: pytest.fail("stopped"))
    with pytest.raises(pytest.fail.Exception):
        predict(*image_files, "-o", target)
    monkeypatch.undo()
    code, _, err = predict(*image_files, "-o", target, "--explain", tmp_path / "seen")
    assert (code, "other options" in err, (tmp_path / "seen").exists()) == (2, True, False)


@posix_only
def test_two_commands_do_not_write_one_output(predict, image_files, tmp_path):
    target = tmp_path / "rows.csv"
    with gather(target, {}):
        code, _, err = predict(*image_files, "-o", target)
    assert (code, "another command is writing" in err) == (2, True)


@posix_only
def test_a_part_that_another_command_finishes_with_meanwhile_is_not_added_to(tmp_path, monkeypatch):
    part, lock, seen = tmp_path / "rows.csv.part", gathering._lock, []

    def lock_late(file, path):
        if not seen:
            path.unlink()
        seen.append(path)
        lock(file, path)

    monkeypatch.setattr(gathering, "_lock", lock_late)
    with gather(tmp_path / "rows.csv", {"bundle": "b"}):
        assert part.read_bytes() == b'{"bundle": "b"}\n'
    assert len(seen) == 2


def test_images_that_are_gone_have_no_row(predict, image_files, tmp_path, monkeypatch):
    target = tmp_path / "rows.json"
    monkeypatch.setattr(rows, "write", lambda *_: pytest.fail("stopped"))
    with pytest.raises(pytest.fail.Exception):
        predict(*image_files, "--format", "json", "-o", target)
    monkeypatch.undo()
    image_files[0].unlink()
    assert predict(image_files[0].parent, "--format", "json", "-o", target)[0] == 0
    assert [row["path"] for row in json.loads(target.read_text())] == [str(path) for path in image_files[1:]]


def test_parquet_says_the_same(predict, mixed, tmp_path):
    require_extra("pyarrow", "parquet")
    import pandas as pd

    assert predict(mixed, "--format", "parquet", "-o", tmp_path / "rows.parquet")[0] == 0
    expected = pd.DataFrame(json.loads(predict(mixed, "--format", "json")[1]))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "rows.parquet"), expected)


@posix_only
@pytest.mark.parametrize(("closed", "code"), [("2>&-", 0), (">&-", 2), ("<&-", 0), ("<&- >&- 2>&-", 2)])
def test_closed_streams_do_no_harm(image_files, tiny_bundle, tmp_path, closed, code):
    target = tmp_path / "rows.csv"
    arguments = command(*image_files, "--bundle", tiny_bundle, "--format", "csv")
    for more, expected in (([], code), (["-o", str(target)], 0)):
        script = f'exec "$@" {closed}'
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *arguments, *more], capture_output=True, check=False
        )
        assert done.returncode == expected, done.stderr
        assert b"Traceback" not in done.stderr
    assert len(list(csv.DictReader(io.StringIO(target.read_text())))) == 6


def test_pillow_s_warnings_stay_off_standard_error(tiny_bundle, tmp_path):
    damaged = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 200
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg", exif=damaged)
    done = subprocess.run(
        command(tmp_path / "a.jpg", "--bundle", tiny_bundle), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.fixture
def checked(tiny_bundle, tmp_path):
    """The tiny bundle with a domain check that refuses everything."""
    old = bundles.load(tiny_bundle)
    d = len(FEATURES)
    nothing = np.zeros((1, d), np.float32), np.zeros(1, np.float32)
    domain = Domain(np.zeros(d, np.float32), np.ones(d, np.float32), *nothing, 0.5, 100)
    names = ("name", "preprocessing", "calibration", "operating_point", "facts")
    parts = {name: getattr(old, name) for name in names}
    return bundles.save(tmp_path / "checked", old.network, domain=domain, **parts).folder


def test_refused_images_keep_their_probability_and_the_check_can_be_left_out(
    run_melanoma, checked, image_files
):
    plain = ["predict", *image_files, "--bundle", checked, "--format", "json"]
    code, out, err = run_melanoma(*plain)
    rows = json.loads(out)
    assert code == 2
    assert {row["decision"] for row in rows} == {"cannot_assess"}
    assert all(row["reason"].startswith("this does not look like") for row in rows)
    assert "6 images: 0 refer, 0 no sign, 6 not dermoscopic, 0 could not be read" in err
    assert "melanoma: 6 of 6 images do not look dermoscopic; the results name each, and " in err
    code, out, _ = run_melanoma("predict", image_files[0], "--bundle", checked)
    assert out.splitlines()[1].startswith(
        f"{'':11s}  cannot_assess  {image_files[0]}  (this does not look like"
    )
    code, out, err = run_melanoma(*plain, "--no-domain-check")
    judged = json.loads(out)
    assert code == 0
    assert {row["decision"] for row in judged} <= {"refer", "no_sign"}
    assert [row["y_prob"] for row in judged] == [row["y_prob"] for row in rows]
    assert "not dermoscopic" not in err


def test_a_cat_is_not_assessed_out_of_the_box(run_melanoma, tmp_path):
    require_extra("skimage", "bench")
    import skimage.data

    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.png")
    code, out, err = run_melanoma("predict", tmp_path / "cat.png", "--format", "json")
    (row,) = json.loads(out)
    assert (code, row["decision"], row["error"]) == (2, "cannot_assess", "")
    assert row["reason"].startswith("this does not look like a dermoscopic image: ")
    assert err == (
        "melanoma: 1 of 1 images do not look dermoscopic; the results name each, "
        "and --no-domain-check judges them too\n"
    )


def test_a_damaged_bundle_is_one_line(run_melanoma, bundle_copy, image_files):
    content = bytearray((bundle_copy / "network.tflite").read_bytes())
    content[1000] ^= 1
    (bundle_copy / "network.tflite").write_bytes(bytes(content))
    code, out, err = run_melanoma("predict", image_files[0], "--bundle", bundle_copy)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "sha256 differs); fetch it again" in err


def test_a_bundle_may_lie_anywhere(run_melanoma, tiny_bundle, image_files, tmp_path):
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "модель 皮膚 'x'"))
    assert run_melanoma("predict", image_files[0], "--bundle", folder)[0] == 0


@pytest.mark.parametrize("option", ["-o", "--explain"])
def test_an_image_is_never_written_over(run_melanoma, tmp_path, draw_image, option):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.png"
    Image.fromarray(draw_image(0)).save(path)
    before = path.read_bytes()
    code, out, err = run_melanoma("predict", tmp_path / "in", option, path if option == "-o" else path.parent)
    assert (code, out, path.read_bytes()) == (2, "", before)
    assert err.startswith(f"melanoma: {path} is one of the images; give another ")

import subprocess
import sys
from pathlib import Path

import pytest

from melanoma.cli import predict
from melanoma.cli.main import EXTRAS
from melanoma.errors import BundleError, TrackingError
from melanoma.version import __version__

BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
from melanoma.cli.main import run
run()
"""


def run_without(blocked: set[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    code = BLOCKED.format(blocked=blocked)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_help_and_version(run_melanoma):
    assert run_melanoma("--version") == (0, f"melanoma {__version__}\n", "")
    code, out, _ = run_melanoma("--help")
    assert code == 0
    assert "not a medical device" in " ".join(out.replace("│", " ").split())
    for name in ("predict", "evaluate", "split", "train", "export", "demo", "models", "track"):
        assert f" {name} " in out
    assert run_melanoma("predict", "-h")[0] == 0


def test_the_package_runs_as_a_module():
    words = [sys.executable, "-m", "melanoma", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"melanoma {__version__}\n"


def test_no_command_shows_the_help(run_melanoma):
    code, out, err = run_melanoma()
    assert code == 2
    assert "Usage: melanoma" in out + err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BundleError("two\nlines"), 2, "melanoma: two lines\n"),
        (TrackingError("gone"), 1, "melanoma: gone\n"),
        (ModuleNotFoundError("no", name="sklearn.linear_model"), 2, "pip install 'melanoma[bench]'\n"),
        (
            OSError(28, "No space left on device", "x"),
            2,
            "No space left on device: x; make room and try again\n",
        ),
        (KeyboardInterrupt(), 130, "melanoma: stopped\n"),
        (BrokenPipeError(32, "Broken pipe"), 0, ""),
    ],
)
def test_exit_codes(run_melanoma, monkeypatch, error, code, message):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(predict, "find_images", fail)
    found, out, err = run_melanoma("predict", "x.jpg")
    assert (found, out) == (code, "")
    assert err.endswith(message)
    assert err.count("\n") <= 1


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), ModuleNotFoundError("no", name="foreign"), OSError("disk")]
)
def test_our_own_failure_keeps_its_traceback(run_melanoma, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(predict, "find_images", fail)
    with pytest.raises(type(error)):
        run_melanoma("predict", "x.jpg")


@pytest.mark.parametrize(
    ("blocked", "arguments", "extra"),
    [
        ("pandas", ["evaluate", "{images}", "--bundle", "{bundle}"], "bench"),
        ("yaml", ["models", "list"], "bench"),
        ("tensorflow", ["models", "summary", "original_cnn"], "train"),
        ("mlflow", ["predict", "{image}", "--bundle", "models:/name@champion"], "train"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(image_files, tiny_bundle, tmp_path, blocked, arguments, extra):
    names = {"images": image_files[0].parent, "image": image_files[0], "bundle": tiny_bundle}
    blocked_too = {blocked, "keras"} if blocked == "tensorflow" else {blocked}
    done = run_without(blocked_too, *[argument.format(**names) for argument in arguments])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].endswith(f"install it with: pip install 'melanoma[{extra}]'")
    assert "Traceback" not in done.stderr


def test_the_light_commands_need_no_extra(image_files, tiny_bundle):
    extras = {module for modules in EXTRAS.values() for module in modules} - {
        "pydantic"
    }  # Typer needs it too
    for arguments in (["predict", str(image_files[0])], ["models", "card", "--json"]):
        done = run_without(extras, *arguments, "--bundle", str(tiny_bundle))
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX pipe")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["predict", "--help"]])
def test_a_reader_who_leaves_ends_it_quietly(arguments):
    script = f'"$@" {" ".join(arguments)} | exec true; '
    program = [sys.executable, "-c", "import time; time.sleep(0.2); from melanoma.cli.main import run; run()"]
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *program], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_standard_output_is_one_line():
    with Path("/dev/full").open("w") as full:
        program = [sys.executable, "-c", "from melanoma.cli.main import run; run()", "--help"]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "melanoma: No space left on device; make room and try again\n"

"""The `melanoma` command: parses, imports lazily, calls, prints."""

import errno
import sys
import warnings
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from melanoma.cli import (
    audit,
    baseline,
    calibrate,
    check_explanations,
    data,
    demo,
    evaluate,
    export,
    models,
    predict,
    serve,
    split,
    streams,
    stress,
    track,
    train,
)
from melanoma.cli.progress import say
from melanoma.errors import ConfigError, MelanomaError, MissingExtraError, UserError
from melanoma.version import __version__

EXTRAS = {
    "bench": (
        "pandas",
        "sklearn",
        "skimage",
        "scipy",
        "matplotlib",
        "jinja2",
        "pydantic",
        "yaml",
        "cv2",
        "faiss",
        "threadpoolctl",
    ),
    "train": ("tensorflow", "keras", "mlflow", "filelock", "psutil"),
    "data": ("httpx", "kagglehub"),
    "export": ("onnx", "tf2onnx"),
    "serve": (
        "fastapi",
        "starlette",
        "uvicorn",
        "h11",
        "python_multipart",
        "prometheus_client",
        "fastapi_offline",
    ),
}

app = typer.Typer(
    name="melanoma",
    help="Find melanoma in dermoscopic images, and prove how well it works. Research software, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(predict.predict)
app.command()(evaluate.evaluate)
app.command()(stress.stress)
app.command()(audit.audit)
app.command()(calibrate.calibrate)
app.command()(check_explanations.check_explanations)
app.command()(split.split)
app.command()(train.train)
app.command()(baseline.baseline)
app.command()(export.export)
app.command()(serve.serve)
app.command()(demo.demo)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(track.app, name="track")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"melanoma {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Say which."
    ),
) -> None:
    """Options before the command."""
    del version


def run() -> NoReturn:
    """Run the command and end the process: 0 done, 2 the user's error, 1 ours, 130 Ctrl-C."""
    streams.open_missing()
    if not sys.warnoptions:
        for module in ("PIL", "pydicom"):  # what they say of a damaged image stands in the result row
            warnings.filterwarnings("ignore", module=module)
    try:
        _run_app()
    except UserError as error:
        _fail(str(error), 2)
    except MelanomaError as error:
        _fail(str(error), 1)
    except ModuleNotFoundError as error:
        _fail(str(_explain(error)), 2)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        streams.discard_stdout()
        _fail(
            f"{error.strerror}{f': {error.filename}' if error.filename else ''}; make room and try again", 2
        )
    sys.exit(0)


def _run_app() -> None:
    """Run Typer's command; what still waits for standard output is written before its end counts."""
    try:
        code = app(prog_name="melanoma", standalone_mode=False)
        if code == 130:  # what newer versions of Typer make of Ctrl-C
            raise KeyboardInterrupt
        if code:
            sys.exit(code)
    except typer.Abort as error:  # older ones
        raise KeyboardInterrupt from error
    except TyperException as error:
        message = error.format_message()
        if "\n" in message:  # the help text, when a command is missing
            typer.echo(message)
            sys.exit(2)
        raise ConfigError(f"{message.rstrip('.')}; see --help") from error
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer makes it a failure
            sys.exit(0)
        raise
    finally:
        streams.flush_stdout()


def _fail(message: str, code: int) -> NoReturn:
    say(f"melanoma: {' '.join(message.split())}")
    sys.exit(code)


def _explain(error: ModuleNotFoundError) -> Exception:
    """One line that names the extra. Raises `error` again when no extra brings the module."""
    top = (error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if top in modules:
            return MissingExtraError(extra, top)
    raise error

"""The `melanoma` command: finds the command, turns errors into one line and an exit code.

`predict` is parsed by argparse and everything else by Typer: Typer and what it needs take longer to import, and more
memory, than an image takes to be judged.
"""

import errno
import sys
from typing import NoReturn

from melanoma.cli import streams
from melanoma.cli.progress import say
from melanoma.errors import MelanomaError, MissingExtraError, UserError
from melanoma.processes import ignore_image_warnings

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
    "cluster": ("ray", "fsspec"),
    "parquet": ("pyarrow",),
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


def run() -> NoReturn:
    """Run the command and end the process: 0 done, 2 the user's error, 1 ours, 130 Ctrl-C."""
    streams.open_missing()
    ignore_image_warnings()
    try:
        _run_command()
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


def _run_command() -> None:
    """Run the command; what still waits for standard output is written before its end counts."""
    try:
        if sys.argv[1:2] == ["predict"]:
            from melanoma.cli import predict

            predict.run(sys.argv[2:])
        else:
            from melanoma.cli import app

            app.run()
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

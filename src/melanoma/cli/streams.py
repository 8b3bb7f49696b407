"""Standard output and standard error when they are closed, full, or a pipe that nobody reads any more."""

import io
import os
import sys

from melanoma.inference.runtime import stderr_aside


def open_missing() -> None:
    """Put the null device where standard input, output or error was closed.

    Else the next file that is opened takes the number, and what a library prints goes into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def accept_any_text(encoding: str | None = None, errors: str = "backslashreplace") -> None:
    """Let standard output take every file name; `encoding` is the terminal's own unless given."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding=encoding, errors=errors)


def flush_stdout() -> None:
    """Write what waits. Raises OSError, after which standard output takes everything and keeps nothing."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        discard_stdout()
        raise


def discard_stdout() -> None:
    """Send what still waits nowhere, so that the interpreter does not stumble over it at its end."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):  # a stand-in without a file number
        return


def import_tensorflow() -> None:
    """Import Keras on TensorFlow without the dozen lines that they print past Python.

    TF_CPP_MIN_LOG_LEVEL, where it is set, says what TensorFlow may print after that.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with stderr_aside():
        import keras  # noqa: F401

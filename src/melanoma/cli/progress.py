"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY = 10.0  # seconds between plain lines


def say(line: str) -> None:
    """One line on standard error. Work goes on when nobody can read it."""
    if sys.stderr is None:  # closed
        return
    with suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def describe_seconds(seconds: float) -> str:
    """A length of time as people say it: 40 s, 3 min, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Meter:
    """Shows how far a stage is: call it with (done, total) and, if there is one, a note."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._began = self._last = time.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Print a plain line now and then, and when all is done."""
        now = time.monotonic()
        if now - self._last >= LINE_EVERY or (done == total and now - self._began >= 1):
            self._last = now
            rate = done / max(now - self._began, 1e-9)
            left = f", {describe_seconds((total - done) / rate)} left" if rate and done < total else ""
            say(f"{self._label}: {done:,}/{total:,}, {rate:.0f} a second{left}{', ' * bool(note)}{note}")


class _Bar(Meter):
    """A live bar."""

    def __init__(self, label: str, progress: "Progress") -> None:
        super().__init__(label)
        self._progress = progress
        self._task = progress.add_task(label, total=None, note="", rate="")

    def __call__(self, done: int, total: int, note: str = "") -> None:
        rate = done / max(time.monotonic() - self._began, 1e-9)
        self._progress.update(self._task, completed=done, total=total, note=note, rate=f"{rate:.0f}/s")


@contextmanager
def show_stages() -> Iterator[Callable[[str, int, int], None]]:
    """Progress of several stages, one after the other: call it with (stage, done, total)."""
    with ExitStack() as stack:
        shown: list[tuple[str, Meter]] = []

        def update(stage: str, done: int, total: int) -> None:
            if not shown or shown[-1][0] != stage:
                stack.pop_all().close()
                shown.append((stage, stack.enter_context(show_progress(stage))))
            shown[-1][1](done, total)

        yield update


@contextmanager
def show_progress(label: str) -> Iterator[Meter]:
    """A bar while the context lasts, or plain lines where standard error is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():  # None when it is closed
        yield Meter(label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(label, progress)

"""A training run on standard error."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from melanoma.cli.progress import Meter, say, show_progress
from melanoma.listener import Listener


class RunListener(Listener):
    """Bars on a terminal, lines elsewhere; one at a time."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._epoch = -1
        self._meter = Meter("")
        self._interrupted = False

    @contextmanager
    def heeding_ctrl_c(self) -> Iterator[None]:
        """Stop at the next batch, too: a finaliser in whose middle Ctrl-C comes swallows what it raises.

        For the main thread; where Ctrl-C is ignored it stays so.
        """
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.default_int_handler:
            yield
            return

        def interrupt(number: int, frame: FrameType | None) -> None:
            self._interrupted = True
            signal.default_int_handler(number, frame)

        signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def say(self, line: str) -> None:
        """Print the line below what is there."""
        self.close()
        say(line)

    def stage(self, label: str) -> Meter:
        """End the bar that is there and begin another."""
        self.close()
        return self._stack.enter_context(show_progress(label))

    def on_batch(self, epoch: int, step: int, steps: int, row: dict[str, float]) -> None:
        """Show the step with the figures so far. Raises KeyboardInterrupt after a Ctrl-C that was swallowed."""
        if self._interrupted:
            raise KeyboardInterrupt
        if epoch != self._epoch:
            self._epoch = epoch
            self._meter = self.stage(f"epoch {epoch + 1}")
        self._meter(step, steps, _format(row))

    def on_epoch(self, epoch: int, row: dict[str, float]) -> None:
        """Leave the epoch's figures as a line."""
        self.say(f"epoch {epoch} done: {_format(row)}")

    def close(self) -> None:
        """End the bar that is there."""
        self._stack.close()


def _format(row: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in row.items())

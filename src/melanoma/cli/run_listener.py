"""A training run on standard error."""

from contextlib import ExitStack

from melanoma.cli.progress import Meter, say, show_progress
from melanoma.listener import Listener


class RunListener(Listener):
    """Bars on a terminal, lines elsewhere; one at a time."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._epoch = -1
        self._meter = Meter("")

    def say(self, line: str) -> None:
        """Print the line below what is there."""
        self.close()
        say(line)

    def stage(self, label: str) -> Meter:
        """End the bar that is there and begin another."""
        self.close()
        return self._stack.enter_context(show_progress(label))

    def on_batch(self, epoch: int, step: int, steps: int, row: dict[str, float]) -> None:
        """Show the step with the figures so far."""
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

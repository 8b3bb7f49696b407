"""How a run is heard: the training loop's progress, and the stages around it."""

from collections.abc import Callable

from melanoma.training.fit import Progress


class Listener(Progress):
    """What a run tells of itself; override what you want to hear."""

    def say(self, line: str) -> None:
        """One line for the user."""

    def stage(self, label: str) -> Callable[[int, int], None]:
        """A stage begins; the returned function is told (done, total)."""
        del label
        return lambda _done, _total: None

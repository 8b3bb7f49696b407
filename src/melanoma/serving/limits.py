"""How much a server takes on."""

from dataclasses import dataclass

from melanoma.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused, and when.

    One request: `max_body` bytes, `max_files` images, `max_pixels` an image, `read_seconds` for its body to come in,
    `answer_seconds` from then to its answer. All together: `max_waiting` images accepted and not yet judged,
    `max_requests` at once, `max_memory` bytes of bodies held at once. One client: `max_per_client` requests at once.
    Raises ConfigError when they contradict each other.
    """

    max_body: int = 32 * 2**20
    max_files: int = 16
    max_pixels: int = 25_000_000
    max_waiting: int = 64
    max_requests: int = 256
    max_per_client: int = 64
    max_memory: int = 256 * 2**20
    read_seconds: float = 30.0
    answer_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ConfigError(f"a limit of {getattr(self, name)} for {name} serves nobody; give more")
        if self.max_files > self.max_waiting:
            raise ConfigError(
                f"{self.max_files} images a request never fit into a queue of {self.max_waiting}; "
                "let more wait or take fewer"
            )
        if self.max_body > self.max_memory:
            raise ConfigError(f"a body of {self.max_body:,} bytes never fits into {self.max_memory:,}")

"""The API's client: the same rows as from a predictor, judged by a server."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from melanoma.errors import RefusalError
from melanoma.inference.decision import Decision
from melanoma.inference.images import read_file
from melanoma.inference.prediction import Prediction

TOGETHER = 8  # images a request
BUSY = {429, 503}


class Client:
    """Asks the server at `url`, with an API key if it wants one.

    A busy server is asked again as it says, for up to `patience` seconds a request; `timeout` is what one answer may
    take. Use it in a `with` block, or call `close`.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float = 60.0,
        patience: float = 60.0,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        self._patience = patience

    def predict(self, images: Sequence[str | Path | bytes]) -> Iterator[Prediction]:
        """Judge image files, or their bytes, in order; `path` and `image_id` are the file's name.

        Raises ImageError when a file cannot be read, RefusalError when the server refuses or cannot be reached.
        """
        for start in range(0, len(images), TOGETHER):
            files = [("files", _open(image)) for image in images[start : start + TOGETHER]]
            answer = self._ask("POST", "/v1/predictions", files=files)
            try:
                content = answer.json()
                rows = content["predictions"] if isinstance(content, dict) else content
            except (ValueError, KeyError) as error:
                raise _refusal(answer) from error
            yield from (Prediction(**{**row, "decision": Decision(row["decision"])}) for row in rows)

    def explain(self, image: str | Path | bytes) -> bytes:
        """The image with where the network saw melanoma laid over it, a PNG file's bytes.

        Raises ImageError when the file cannot be read, RefusalError.
        """
        return self._succeed("POST", "/v1/explanations", files=[("files", _open(image))]).content

    def describe(self) -> dict[str, Any]:
        """The bundle that the server judges with. Raises RefusalError."""
        description: dict[str, Any] = self._succeed("GET", "/v1/model").json()
        return description

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def _succeed(self, method: str, path: str, **body: Any) -> httpx.Response:
        answer = self._ask(method, path, **body)
        if not answer.is_success:
            raise _refusal(answer)
        return answer

    def _ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        """The answer; to a busy server's the question is put again."""
        until = time.monotonic() + self._patience
        while True:
            try:
                answer = self._http.request(method, path, **body)
            except httpx.HTTPError as error:
                raise RefusalError(
                    f"cannot reach {self._http.base_url}: {error or type(error).__name__}", 0
                ) from error
            wait = answer.headers.get("Retry-After", "")
            if answer.status_code not in BUSY or not wait.isdecimal() or time.monotonic() + int(wait) > until:
                return answer
            time.sleep(int(wait))


def _open(image: str | Path | bytes) -> tuple[str, bytes]:
    return ("image", image) if isinstance(image, bytes) else (Path(image).name, read_file(image))


def _refusal(answer: httpx.Response) -> RefusalError:
    """What the server said, in its own words where it has some."""
    try:
        detail = str(answer.json()["detail"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        detail = f"the server answered {answer.status_code}; is it a server of melanoma?"
    return RefusalError(detail, answer.status_code)

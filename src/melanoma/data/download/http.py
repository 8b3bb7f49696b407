"""Everything that goes over HTTP: polite, tried again when it is worth it, and stopped at once when asked to."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import numpy as np

from melanoma.errors import DownloadError
from melanoma.version import __version__

CONNECTIONS = 4
TRIES = 6
UNSOUND_TRIES = 3  # a body that is wrong and not torn seldom gets better
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds
LONGEST_RETRY_AFTER = 600.0  # seconds; a server that asks for more is asked again another day
LONGEST_ANSWER = 600.0  # seconds for one body, so that a trickle ends too
MAX_BYTES = 1 << 28  # more than the largest image that is judged takes uncompressed
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


class NotFoundError(DownloadError):
    """The server says that there is no such thing."""


class UnavailableError(DownloadError):
    """A server that cannot be reached or keeps failing; later it may work."""


class UnsoundBodyError(Exception):
    """A whole answer that does not hold what it should."""


class _TornError(Exception):
    """No whole answer; `after` is how many seconds the server wants to be left alone."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class Http:
    """A client for many small files, to be used in several threads and as a context.

    `sleep` waits so many seconds, `seed` fixes the jitter of the pauses.
    """

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        sleep: Callable[[float], object] | None = None,
        seed: int | None = None,
    ) -> None:
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._rng = np.random.default_rng(seed)
        self._open_from = 0.0  # when the server that asked for a pause may be asked again
        self._client = httpx.Client(
            follow_redirects=True,
            max_redirects=5,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            limits=httpx.Limits(max_connections=CONNECTIONS),
            headers={"User-Agent": f"melanoma/{__version__} (python-httpx/{httpx.__version__})"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._client.close()

    def stop(self) -> None:
        """Make every request under way, in whatever thread, end soon with DownloadError."""
        self._stopped.set()

    def fetch(
        self, url: str, parse: Callable[[bytes], T], *, params: Mapping[str, str | int] | None = None
    ) -> T:
        """What `parse` makes of the body of `url`; it raises UnsoundBodyError for one that is to be fetched anew.

        Raises UnavailableError when no try brought a whole answer, DownloadError for all else.
        """
        for attempt in range(1, TRIES + 1):
            self._wait_until_open()
            try:
                return parse(self._read(url, params))
            except UnsoundBodyError as error:
                if attempt == UNSOUND_TRIES:
                    raise DownloadError(str(error)) from error
                self._pause(attempt)
            except _TornError as error:
                if attempt == TRIES:
                    raise UnavailableError(str(error)) from error
                self._pause(attempt, error.after)
        raise AssertionError

    def fetch_json(self, url: str, params: Mapping[str, str | int] | None = None) -> Any:
        """The JSON at `url`. Raises as `fetch`."""
        return self.fetch(url, lambda body: _parse_json(body, url), params=params)

    def _read(self, url: str, params: Mapping[str, str | int] | None) -> bytes:
        """A whole body. Raises _TornError if another try may bring it, DownloadError if not."""
        _check_address(url)
        try:
            with self._client.stream("GET", url, params=params) as response:
                body = self._collect(response)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise DownloadError(f"{_host(url)} leads to an address that is not http") from error
        except httpx.TooManyRedirects as error:
            raise DownloadError(f"{_host(url)} sends in circles") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _TornError(f"cannot reach {_host(url)}: {_explain(error)}") from error
        _check_status(response, body)
        return body

    def _collect(self, response: httpx.Response) -> bytes:
        began = time.monotonic()
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if self._stopped.is_set():
                raise DownloadError("stopped")
            if len(body) > MAX_BYTES:
                raise DownloadError(f"{_host(str(response.url))} sent more than {MAX_BYTES:,} bytes")
            if time.monotonic() - began > LONGEST_ANSWER:
                raise httpx.ReadTimeout("too slow")
        return bytes(body)

    def _wait_until_open(self) -> None:
        self._rest(self._open_from - time.monotonic())

    def _pause(self, attempt: int, after: float = 0.0) -> None:
        """Exponential back-off with jitter, or what the server asked for, which then holds for every thread."""
        if after > LONGEST_RETRY_AFTER:
            raise UnavailableError(
                f"the server asks for a pause of {after:.0f} seconds; try again after that"
            )
        if after:
            self._open_from = max(self._open_from, time.monotonic() + after)
        else:
            pause = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
            self._rest(pause * self._rng.uniform(0.5, 1.5))

    def _rest(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)
        if self._stopped.is_set():
            raise DownloadError("stopped")


def _check_address(url: str) -> None:
    """Raise DownloadError unless `url` is an http or https address."""
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise DownloadError(f"{_short(url)!r} is no address") from error
    if address.scheme not in {"http", "https"} or not address.host:
        raise DownloadError(f"{_short(url)!r} is no http address")


def _check_status(response: httpx.Response, body: bytes) -> None:
    """Raise _TornError for a status that may pass, DownloadError for any other that is no success."""
    status, host = response.status_code, _host(str(response.url))
    if status in RETRY_STATUS:
        raise _TornError(f"{host} answers {status}", _retry_after(response.headers.get("Retry-After", "")))
    if status == httpx.codes.NOT_FOUND:
        raise NotFoundError(f"{host} has no {_short(response.url.path)}")
    if not response.is_success:
        raise DownloadError(f"{host} answers {status}{_server_message(body)}")


def _retry_after(text: str) -> float:
    """Seconds that a Retry-After header asks for, 0 when it says nothing usable. RFC 9110, section 10.2.3."""
    if text.isdecimal():
        return min(float(text), 1e9)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _parse_json(body: bytes, url: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnsoundBodyError(f"{_host(url)} sent no JSON; is that the address of the API?") from error


def _server_message(body: bytes) -> str:
    """What an API says of an error, as ": text", or nothing."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    said = answer.get("message") or answer.get("detail") if isinstance(answer, dict) else None
    if isinstance(said, list) and said and isinstance(said[0], dict):
        said = said[0].get("msg")
    return f": {_short(said)}" if isinstance(said, str) else ""


def _explain(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it does not answer in time"
    if isinstance(error, httpx.ConnectError):
        return f"{_short(str(error))}; check the connection"
    return _short(str(error)) or type(error).__name__


def _host(url: str) -> str:
    return httpx.URL(url).netloc.decode("ascii", "replace")


def _short(text: str) -> str:
    """At most 200 printable characters on one line."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= 200 else f"{line[:200]}..."

"""Who may ask, and how much at once: decided from the head of a request, before its body is read."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from melanoma.errors import RefusalError
from melanoma.serving.keys import Keys
from melanoma.serving.limits import Limits
from melanoma.serving.pool import Pool
from melanoma.serving.problems import answer_refusal

GUARDED = ("/v1/", "/metrics")


class Gate:
    """Stands before everything but the health checks and the pages."""

    def __init__(self, app: ASGIApp, limits: Limits, keys: Keys | None, pool: Pool) -> None:
        self._app = app
        self._limits = limits
        self._keys = keys
        self._pool = pool
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            client = self._identify(scope, headers)
            self._check(scope, headers)
            with self._place(client):
                await self._app(scope, receive, send)
        except RefusalError as refusal:
            await answer_refusal(refusal, scope["state"]["request_id"])(scope, receive, send)

    def _identify(self, scope: Scope, headers: Headers) -> str:
        """A name to count by: whose key it is, or the address where none is asked for."""
        if self._keys is None:
            return str((scope.get("client") or ("",))[0])
        kind, _, key = headers.get("authorization", "").partition(" ")
        name = self._keys.find(key.strip()) if kind.lower() == "bearer" else None
        if name is None:
            raise RefusalError("give a key of this server as 'Authorization: Bearer KEY'", 401)
        scope["state"]["key"] = name
        return name

    def _check(self, scope: Scope, headers: Headers) -> None:
        if scope["method"] != "POST":
            return
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limits.max_body:
            raise refuse_body(self._limits)
        if headers.get("content-encoding", "identity") != "identity":
            raise RefusalError("send the body as it is, without Content-Encoding", 415)
        self._pool.check()

    @contextmanager
    def _place(self, client: str) -> Iterator[None]:
        """One of the requests under way, counted for its client and for all."""
        if self._under_way.total() >= self._limits.max_requests:
            raise RefusalError(f"{self._limits.max_requests} requests are under way; try again later", 503, 1)
        if self._under_way[client] >= self._limits.max_per_client:
            raise RefusalError(
                f"{self._limits.max_per_client} of your requests are under way; wait for one of them", 429, 1
            )
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]


def refuse_body(limits: Limits) -> RefusalError:
    """What a client hears whose body is too large."""
    return RefusalError(f"more than {limits.max_body:,} bytes; send fewer or smaller images at once", 413)

"""Around every request: its id, its log line, its counters, and headers that browsers obey."""

import re
import time
import uuid
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from melanoma.serving import logs, problems
from melanoma.serving.intake import Intake
from melanoma.serving.metrics import Metrics

REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Observer:
    """The outermost layer of the app that is ours: nothing gets past it unseen."""

    def __init__(self, app: ASGIApp, routes: Collection[str], metrics: Metrics, max_body: int) -> None:
        self._app = app
        self._routes = routes  # any other path stays out of logs and counters: it may say anything
        self._metrics = metrics
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever becomes of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        intake = Intake(scope, receive, self._max_body)
        request_id = _choose_id(scope)
        scope.setdefault("state", {}).update(request_id=request_id, intake=intake)
        began, status = time.perf_counter(), 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                await _mark(message, request_id, intake)
            await send(message)

        self._metrics.under_way.inc()
        try:
            await self._app(scope, intake, send_marked)
        except Exception as error:
            logs.fail("failure", error, request_id=request_id)
            # Half an answer may be out: uvicorn then closes the connection, which the client cannot overlook.
            if status:
                raise
            wrong = problems.answer(500, "the server has made a mistake; its log has more", request_id)
            await wrong(scope, intake, send_marked)
        finally:
            self._metrics.under_way.dec()
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope["path"] if scope["path"] in self._routes else "other"
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        state = scope["state"]
        logs.write(
            "request",
            request_id=state["request_id"],
            method=method,
            route=route,
            status=status,
            seconds=round(seconds, 4),
            bytes=state["intake"].bytes,
            images=state.get("images", 0),
            key=state.get("key"),
        )


def _choose_id(scope: Scope) -> str:
    """The client's own where it is fit for a log, else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


async def _mark(message: Message, request_id: str, intake: Intake) -> None:
    headers = MutableHeaders(raw=message["headers"])
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    headers["X-Request-ID"] = request_id
    if not await intake.drain():
        headers["Connection"] = "close"

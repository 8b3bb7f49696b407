"""The body of a request as it comes in."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

DRAIN_SECONDS = 5.0
DRAIN_BODIES = 4  # so many times the largest body that is taken


class Intake:
    """Counts what comes in, and knows whether more is to come. `bytes` is what came so far."""

    def __init__(self, scope: Scope, receive: Receive, max_body: int) -> None:
        headers = Headers(scope=scope)
        self.bytes = 0
        self.length = int(length) if (length := headers.get("content-length", "")).isdecimal() else None
        self._receive = receive
        self._most = DRAIN_BODIES * max_body
        self._done = self.length in {None, 0} and "transfer-encoding" not in headers
        self._asks_first = headers.get("expect", "").lower() == "100-continue"
        self._asked = False
        self.late = False  # its sender is too slow to be waited for once more

    async def __call__(self) -> Message:
        """The next part of the body, as ASGI has it."""
        self._asked = True
        message = await self._receive()
        self.bytes += len(message.get("body", b""))
        self._done = self._done or not message.get("more_body", False)
        return message

    async def wait_until_gone(self) -> None:
        """Return when the client has closed the connection; to be called once its body is read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def drain(self) -> bool:
        """Read the rest and keep none of it; False when there is too much of it, or it takes too long.

        A client that is still sending when the connection closes may never read the answer.
        """
        if self._done:
            return True
        if self.late or (self._asks_first and not self._asked) or (self.length or 0) > self._most:
            return False
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._done and self.bytes <= self._most:
                    await self()
        except TimeoutError:
            return False
        return self._done

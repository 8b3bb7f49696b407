"""Connections that are closed when nothing of use comes over them."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0


class Connection(H11Protocol):
    """uvicorn's, which waits for ever for the head of a request and for the rest of a body that nobody reads."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client may take HEAD_SECONDS to say what it wants."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """More has come: perhaps a whole head."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """The answer is out: the rest of the body, if there is one, has HEAD_SECONDS to come."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to wait for."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Keep one timer while a client owes something; it is not set anew by every byte."""
        answered = self.cycle is None or self.cycle.response_complete
        if not answered:
            self._stop()
        elif self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

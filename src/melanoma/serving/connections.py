"""Connections that are closed when nothing more comes or goes over them."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0


class Connection(H11Protocol):
    """uvicorn's, which waits for ever for the head of a request, for the rest of a body, and for a reader.

    While the client owes something, one timer runs, which its bytes do not set anew: the head of a request must be
    there in SECONDS, and in every SECONDS some of an answer must go out.
    """

    _timer: asyncio.TimerHandle | None = None
    _left = 0  # bytes of answers that had not gone out at the last look
    _lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client owes the head of a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """More has come: perhaps a whole head."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """The client may owe the rest of a body that nobody reads."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody owes anything any more."""
        self._lost = True
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        answered = self.cycle is None or self.cycle.response_complete
        if self._lost or not (answered or self.flow.write_paused):
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(SECONDS, self._look)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Close, unless an answer is still going out to a slow reader."""
        self._timer = None
        before, self._left = self._left, self.transport.get_write_buffer_size()
        if self._left and self._left != before:
            self._watch()
        elif self._left:
            self.transport.abort()
        else:
            self.transport.close()

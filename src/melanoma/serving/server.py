"""One process that serves until it is told to end."""

import asyncio
import contextlib
import signal
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from melanoma.errors import ConfigError
from melanoma.serving import logs
from melanoma.serving.connections import Connection
from melanoma.serving.routes import Service

CONNECTIONS = 512
SPARE_SECONDS = 5.0


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any free one. Raises ConfigError."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {said}; give another --host or --port"
        ) from error


def run(app: FastAPI, listener: socket.socket, seconds: float = 0.0) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what was accepted; SIGHUP loads the bundle again.

    `seconds`: after so many it is loaded again anyway, 0 for never. Logs go to standard output.
    """
    logs.configure(sys.stdout)
    asyncio.run(_serve(app, listener, seconds))


def configure(app: FastAPI) -> uvicorn.Config:
    """How uvicorn runs the app."""
    limits = app.state.service.limits
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # else anybody on this machine could claim any address
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=int(limits.read_seconds + limits.answer_seconds + SPARE_SECONDS),
    )


async def _serve(app: FastAPI, listener: socket.socket, seconds: float) -> None:
    signal.signal(signal.SIGTERM, _stay)  # uvicorn's own comes over it, and sends the signal again at the end
    reloads = asyncio.create_task(watch(app.state.service, seconds))
    try:
        await uvicorn.Server(configure(app)).serve(sockets=[listener])
    finally:
        reloads.cancel()


async def watch(service: Service, seconds: float) -> None:
    """Load the bundle again at every SIGHUP and every `seconds`, one time after the other."""
    asked = asyncio.Event()
    if hasattr(signal, "SIGHUP"):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), seconds or None)
        by_signal = asked.is_set()
        asked.clear()
        result = await asyncio.to_thread(service.model.reload)
        if by_signal and result == "unchanged":
            logs.write("reload", bundle_digest=service.model.predictor.digest, result=result)
        service.metrics.reloads.labels(result).inc()


def _stay(_signal: int, _frame: FrameType | None) -> None:
    """A process that ended as it was asked to has not failed."""

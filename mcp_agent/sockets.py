"""Sockets that servers listen on, bound before anything else is started, so that a port that is taken is told at once."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from mcp_agent.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than clients and load balancers keep theirs, so that it is they who close it. A
server that closes first meets a request that is on its way, and there are clients that do not send it again."""


def bound_socket(host: str, port: int, change: str) -> socket.socket:
    """A listening socket.

    Args:
        host: A name or an address.
        port: 0 is any that is free.
        change: What to do where it is taken, such as "choose another with `--port`".

    Raises:
        ConfigError: It is taken, or cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches off the delay that small answers would wait for.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"Port `{port}` of `{host}` is in use: {change}.") from None
        raise ConfigError(f"`{host}:{port}` cannot be served: {error.strerror}.") from None
    except OverflowError:
        listener.close()
        raise ConfigError(f"`{port}` is no port: use 1 to 65535, or 0 for any that is free.") from None
    listener.listen()
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """`http://host:port` as it is bound."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


async def _nothing() -> None: ...


async def serve_app(
    app: ASGIApp,
    listener: socket.socket,
    stop: asyncio.Event,
    drain: Callable[[], Awaitable[None]] = _nothing,
    *,
    lifespan: Literal["on", "off"] = "on",
    grace: int = 5,
) -> None:
    """Serves until `stop`, and then until `drain` is done.

    Args:
        app: What answers.
        listener: Where.
        stop: Ends it.
        drain: What is to be done before.
        lifespan: Whether the app wants to hear of its beginning and end.
        grace: Seconds that requests under way have to be answered at the end.
    """
    import uvicorn  # noqa: PLC0415 - not needed where nothing is served

    class Serving(uvicorn.Server):
        """Leaves signals to `stop`: Uvicorn would send them again at its end, before the engine is closed in order."""

        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            ending = asyncio.create_task(self._end())
            try:
                yield
            finally:
                ending.cancel()

        async def _end(self) -> None:
            await stop.wait()
            try:
                await drain()
            finally:
                self.handle_exit(signal.SIGTERM, None)  # streams that last end with it, too

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan=lifespan,
        timeout_graceful_shutdown=grace,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    await Serving(config).serve(sockets=[listener])

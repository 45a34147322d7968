"""How the server is reached: stdio, or streamable HTTP (`/mcp`, both protocol eras) and SSE (`/sse`) on one port."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, BinaryIO

import anyio
from mcp.server import Server
from mcp.server.stdio import stdio_server

from mcp_agent.errors import ConfigError

ENDING = (signal.SIGINT, signal.SIGTERM)
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")


async def serve_stdio(server: Server[Any], stdout: BinaryIO) -> None:
    """Serves one client until its end of the pipe closes.

    Args:
        server: What is served.
        stdout: The protocol's own stream; see `observability.stdio.claim_stdout`.
    """
    wire = anyio.wrap_file(TextIOWrapper(stdout, encoding="utf-8", write_through=True))
    async with stdio_server(stdout=wire) as (read, write):
        await server.run(read, write, server.create_initialization_options())


def http_app(server: Server[Any], host: str) -> Any:
    """The Starlette app. Requests must name a host that is served here: another site's page cannot reach it."""
    from mcp.server.sse import SseServerTransport  # noqa: PLC0415 - not needed for stdio
    from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import Response  # noqa: PLC0415
    from starlette.routing import Mount, Route  # noqa: PLC0415

    names = sorted({*LOCAL_HOSTS, host})
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[form for name in names for form in (name, f"{name}:*")],
        allowed_origins=[f"http://{name}:*" for name in names],
    )
    sse = SseServerTransport("/messages/", security_settings=security)

    async def connect(request: Request) -> Response:
        streams = sse.connect_sse(request.scope, request.receive, request._send)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        async with streams as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    app = server.streamable_http_app(streamable_http_path="/mcp", transport_security=security, host=host)
    app.router.routes += [Route("/sse", connect, methods=["GET"]), Mount("/messages/", app=sse.handle_post_message)]
    return app


def bound_socket(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches off the delay that small answers would wait for.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"Port `{port}` of `{host}` is in use: choose another with `--port` or `server.port`.") from None
        raise ConfigError(f"`{host}:{port}` cannot be served: {error.strerror}.") from None
    listener.listen()
    return listener


async def serve_http(server: Server[Any], listener: socket.socket, host: str) -> None:
    """Serves until SIGINT or SIGTERM; a second one drops the requests that are under way."""
    import uvicorn  # noqa: PLC0415 - not needed for stdio

    class Serving(uvicorn.Server):
        """Uvicorn's own sends the signal again at its end, which would kill the engine before it is closed in order."""

        @contextmanager
        def capture_signals(self) -> Generator[None, None, None]:
            loop = asyncio.get_running_loop()
            for number in ENDING:
                loop.add_signal_handler(number, self.end)
            try:
                yield
            finally:
                for number in ENDING:
                    loop.remove_signal_handler(number)

        def end(self) -> None:
            self.should_exit, self.force_exit = True, self.should_exit

    config = uvicorn.Config(http_app(server, host), log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=5)
    await Serving(config).serve(sockets=[listener])

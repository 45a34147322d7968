"""How the server is reached: streamable HTTP (`/mcp`, both protocol eras) and SSE (`/sse`) on one port."""

from __future__ import annotations

import asyncio
import socket

from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.stopping import on_its_way
from mcp_agent.sockets import serve_app

LAST_CALLS_SECONDS = 0.5
"""How long clients that waited are still served when they have been answered at the server's end: the Python SDK's asks for
the tools then, if it has not before, and its caller would lose the answer."""


async def serve_http(server: AgentServer, listener: socket.socket, host: str, stop: asyncio.Event) -> None:
    """Serves until `stop`. Calls under way are answered before the end."""
    from mcp_agent.server.http_app import http_app  # noqa: PLC0415 - not needed for stdio

    async def drain() -> None:
        await server.drain(LAST_CALLS_SECONDS)
        await on_its_way()  # streams that have been told end by themselves

    async with http_app(server, host) as app:
        await serve_app(app, listener, stop, drain)

"""The server over HTTP: streamable HTTP (`/mcp`, both protocol eras) and SSE (`/sse`, `/messages/`), behind the same checks.

From outside to inside: the names that a request uses (`hosts.py`), who sent it (`auth/gate.py`), its size, its session.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_agent.observability.endpoints import PROBES, Pages, health_pages
from mcp_agent.observability.metrics import SESSIONS
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.auth.gate import open_gate
from mcp_agent.server.hosts import KnownNames, security
from mcp_agent.server.resuming import RETRY_MS, ResumableSessions


@asynccontextmanager
async def http_app(server: AgentServer, host: str) -> AsyncGenerator[Starlette, None]:
    """The app that serves `server` to whom its settings let.

    Args:
        server: What is served.
        host: What is listened on.
    """
    settings, limits = server.settings, server.settings.limits
    sessions = ResumableSessions(
        server.mcp,
        max_request_body_size=limits.max_request_bytes,
        max_sessions=limits.max_sessions,
        retry_interval=RETRY_MS,
    )
    streams = _Streams(server)
    server.metrics.read(SESSIONS, lambda: sessions.open_sessions, transport="streamable_http")
    server.metrics.read(SESSIONS, lambda: streams.open, transport="sse")
    probes = Pages(health_pages(server.health))
    async with open_gate(settings) as gate:
        yield Starlette(
            routes=[
                Route("/mcp", gate.guarded(StreamableHTTPASGIApp(sessions), "mcp")),
                Route("/sse", gate.guarded(streams, "sse"), methods=["GET"]),
                Mount("/messages/", gate.guarded(streams.post, "sse")),
                *(Route(path, probes) for path in PROBES),
                *gate.routes(),
            ],
            middleware=[
                Middleware(_TrimmedHeaders),
                Middleware(KnownNames, security(settings, host), unchecked=PROBES),
                *gate.middleware(),
            ],
            lifespan=lambda _: sessions.run(),
        )


class _TrimmedHeaders:
    """White space around a header's value is no part of it (RFC 9110, 5.5), which not every parser under Uvicorn knows."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        await self._app(scope, receive, send)


class _Streams:
    """The SSE transport: one stream a client, and the messages that clients post."""

    def __init__(self, server: AgentServer) -> None:
        limits = server.settings.limits
        self._server = server
        self._transport = SseServerTransport("/messages/", max_request_body_size=limits.max_request_bytes)
        self._most = limits.max_sessions
        self.open = 0
        self.post: ASGIApp = self._transport.handle_post_message

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Opens a stream, and serves it until the client is gone or the server has drained."""
        if self.open >= self._most:
            await PlainTextResponse("Too many open sessions", 503)(scope, receive, send)
            return
        self.open += 1
        try:
            async with self._transport.connect_sse(scope, receive, send) as (read, write), anyio.create_task_group() as tasks:
                tasks.start_soon(self._end_drained, tasks.cancel_scope)
                await self._server.mcp.run(read, write, self._server.mcp.create_initialization_options())
                tasks.cancel_scope.cancel()
        finally:
            self.open -= 1

    async def _end_drained(self, scope: anyio.CancelScope) -> None:
        await self._server.drained.wait()
        scope.cancel()

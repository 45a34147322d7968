"""The desk's server over HTTP with settings of the test's own, on a free port, in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from starlette.applications import Starlette

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.http_app import http_app
from tests.server import desk
from tests.server.issuer import listening

WAYS = ["http-auto", "http-legacy", "sse-legacy"]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}


@dataclass
class Guarded:
    """A server that listens, and how clients of each kind reach it."""

    app: Starlette
    base: str
    agent: AgentServer

    @asynccontextmanager
    async def client(self, way: str, token: str | None = None, auth: httpx2.Auth | None = None) -> AsyncGenerator[Client, None]:
        """A real client, over one of `WAYS`."""
        kind, _, mode = way.partition("-")
        headers = {} if token is None else bearer(token)
        if kind == "sse":
            async with Client(sse_client(f"{self.base}/sse", headers=headers, auth=auth), mode="legacy") as connected:
                yield connected
            return
        async with httpx2.AsyncClient(headers=headers, auth=auth, timeout=30) as http:
            target: Any = streamable_http_client(f"{self.base}/mcp", http_client=http)
            async with Client(target, mode=mode) as connected:  # type: ignore[arg-type]
                yield connected

    async def begin(self, token: str | None = None, **headers: str) -> httpx2.Response:
        """A raw `initialize`."""
        given = {"Accept": "application/json, text/event-stream", **({} if token is None else bearer(token)), **headers}
        async with httpx2.AsyncClient(timeout=30) as http:
            return await http.post(f"{self.base}/mcp", json=INITIALIZE, headers=given)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def guarded(
    host: str = "127.0.0.1",
    public_url: str | None = "",
    app: MCPApp | None = None,
    settings: Mapping[str, Any] | None = None,
    **server: Any,
) -> AbstractAsyncContextManager[Guarded]:
    """The desk, or `app`, with this `server` section; its `public_url` is where it listens, unless another is given."""
    served = app or desk.make()

    @asynccontextmanager
    async def make(base: str) -> AsyncGenerator[Guarded, None]:
        address = {} if public_url is None else {"public_url": public_url or base}
        section = {"wait_budget_seconds": 5, **address, **server}
        served.use(Settings.model_validate({**(settings or {}), "server": section}))
        async with AgentServer.open(served) as agent, http_app(agent, host) as listening_app:
            yield Guarded(listening_app, base, agent)

    return listening(make)

"""What `serve` and `worker` do once everything is loaded."""

from __future__ import annotations

import contextlib
import gc
import os
import stat
import sys
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Literal

from mcp_agent.app import MCPApp
from mcp_agent.observability.endpoints import endpoints
from mcp_agent.observability.health import Look
from mcp_agent.observability.metrics import SESSIONS
from mcp_agent.observability.stdio import Wire
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.hosts import check_binding
from mcp_agent.server.stdio import serve_stdio
from mcp_agent.server.stopping import on_signals
from mcp_agent.server.transports import serve_http
from mcp_agent.sockets import address_of, bound_socket


async def over_stdio(app: MCPApp, wire: Wire) -> None:
    """Serves one client until it closes its end, or until SIGINT or SIGTERM."""
    _imported()
    with on_signals() as stop:
        async with AgentServer.open(app, _settle) as server, _observed(app, server.health):
            server.metrics.read(SESSIONS, lambda: 1, transport="stdio")
            await serve_stdio(server, wire, stop)


async def over_http(app: MCPApp, host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM. Raises ConfigError for an address that cannot be served, before anything starts."""
    _imported()
    check_binding(app.settings.server, host)
    listener = bound_socket(host, port, "choose another with `--port` or `server.port`")
    with contextlib.closing(listener), on_signals() as stop:
        async with AgentServer.open(app, _settle) as server, _observed(app, server.health):
            address = address_of(listener, host)
            sys.stderr.write(f"{app.name}: {len(server.tools.names)} tools at {address}/mcp (SSE: {address}/sse)\n")
            if _started_by_a_client():
                sys.stderr.write(
                    "mcp-agent: standard input is not read: a client that starts this server itself needs `--stdio`\n"
                )
            await serve_http(server, listener, host, stop)


def _started_by_a_client() -> bool:
    """Whether standard input is somebody's pipe, as that of servers is which clients start. Node's pipes are sockets."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:  # it is closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def work(app: MCPApp, queues: Literal[True] | Collection[str]) -> None:
    """Serves all queues, or some, until SIGINT or SIGTERM; steps under way are given their time to end."""
    _imported()
    with on_signals() as stop:
        async with app.open_executor(worker=queues) as executor, _observed(app, executor.health):
            only = "" if queues is True else f", queues {', '.join(queues)} only"
            sys.stderr.write(f"{app.name}: a worker for {len(app.workflows)} workflows{only}\n")
            _settle()
            await stop.wait()


def _imported() -> None:
    """Turns the garbage collector on, which the command line has turned off, but spares what has been imported."""
    gc.freeze()
    gc.enable()


def _settle() -> None:
    """What start-up has made stays, so it is taken out of the sight of the garbage collector: to go through it all takes tens of
    milliseconds, again and again while calls are answered."""
    gc.collect()
    gc.freeze()


def _observed(app: MCPApp, look: Look) -> AbstractAsyncContextManager[None]:
    return endpoints(app.settings.observability, app.telemetry.metrics, look)

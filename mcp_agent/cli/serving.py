"""What `serve` and `worker` do once everything is loaded."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import BinaryIO

from mcp_agent.app import MCPApp
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.transports import bound_socket, serve_http, serve_stdio


async def over_stdio(app: MCPApp, stdout: BinaryIO) -> None:
    """Serves one client until it closes its end; SIGTERM ends it too."""
    with ended_by_sigterm():
        async with AgentServer.open(app) as server:
            await serve_stdio(server.mcp, stdout)


async def over_http(app: MCPApp, host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM. Raises ConfigError for a port in use, before anything is started."""
    listener = bound_socket(host, port)
    with contextlib.closing(listener):
        async with AgentServer.open(app) as server:
            address = f"http://{host}:{listener.getsockname()[1]}"
            sys.stderr.write(f"{app.name}: {len(server.tool_names)} tools at {address}/mcp (SSE: {address}/sse)\n")
            await serve_http(server.mcp, listener, host)


async def work(app: MCPApp) -> None:
    """Serves runs until SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with app.open_executor(worker=True):
        sys.stderr.write(f"{app.name}: a worker for {len(app.workflows)} workflows\n")
        await stopped.wait()


@contextmanager
def ended_by_sigterm() -> Generator[None, None, None]:
    """SIGTERM cancels the current task, so that everything is closed in order."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    terminated = False

    def end() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield
    except asyncio.CancelledError:
        if not terminated:
            raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)

"""Start-up and calls of a server."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
from mcp import Client

from benchmarks.harness import ROOT, Bench, Row, Served, initialized, ms, pairs, timed

CALLS = 200


async def start_up(bench: Bench) -> list[Row]:
    ours, floor = await pairs(lambda: initialized(bench.ours()), lambda: initialized(bench.floor("server")), 25)
    return [Row("process start to `initialize` answered, stdio, Temporal configured", ms(ours), ms(floor), ours / floor, 1.3)]


async def calls_over_stdio(bench: Bench) -> list[Row]:
    async with Client(bench.ours("asyncio")) as ours, Client(bench.floor("server")) as floor:
        return [await _calls("stdio", ours, floor)]


async def calls_over_http(bench: Bench) -> list[Row]:
    floor_command = [sys.executable, "-m", "benchmarks.floor.server"]
    async with (
        ours_over_http(bench, "asyncio") as one,
        listening(bench, floor_command) as two,
        Client(one.url) as ours,
        Client(two.url) as floor,
    ):
        return [await _calls("HTTP", ours, floor)]


def ours_over_http(bench: Bench, engine: str, app: str = "benchmarks.desk:app") -> AbstractAsyncContextManager[Served]:
    """This project's server on a benchmark app."""
    target = bench.ours(engine, app)
    return listening(bench, [target.command, *(a for a in target.args if a != "--stdio"), "--port"])


async def _calls(way: str, ours: Client, floor: Client) -> Row:
    arguments = {"a": 1, "b": 2}
    measured = await pairs(
        lambda: timed(lambda: ours.call_tool("add", arguments)),
        lambda: timed(lambda: floor.call_tool("add", arguments)),
        CALLS,
        warm=20,
    )
    return Row(f"a synchronous `@app.tool` call, {way}, p50", ms(measured[0]), ms(measured[1]), measured[0] / measured[1], 1.25)


@asynccontextmanager
async def listening(bench: Bench, command: list[str], *more: str) -> AsyncGenerator[Served, None]:
    """A server of that command, a free port and `more`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, str(port), *more], cwd=ROOT, env=bench.environment(), stderr=subprocess.DEVNULL)
    try:
        with anyio.fail_after(20):
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                await anyio.sleep(0.05)
        yield Served(f"http://127.0.0.1:{port}/mcp", process.pid)
    finally:
        process.terminate()
        process.wait()

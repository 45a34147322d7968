"""Memory of an idle server, and what calls leave behind."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from benchmarks.harness import Bench, Row, resident
from benchmarks.running import opened
from mcp_agent.executor.temporal.dev_server import status

CALLS = 5_000
SETTLE = 5.0


async def memory(bench: Bench) -> list[Row]:
    bench.ours()
    async with opened(bench):
        server = status(bench.folder / "data")
        assert server is not None
        floor = bench.floor("idle")
        floor.env = {**(floor.env or {}), "FLOOR_ADDRESS": server.address}
        bare = await _idle(floor)
        ours, growth = await _idle_and_growth(bench.ours())
    return [
        Row("memory of the idle server process", f"{ours / 1e6:.0f} MB", f"{bare / 1e6:.0f} MB", ours / bare, 1.3),
        Row(f"growth over {CALLS:,} calls, KB a call", f"{growth:.3f}", "0", growth, 0.2),
    ]


async def _idle(target: StdioServerParameters) -> int:
    async with Client(target) as client:
        await client.list_tools()
        await anyio.sleep(SETTLE)
        return resident(_child())


async def _idle_and_growth(target: StdioServerParameters) -> tuple[int, float]:
    async with Client(target) as client:
        await client.list_tools()
        await client.call_tool("workflows-runs-list", {})
        await anyio.sleep(SETTLE)
        pid = _child()
        idle = resident(pid)
        await _calls(client, 1_000)
        before = resident(pid)
        await _calls(client, CALLS)
        return idle, max(resident(pid) - before, 0) / CALLS / 1_000


async def _calls(client: Client, count: int) -> None:
    for number in range(count):
        await client.call_tool("add", {"a": number, "b": 1})


def _child() -> int:
    """The server that this process started last."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return int(children[-1])

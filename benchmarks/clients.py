"""What clients over HTTP meet in the server itself: its throughput, long lists, many who wait, and how soon news is told."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from time import perf_counter, time
from typing import Any

from mcp import Client
from mcp_types import ResourceUpdatedNotification

from benchmarks.harness import Bench, Row, Served, ms, pairs
from benchmarks.serving import listening, ours_over_http
from benchmarks.wire import Wire, call, request

AT_ONCE = 16
CALLS = 640
LISTS = 16
ROUNDS = 11
WORKFLOWS = 100
WAITS = 1_000
RAMP = 20.0
"""Seconds in which they come."""
LOOKS = 2_000
TOKEN = "a-token-of-the-benchmark"
CHANGES, EVERY = 25, 0.5
"""How often a run tells of itself, and after how many seconds."""
TOLD_WITHIN = 0.3
CLOCK = "benchmarks.clock:app"


# Throughput


async def http_status(bench: Bench) -> list[Row]:
    """`get_status` with an engine that answers at once, against a bare server that gives the same answer."""
    return [await _status(bench, None), await _status(bench, TOKEN)]


async def _status(bench: Bench, token: str | None) -> Row:
    async with _both(bench, 1, token) as (ours, floor):
        run_id = await _begun(ours, token)

        async def calls(server: Served) -> float:
            return await _cpu(server, call(server.url, "workflows-Work0-get_status", {"run_id": run_id}, token), CALLS)

        one, two = await pairs(lambda: calls(ours), lambda: calls(floor), ROUNDS)
    who = "" if token is None else ", with a token"
    what = f"`get_status` over HTTP, {AT_ONCE} at once{who}: calls in a second of the server's CPU time"
    return Row(what, f"{1 / one:.0f}/s", f"{1 / two:.0f}/s", two / one, 0.85, at_least=True)


async def tool_list(bench: Bench) -> list[Row]:
    """`tools/list` against a bare server that gives the same list."""

    async def lists(server: Served) -> float:
        return await _cpu(server, request(server.url, "tools/list", {}), LISTS)

    async with _both(bench, WORKFLOWS, None) as (ours, floor):
        one, two = await pairs(lambda: lists(ours), lambda: lists(floor), 5)
    return [Row(f"`tools/list` of {WORKFLOWS} workflows over HTTP, CPU time", ms(one), ms(two), one / two, 1.3)]


@asynccontextmanager
async def _both(bench: Bench, workflows: int, token: str | None) -> AsyncGenerator[tuple[Served, Served], None]:
    """This project's server, and a bare one that gives its answers."""
    more = () if token is None else (token,)
    file = bench.folder / "answers.json"
    async with listening(bench, [sys.executable, "-m", "benchmarks.stubbed"], str(workflows), *more) as ours:
        async with Wire.connected(ours.url) as wire:
            listed = await wire.result(request(ours.url, "tools/list", {}, token))
            status = {"run_id": await _begun(ours, token)}
            result = await wire.result(call(ours.url, "workflows-Work0-get_status", status, token))
        file.write_text(json.dumps({"tools": listed, "result": result}))
        async with listening(bench, [sys.executable, "-m", "benchmarks.floor.answering"], str(file), *more) as floor:
            yield ours, floor


async def _begun(server: Served, token: str | None) -> str:
    """The id of a run, which is the caller's."""
    arguments = {"run_parameters": {"topic": "x"}, "wait_seconds": 0}
    async with Wire.connected(server.url) as wire:
        return (await wire.result(call(server.url, "workflows-Work0-run", arguments, token)))["structuredContent"]["run_id"]


async def _cpu(server: Served, sent: bytes, count: int) -> float:
    """Seconds of the server's processor time for one answer, where so many clients ask all the time."""

    async def ask() -> None:
        async with Wire.connected(server.url) as wire:
            for _ in range(count // AT_ONCE):
                await wire.answer(sent)

    before = server.cpu()
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return (server.cpu() - before) / (count // AT_ONCE * AT_ONCE)


# Many who wait


async def waits(bench: Bench) -> list[Row]:
    """Each waits for a run of its own, in-process, while somebody else looks at another run all the time."""
    async with ours_over_http(bench, "asyncio", CLOCK) as server, Wire.connected(server.url) as wire:
        looked_at = await _sleeper(server, wire)
        look = call(server.url, "workflows-Sleep-get_status", {"run_id": looked_at})
        await _looks(wire, look)
        idle, alone = server.resident(), await _looks(wire, look)
        runs = [await _sleeper(server, wire) for _ in range(WAITS)]
        waiting = asyncio.gather(*(_wait(server, run_id, RAMP * n / WAITS) for n, run_id in enumerate(runs)))
        beside, peak = list[float](), idle
        while not waiting.done():
            beside += await _looks(wire, look, 50)
            peak = max(peak, server.resident())
        await waiting
    added, (one, two) = peak - idle, (_percentile(beside, 99), _percentile(alone, 99))
    return [
        Row(f"memory of {WAITS:,} runs and who waits for them, over idle", f"{added / 1e6:.0f} MB", "300 MB", added / 3e8, 1),
        Row(f"`get_status` beside {WAITS:,} who wait, p99, against none", ms(one), ms(two), one / two, 3),
    ]


async def _sleeper(server: Served, wire: Wire) -> str:
    started = await wire.result(call(server.url, "workflows-Sleep-run", {"run_parameters": {"seconds": 600}, "wait_seconds": 0}))
    return started["structuredContent"]["run_id"]


async def _wait(server: Served, run_id: str, delay: float) -> None:
    await asyncio.sleep(delay)
    async with Wire.connected(server.url) as wire:
        run = await wire.result(call(server.url, "workflows-Sleep-get_status", {"run_id": run_id, "wait_seconds": 20}))
    assert run["structuredContent"]["status"] == "running", run


async def _looks(wire: Wire, look: bytes, count: int = LOOKS) -> list[float]:
    """Seconds that each of so many looks takes, one after the other."""
    taken: list[float] = []
    for _ in range(count):
        begin = perf_counter()
        await wire.answer(look)
        taken.append(perf_counter() - begin)
    return taken


def _percentile(values: Sequence[float], which: int) -> float:
    return statistics.quantiles(values, n=100)[which - 1]


# How soon news is told


async def told(bench: Bench) -> list[Row]:
    """From the moment at which a run's code tells of its progress to the client that listens, by each way to listen."""
    rows: list[Row] = []
    for engine in ("asyncio", "temporal"):
        async with ours_over_http(bench, engine, CLOCK) as server, Wire.connected(server.url) as wire:
            for name, way in {"task": _task, "resource": _resource, "session": _session}.items():
                late = await _lateness(server, wire, way)
                middle, slow = statistics.median(late), _percentile(late, 95)
                what = f"news of a run reaches a client, {engine}, by {name}: p50, p95"
                rows.append(Row(what, f"{ms(middle)}, {ms(slow)}", ms(TOLD_WITHIN), slow / TOLD_WITHIN, 1))
    return rows


Way = Callable[[Served, str, list[float]], Awaitable[None]]


async def _lateness(server: Served, wire: Wire, way: Way) -> list[float]:
    """Seconds from each change of a run to the first word of it."""
    parameters = {"times": CHANGES, "every": EVERY}
    started = await wire.result(call(server.url, "workflows-Tell-run", {"run_parameters": parameters, "wait_seconds": 0}))
    run_id = started["structuredContent"]["run_id"]
    heard: list[float] = []
    listening = asyncio.create_task(way(server, run_id, heard))
    status = "running"
    while status in ("running", "queued"):
        look = call(server.url, "workflows-Tell-get_status", {"run_id": run_id, "wait_seconds": 20})
        run = (await wire.result(look))["structuredContent"]
        status = run["status"]
    await asyncio.sleep(EVERY)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    return [min(arrived for arrived in heard if arrived >= at) - at for at in run["result"][1:]]


async def _task(server: Served, run_id: str, heard: list[float]) -> None:
    await _listen(server, {"taskIds": [run_id]}, heard)


async def _resource(server: Served, run_id: str, heard: list[float]) -> None:
    await _listen(server, {"resourceSubscriptions": [f"run://{run_id}"]}, heard)


async def _listen(server: Served, wanted: dict[str, Any], heard: list[float]) -> None:
    """Through a stream of the protocol of 2026-07-28."""
    sent = request(server.url, "subscriptions/listen", {"notifications": wanted}, tasks=True)
    async with Wire.connected(server.url) as wire, aclosing(wire.events(sent)) as events:
        async for _ in events:
            heard.append(time())


async def _session(server: Served, run_id: str, heard: list[float]) -> None:
    """Through a session of the time before."""

    async def note(message: Any) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            heard.append(time())

    async with Client(server.url, mode="legacy", message_handler=note) as client:
        await client.subscribe_resource(f"run://{run_id}")
        await asyncio.Event().wait()

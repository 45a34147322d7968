"""What production asks for: encryption, a second worker, very many open runs, memory for the runs that a worker keeps."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import statistics
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mcp import Client as McpClient
from mcp.client.stdio import StdioServerParameters
from temporalio.client import Client

from benchmarks.harness import ROOT, Bench, Row, ms, pairs, resident, timed
from benchmarks.model import MeasuredWorker, worker
from benchmarks.waiting import WAIT, app
from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal.executor import TemporalExecutor

WORDS = " ".join(f"word{number % 97}" for number in range(700))
"""About 5 KB."""
STEPS = 10
SLOTS, RUNS, WAITS = 8, 64, 2
FEW, VERY_MANY, LOOKS = 100, 10_000, 1_000
STARTING = 32
CACHED = 1_000


async def encryption(bench: Bench) -> list[Row]:
    """Ten steps that get and give 5 KB of text, encrypted after compression, and in clear."""
    key = base64.b64encode(os.urandom(32)).decode()
    stored = {"data_converter": {"encryption_key": key, "compress": "zstd"}}
    async with _opened(bench, "sealed", stored) as ours, _opened(bench, "clear", {}) as floor:
        one, two = await pairs(lambda: _carry(ours), lambda: _carry(floor), 40, warm=5)
    return [
        Row(f"{STEPS} steps with 5 KB each, encrypted and compressed against in clear, p50", ms(one), ms(two), one / two, 1.15)
    ]


async def _carry(executor: Executor) -> float:
    async def run() -> None:
        await (await executor.start_workflow("Carry", WORDS, STEPS)).result()

    return await timed(run)


@asynccontextmanager
async def _opened(
    bench: Bench, queue: str, more: dict[str, Any], *, works: bool = True
) -> AsyncGenerator[TemporalExecutor, None]:
    temporal = {"binary": bench.binary, "data_dir": bench.folder / "data", "task_queue": queue, **more}
    app.use(Settings(execution_engine="temporal", temporal=temporal))
    async with app.open_executor(worker=works) as executor:
        assert isinstance(executor, TemporalExecutor)
        yield executor


async def two_workers(bench: Bench) -> list[Row]:
    """Steps that wait, as for a model: the places for steps are what there is too little of, and not the processor."""
    async with AsyncExitStack() as stack:
        client = (await stack.enter_async_context(_opened(bench, "nobody", {}, works=False))).client
        for queue in ("one", "two", "two"):
            await stack.enter_async_context(worker(bench, client, "benchmarks.waiting_worker", str(SLOTS), queue=queue))
        one, two = await pairs(lambda: _throughput(client, "two"), lambda: _throughput(client, "one"), 3)
    what = f"steps that wait {WAIT:g} s, {SLOTS} at once in each of two worker processes against one"
    return [Row(what, f"{one:.1f}/s", f"{two:.1f}/s", one / two, 1.7, at_least=True)]


async def _throughput(client: Client, queue: str) -> float:
    async def run() -> None:
        await client.execute_workflow("Wait", WAITS, id=uuid.uuid4().hex, task_queue=queue)

    return RUNS * WAITS / await timed(lambda: asyncio.gather(*(run() for _ in range(RUNS))))


async def open_runs(bench: Bench) -> list[Row]:
    """`get_status` of any of the open runs, by a server that runs none of them."""
    async with AsyncExitStack() as stack:
        executor = await stack.enter_async_context(_opened(bench, "open", {}, works=False))
        await stack.enter_async_context(worker(bench, executor.client, "benchmarks.waiting_worker", str(SLOTS), queue="open"))
        server = await stack.enter_async_context(McpClient(_server(bench, "open")))
        runs = await _open(executor.client, "open", FEW)
        few = await _p99(server, runs)
        runs += await _open(executor.client, "open", VERY_MANY - FEW)
        very_many = await _p99(server, runs)
    what = f"`get_status` with {VERY_MANY:,} open runs against {FEW}, p99"
    return [Row(what, ms(very_many), ms(few), very_many / few, 2)]


async def _p99(server: McpClient, runs: list[str]) -> float:
    async def look() -> None:
        answer = await server.call_tool("workflows-Open-get_status", {"run_id": random.choice(runs)})
        assert (answer.structured_content or {})["status"] == "waiting_for_input", answer

    for _ in range(50):
        await look()
    return statistics.quantiles([await timed(look) for _ in range(LOOKS)], n=100)[-1]


async def cached_runs(bench: Bench) -> list[Row]:
    """What a worker process holds of memory for each run that it keeps between its events."""
    async with _opened(bench, "nobody", {}, works=False) as executor:
        client = executor.client
        async with worker(bench, client, "benchmarks.waiting_worker", str(SLOTS), queue="kept") as ours:
            one = await _memory_a_run(client, "kept", ours)
        async with worker(bench, client, "benchmarks.floor.waiting", queue="kept-by-bare") as bare:
            two = await _memory_a_run(client, "kept-by-bare", bare)
    what = f"memory of a worker for each of {CACHED:,} runs that it keeps, against a bare worker"
    return [Row(what, f"{one / 1e3:.0f} KB", f"{two / 1e3:.0f} KB", one / two, 2)]


async def _memory_a_run(client: Client, queue: str, one: MeasuredWorker) -> float:
    await _open(client, queue, 20)
    before = resident(one.pid)
    await _open(client, queue, CACHED)
    return (resident(one.pid) - before) / CACHED


async def _open(client: Client, queue: str, number: int) -> list[str]:
    """Starts so many runs, and gives their ids when all of them wait."""
    at_once = asyncio.Semaphore(STARTING)

    async def start() -> str:
        async with at_once:
            handle = await client.start_workflow("Open", id=f"Open.{uuid.uuid4().hex}", task_queue=queue)
            while True:
                described = await handle.describe()
                if described.history_length >= 4 and not described.raw_description.HasField("pending_workflow_task"):
                    return handle.id
                await asyncio.sleep(0.05)

    return list(await asyncio.gather(*(start() for _ in range(number))))


def _server(bench: Bench, queue: str) -> StdioServerParameters:
    """This project's server, which runs no workflows itself."""
    config = bench.folder / "open.yaml"
    config.write_text(
        "execution_engine: temporal\nserver: {app: 'benchmarks.waiting:app', worker: false}\nlogger: {transports: [none]}\n"
        f"temporal: {{binary: '{bench.binary}', task_queue: {queue}}}\n"
    )
    command = ["-m", "mcp_agent.cli", "serve", "--stdio", "--config", str(config)]
    return StdioServerParameters(command=sys.executable, args=command, env=bench.environment(), cwd=ROOT)

"""Runs on Temporal: latency, throughput, status, steps, history."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import perf_counter

from mcp import Client as McpClient
from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.desk import app
from benchmarks.floor.flows import FloorTen, FloorTrivial, step
from benchmarks.harness import Bench, Row, ms, pairs, timed
from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.keeper import _free_port

QUEUE = "floor"
AT_ONCE = 200


@asynccontextmanager
async def opened(bench: Bench) -> AsyncGenerator[TemporalExecutor, None]:
    """This project's engine on its embedded Temporal, with a worker; the bare worker runs on the same server."""
    settings = Settings(
        execution_engine="temporal",
        temporal={"binary": bench.binary, "data_dir": bench.folder / "data"},
        scripted={"file": bench.folder / "script.yaml"},
    )
    app.use(settings)
    async with app.open_executor(worker=True) as executor:
        assert isinstance(executor, TemporalExecutor)
        yield executor


def bare_worker(client: Client) -> Worker:
    return Worker(client, task_queue=QUEUE, workflows=[FloorTrivial, FloorTen], activities=[step])


async def run_tool(bench: Bench) -> list[Row]:
    bench.ours()
    async with McpClient(bench.ours()) as client, opened(bench) as executor:
        bare = await Client.connect(executor.client.service_client.config.target_host)
        async with bare_worker(bare):

            async def ours() -> float:
                return await timed(lambda: client.call_tool("workflows-Trivial-run", {"run_parameters": {"name": "x"}}))

            async def floor() -> float:
                return await timed(lambda: bare.execute_workflow(FloorTrivial.run, "x", id=uuid.uuid4().hex, task_queue=QUEUE))

            one, two = await pairs(ours, floor, 40, warm=5)
    return [Row("`workflows-<Name>-run` of a trivial workflow with wait, p50", ms(one), ms(two), one / two, 1.25)]


async def at_once(bench: Bench) -> list[Row]:
    bench.ours()
    async with opened(bench) as executor:
        bare = await Client.connect(executor.client.service_client.config.target_host)
        async with bare_worker(bare):

            async def ours() -> float:
                async def one() -> None:
                    handle = await executor.start_workflow("Trivial", "x")
                    await handle.result()

                return AT_ONCE / await timed(lambda: asyncio.gather(*(one() for _ in range(AT_ONCE))))

            async def floor() -> float:
                async def one() -> None:
                    await bare.execute_workflow(FloorTrivial.run, "x", id=uuid.uuid4().hex, task_queue=QUEUE)

                return AT_ONCE / await timed(lambda: asyncio.gather(*(one() for _ in range(AT_ONCE))))

            one, two = await pairs(ours, floor, 5)
    return [Row(f"{AT_ONCE} trivial runs at once", f"{one:.0f}/s", f"{two:.0f}/s", one / two, 0.8, at_least=True)]


async def status(bench: Bench) -> list[Row]:
    bench.ours()
    async with McpClient(bench.ours()) as client:
        ids = {steps: await _waiting(client, steps) for steps in (1, 332)}

        async def look(steps: int) -> float:
            return await timed(lambda: client.call_tool("workflows-Many-get_status", {"run_id": ids[steps]}))

        large, small = await pairs(lambda: look(332), lambda: look(1), 100, warm=5)
        for run_id in ids.values():
            await client.call_tool("workflows-Many-cancel", {"run_id": run_id})
    return [Row("`get_status` of a run with 2,000 events against one with 10, p50", ms(large), ms(small), large / small, 1.5)]


async def _waiting(client: McpClient, steps: int) -> str:
    run = await client.call_tool("workflows-Many-run", {"run_parameters": {"steps": steps}})
    while True:
        data = run.structured_content or {}
        if data["status"] == "waiting_for_input":
            return data["run_id"]
        run = await client.call_tool("workflows-Many-get_status", {"run_id": data["run_id"], "wait_seconds": 20})


async def ten_steps(bench: Bench) -> list[Row]:
    bench.ours()
    async with opened(bench) as executor, _stock(bench) as stock, bare_worker(stock):

        async def ours() -> float:
            return await timed(lambda: _result(executor, "Ten"))

        async def floor() -> float:
            return await timed(lambda: stock.execute_workflow(FloorTen.run, id=uuid.uuid4().hex, task_queue=QUEUE))

        one, two = await pairs(ours, floor, 15, warm=2)
    return [Row("ten sequential steps, embedded Temporal against a stock dev server, p50", ms(one), ms(two), one / two, 0.4)]


async def _result(executor: Executor, name: str, *args: object) -> None:
    await (await executor.start_workflow(name, *args)).result()


@asynccontextmanager
async def _stock(bench: Bench) -> AsyncGenerator[Client, None]:
    """`temporal server start-dev` as it comes, on a file."""
    port = _free_port()
    command = [str(bench.binary), "server", "start-dev", "--headless", "--port", str(port), "--log-level", "error"]
    command += ["--db-filename", str(bench.folder / "stock.db")]
    with (bench.folder / "stock.log").open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = perf_counter() + 30
        while True:
            try:
                client = await Client.connect(f"127.0.0.1:{port}")
                break
            except RuntimeError:
                if perf_counter() > deadline:
                    raise
                await asyncio.sleep(0.1)
        yield client
    finally:
        process.terminate()
        process.wait()


async def history(bench: Bench) -> list[Row]:
    bench.ours()
    turns = 40
    async with opened(bench) as executor:
        handle = await executor.start_workflow("Talk", turns)
        await handle.result()
        events = (await handle.temporal.fetch_history()).events
    size = sum(event.ByteSize() for event in events)
    said = sum(len(f"turn {turn}") + 5_000 for turn in range(turns))
    return [
        Row(
            f"history of a {turns}-turn conversation with 5 KB a turn", f"{size:,} B", f"{said:,} B of messages", size / said, 1.3
        )
    ]

"""What the programming model costs: steps, starts and replays against bare temporalio, and runs of the in-process engine.

All of it is CPU time, which a busy machine does not stretch as it stretches the clock's.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from benchmarks.counting import app
from benchmarks.floor import counting, greeting
from benchmarks.greeting import Greet
from benchmarks.harness import ROOT, Bench, Row, ms, pairs
from benchmarks.running import opened
from mcp_agent.config import Settings
from mcp_agent.executor.temporal.plugin import AgentPlugin

RUNS_AT_ONCE, STEPS = 5, 20
STARTS = 50
EVENTS = 5_000
IN_PROCESS = 1_000


class MeasuredWorker:
    """A worker in a process of its own, which tells its CPU seconds."""

    def __init__(self, process: asyncio.subprocess.Process, client: Client, queue: str) -> None:
        self._process = process
        self._client = client
        self._queue = queue

    @property
    def pid(self) -> int:
        return self._process.pid

    async def cpu(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return float(await self._process.stdout.readline())

    async def run(self, workflow: str, *args: object) -> str:
        """Runs a workflow to its end and gives its id."""
        run_id = uuid.uuid4().hex
        await self._client.execute_workflow(workflow, args=args, id=run_id, task_queue=self._queue)
        return run_id

    async def cpu_a_step(self, raw: bool) -> float:
        """CPU seconds a step, start of the runs included."""
        before = await self.cpu()
        await asyncio.gather(*(self.run("Count", STEPS, raw) for _ in range(RUNS_AT_ONCE)))
        return (await self.cpu() - before) / (RUNS_AT_ONCE * STEPS)

    async def history(self, workflow: str, *args: object) -> WorkflowHistory:
        return await self._client.get_workflow_handle(await self.run(workflow, *args)).fetch_history()


@asynccontextmanager
async def worker(
    bench: Bench, client: Client, module: str, *more: str, queue: str | None = None
) -> AsyncGenerator[MeasuredWorker, None]:
    """On a queue that is called as the module by default."""
    queue = queue or module
    command = [sys.executable, "-m", module, client.service_client.config.target_host, queue, *more]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=bench.environment(), cwd=ROOT)
    try:
        yield MeasuredWorker(process, client, queue)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def workers(bench: Bench) -> AsyncGenerator[tuple[MeasuredWorker, MeasuredWorker], None]:
    """This project's worker and a bare one, on one server."""
    bench.ours()
    async with opened(bench) as executor:
        client = await Client.connect(executor.client.service_client.config.target_host)
        async with worker(bench, client, "benchmarks.worker") as ours, worker(bench, client, "benchmarks.floor.worker") as floor:
            yield ours, floor


async def facade(bench: Bench) -> list[Row]:
    async with workers(bench) as (ours, floor):
        step, raw = await pairs(lambda: ours.cpu_a_step(False), lambda: ours.cpu_a_step(True), 7)
        again, bare = await pairs(lambda: ours.cpu_a_step(False), lambda: floor.cpu_a_step(True), 7)
    what = "a step, worker CPU, against"
    return [
        Row(f"{what} Temporal's own call in the same workflow", ms(step), ms(raw), step / raw, 1.1),
        Row(f"{what} a bare workflow and activity on a bare worker", ms(again), ms(bare), again / bare, 1.1),
    ]


async def sandbox(bench: Bench) -> list[Row]:
    """Histories of runs that do nothing are replayed: nothing but starts is measured."""
    async with workers(bench) as (ours, floor):
        recorded, plain = await asyncio.gather(ours.history("Greet", "x"), floor.history("Greet", "x"))
    app.use(Settings())
    one = Replayer(workflows=[Greet], plugins=[AgentPlugin(app, {})])
    two = Replayer(workflows=[greeting.Greet])
    start, bare = await pairs(lambda: cpu_a_start(one, recorded), lambda: cpu_a_start(two, plain), 15)
    return [Row("start of a run in Temporal's sandbox, CPU", ms(start), ms(bare), start / bare, 1.2)]


async def cpu_a_start(replayer: Replayer, history: WorkflowHistory) -> float:
    async def histories() -> AsyncIterator[WorkflowHistory]:
        for _ in range(STARTS):
            yield history

    return await cpu(lambda: replayer.replay_workflows(histories())) / STARTS


async def replay(bench: Bench) -> list[Row]:
    steps = EVENTS // 6
    async with workers(bench) as (ours, floor):
        recorded, plain = await asyncio.gather(ours.history("Count", steps, False), floor.history("Count", steps, True))
    app.use(Settings())
    one, two = app.replayer(), Replayer(workflows=[counting.Count])
    whole, bare = await pairs(
        lambda: cpu(lambda: one.replay_workflow(recorded)), lambda: cpu(lambda: two.replay_workflow(plain)), 5
    )
    return [Row(f"replay of a run with {len(recorded.events):,} events, CPU", ms(whole), ms(bare), whole / bare, 1.2)]


async def cpu(call: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds of this process while it waits for `call`."""
    before = time.process_time()
    await call()
    return time.process_time() - before


async def in_process(bench: Bench) -> list[Row]:
    app.use(Settings(execution_engine="asyncio"))
    async with app.open_executor() as executor:

        async def runs() -> None:
            for _ in range(IN_PROCESS):
                await (await executor.start_workflow("Greet", "x")).result()

        async def tasks() -> None:
            for number in range(IN_PROCESS):
                await asyncio.create_task(counting.step(number))

        async def steps() -> None:
            await (await executor.start_workflow("Count", IN_PROCESS, False)).result()

        async def awaits() -> None:
            for number in range(IN_PROCESS):
                await counting.step(number)

        run, task = await pairs(lambda: cpu(runs), lambda: cpu(tasks), 15)
        step, plain = await pairs(lambda: cpu(steps), lambda: cpu(awaits), 15)
    rate, more = IN_PROCESS / run, (step - plain) / IN_PROCESS * 1e6
    return [
        Row("trivial runs in-process, a CPU second", f"{rate:,.0f}", f"{IN_PROCESS / task:,.0f} tasks", rate, 3_000, True),
        Row("a step in-process over a plain `await`, µs", *(f"{s / IN_PROCESS * 1e6:.1f} µs" for s in (step, plain)), more, 100),
    ]

"""Callers of one queue get their shares of it, on a Temporal that has fairness on."""

import asyncio
from collections import Counter

import pytest

from mcp_agent.config import Settings
from mcp_agent.executor.priority import CallerPriority
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.worker import create_temporal_worker_for_app
from tests.executor.temporal import queues_app
from tests.executor.temporal.conftest import StartServer
from tests.executor.temporal.queues_app import app
from tests.support import until

pytestmark = pytest.mark.anyio
RUNS = 24
FAIR = {
    "matching.enableFairness": True,
    "matching.numTaskqueueReadPartitions": 1,  # each keeps the shares for itself
    "matching.numTaskqueueWritePartitions": 1,
    "history.transferProcessorMaxPollRPS": 1000,
}


@pytest.mark.promise("issue 7: priorities and fairness keys per caller")
async def test_a_caller_with_a_larger_weight_gets_as_much_more_done_and_nobody_waits_for_the_others_to_end(
    start_server: StartServer,
):
    host, port = (await start_server(FAIR)).split(":")
    queues = {"steps": {"max_concurrent_activities": 1, "activity_pollers": 2}}
    section = {"host": host, "port": int(port), "task_queue": "fair", "queues": queues}
    app.use(Settings.model_validate({"execution_engine": "temporal", "temporal": section}))
    queues_app.done.clear()
    async with app.open_executor(worker=["workflows"]) as executor:
        assert isinstance(executor, TemporalExecutor)
        for caller, weight in (("ann", 1), ("ben", 5)):  # all of ann's come first
            for number in range(RUNS):
                await executor.start_run(
                    app.workflows["Notes"],
                    [caller],
                    run_id=f"{caller}.Notes.{number}",
                    input_digest="x",
                    priority=CallerPriority(weight=weight),
                )

            async def wait_for_turns(caller: str = caller) -> bool:
                return all([(await executor.describe_run(f"{caller}.Notes.{number}")).steps for number in range(RUNS)])

            await until(wait_for_turns)
        async with create_temporal_worker_for_app(app, queues=["steps"]) as worker:
            running = asyncio.create_task(worker.run())

            async def enough() -> bool:
                return len(queues_app.done) >= RUNS

            await until(enough)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    shares = Counter(queues_app.done[:RUNS])
    assert 2 <= shares["ann"] <= 7  # 4 by its weight; 12 without weights, all without fairness

"""Blocks that take hours as they are written: here their module's `asyncio.sleep` is short, and on Temporal a timer of the run.

So that the workflow's code sees that, its module is passed through Temporal's sandbox. Nothing in the blocks is changed.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mcp_agent import workflow
from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from tests.specification import blocks_as_written as blocks
from tests.specification.servers import settings

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "temporal"])
async def executor(request: pytest.FixtureRequest, temporal: Path, tmp_path: Path) -> AsyncGenerator[Executor, None]:
    own = {"data_dir": temporal, "task_queue": "hours", "passthrough_modules": [blocks.__name__]}
    blocks.app.use(Settings(execution_engine=request.param, temporal=own, **settings(tmp_path)))
    async with blocks.app.open_executor(worker=True) as opened:
        yield opened


def sleeps(monkeypatch: pytest.MonkeyPatch, instead: Callable[[], Any]) -> list[float]:
    """Has the blocks do something else where they sleep; gives how long they meant to."""
    meant: list[float] = []

    async def sleep(seconds: float) -> None:
        meant.append(seconds)
        await instead()

    monkeypatch.setattr(blocks, "asyncio", SimpleNamespace(sleep=sleep, gather=asyncio.gather))
    return meant


async def a_moment() -> None:
    if workflow.in_workflow():
        await workflow.sleep(0.01)
    else:
        await asyncio.sleep(0)


async def for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.promise("specification: Polling External Systems")
async def test_polling_looks_each_minute_until_the_job_is_done(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def the_job_is_done() -> None:
        (tmp_path / "job.txt").write_text("completed with 7")
        await a_moment()

    meant = sleeps(monkeypatch, the_job_is_done)
    result = await (await executor.start_workflow("PollingWorkflow", "7")).result()
    assert result.value == {"status": "completed", "result": "completed with 7"}
    assert set(meant) == {60}


@pytest.mark.promise("specification: Polling External Systems")
async def test_polling_ends_when_the_job_has_failed(executor: Executor, tmp_path: Path):
    (tmp_path / "job.txt").write_text("failed, sorry")
    result = await (await executor.start_workflow("PollingWorkflow", "7")).result()
    assert result.error == "Job failed: failed, sorry"


@pytest.mark.promise("specification: Workflow Timeouts and Cancellation")
async def test_an_hour_of_chunks_with_heartbeats_completes(executor: Executor, monkeypatch: pytest.MonkeyPatch):
    meant = sleeps(monkeypatch, a_moment)
    result = await (await executor.start_workflow("TimeoutWorkflow", {"a": 1})).result()
    assert result.value == {"processed": True, "data": {"a": 1, "quick": True, "medium": True}}
    assert meant == [60] * 60


@pytest.mark.promise("specification: Workflow Timeouts and Cancellation")
async def test_after_two_hours_the_workflow_ends_with_its_own_words(executor: Executor, monkeypatch: pytest.MonkeyPatch):
    sleeps(monkeypatch, for_ever)
    two_hours = {"hours": 2}
    monkeypatch.setattr(blocks, "timedelta", lambda **t: timedelta(seconds=1) if t == two_hours else timedelta(**t))
    handle = await executor.start_workflow("TimeoutWorkflow", {"a": 1})
    assert (await handle.result()).error == "Workflow timed out after 2 hours"
    assert (await handle.describe()).steps == ()


@pytest.mark.promise("specification: Long-Running Workflows")
@pytest.mark.parametrize("executor", ["asyncio"], indirect=True)
async def test_hourly_checks_in_process(executor: Executor, monkeypatch: pytest.MonkeyPatch):
    """Two days of the thirty. On Temporal all thirty pass in `test_time_skipping_as_written.py`, with nothing replaced."""
    meant = sleeps(monkeypatch, a_moment)
    monkeypatch.setattr(blocks, "range", lambda n: range(2 if n == 30 else n), raising=False)
    blocks.ALERTS.clear()
    result = await (await executor.start_workflow("MonitoringWorkflow", {"systems": ["critical ones"]})).result()
    checks = result["monitoring_complete"]
    assert [(check["day"], check["hour"]) for check in checks] == [(day, hour) for day in range(2) for hour in range(24)]
    assert meant == [3600] * 48
    assert [check["status"] for check in checks] == blocks.ALERTS

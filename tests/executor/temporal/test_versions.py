"""Runs keep the version of the code that they began with; code that is gone blocks them until it is back."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest
from temporalio.client import Client
from temporalio.worker import Worker

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import MCPAgentError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal import AgentPlugin
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.replaying import ReplayError
from mcp_agent.executor.workflow import Workflow
from mcp_agent.executor.workflow_task import workflow_task
from tests.support import until

pytestmark = pytest.mark.anyio
first, second, third, fourth = apps = [MCPApp(name) for name in ("first", "second", "third", "fourth")]


@workflow_task(name="versions.step")
async def step(version: int) -> str:
    return f"step of {version}"


class Waiting(Workflow[Any]):
    """Does a step, waits, and does another one."""

    def __init__(self) -> None:
        self.going = False

    @workflow.signal
    def go(self) -> None:
        self.going = True

    async def both(self, version: int) -> list[str]:
        done = await step(version)
        await workflow.wait_condition(lambda: self.going)
        return [done, await step(version)]


@first.workflow(name="Versioned")
class First(Waiting):
    @first.workflow_run
    async def run(self) -> list[str]:
        return await self.both(1)


@second.workflow(name="Versioned")
class Second(Waiting):
    @second.workflow_run
    async def run(self) -> list[str]:
        return await self.both(workflow.get_version("logic", 1, 2))


@third.workflow(name="Versioned")
class Third(Waiting):
    @third.workflow_run
    async def run(self) -> list[str]:
        return await self.both(workflow.get_version("logic", 1, 3))


@fourth.workflow(name="Versioned")
class Fourth(Waiting):
    """Nothing is left of version 1, and whatever fails is caught: that must not catch this."""

    @fourth.workflow_run
    async def run(self) -> list[str]:
        try:
            return await self.both(workflow.get_version("logic", 2, 3))
        except Exception:
            return ["caught"]


@pytest.fixture
async def executor(temporal: Path) -> AsyncGenerator[TemporalExecutor, None]:
    """Sees the runs, and runs nothing."""
    for app in apps:
        app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal, "task_queue": "versions"}))
    async with first.open_executor() as opened:
        assert isinstance(opened, TemporalExecutor)
        yield opened


@asynccontextmanager
async def worker_of(app: MCPApp, client: Client) -> AsyncGenerator[None, None]:
    """A worker that keeps no run in memory: each of its tasks is a replay."""
    classes = [definition.cls for definition in app.workflows.values()]
    plugin = AgentPlugin(app)
    async with Worker(client, task_queue="versions", workflows=classes, activities=[], plugins=[plugin], max_cached_workflows=0):
        yield


async def waiting(executor: Executor, **options: Any) -> str:
    """A run that has done its first step, and waits. A worker that is stopped earlier loses the task that it has in hand."""
    handle = await executor.start_workflow("Versioned", **options)

    async def stepped() -> bool:
        events = (await handle.temporal.fetch_history()).events  # type: ignore[attr-defined]
        stepped = any(event.HasField("activity_task_completed_event_attributes") for event in events)
        return stepped and events[-1].HasField("workflow_task_completed_event_attributes")

    await until(stepped)
    return handle.id


async def why_blocked(executor: Executor, run_id: str) -> str:
    async def blocked() -> str | None:
        return (await executor.describe_run(run_id)).blocked

    return await until(blocked)


async def finished(executor: Executor, run_id: str) -> Any:
    await executor.get_handle(run_id).signal("go")
    return (await executor.get_handle(run_id).result()).value


@pytest.mark.promise("issue: get_version, old runs keep theirs, a removed version is a named error that heals")
async def test_runs_keep_their_version_through_every_change_of_the_code(executor: TemporalExecutor):
    async with worker_of(first, executor.client):
        old, pruned = await waiting(executor), await waiting(executor)
    async with worker_of(second, executor.client):
        two = await waiting(executor)
        assert await finished(executor, old) == ["step of 1", "step of 1"]
    async with worker_of(third, executor.client):
        three = await waiting(executor)
    async with worker_of(fourth, executor.client):
        assert await finished(executor, two) == ["step of 2", "step of 2"]
        assert await finished(executor, three) == ["step of 3", "step of 3"]
        await executor.get_handle(pruned).signal("go")
        cause = await why_blocked(executor, pruned)
        assert "VersionRemoved" in cause
        assert "get_version('logic', 1, 3)" in cause
        history = await executor.client.get_workflow_handle(pruned).fetch_history()
        with pytest.raises(ReplayError, match="VersionRemoved"):
            await fourth.replayer().replay_workflow(history)
    async with worker_of(third, executor.client):
        assert (await executor.get_handle(pruned).result()).value == ["step of 1", "step of 1"]


@pytest.mark.promise("contract: a run that cannot go on is blocked, also where Temporal keeps no cause")
async def test_a_run_whose_first_try_was_lost_and_whose_code_then_fails_is_blocked(executor: TemporalExecutor):
    async with worker_of(first, executor.client):
        run_id = await waiting(executor, task_timeout=timedelta(seconds=3))
    await executor.get_handle(run_id).signal("go")
    await take_and_lose(executor.client)
    async with worker_of(fourth, executor.client):
        cause = await why_blocked(executor, run_id)
        assert re.search(r"tried \d+ times without an answer", cause)
        assert "the log of the workers of task queue `versions` names it" in cause
    async with worker_of(third, executor.client):
        assert (await executor.get_handle(run_id).result()).value == ["step of 1", "step of 1"]


async def take_and_lose(client: Client) -> None:
    """Does what a worker does that is killed with a workflow task in hand."""
    queue = TaskQueue(name="versions")
    taken = await client.workflow_service.poll_workflow_task_queue(
        PollWorkflowTaskQueueRequest(namespace=client.namespace, task_queue=queue)
    )
    assert taken.task_token


@pytest.mark.promise("issue: an over-limit history is a named error")
async def test_a_history_that_has_become_too_long_fails_the_run_by_name(
    executor: TemporalExecutor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mcp_agent.executor.temporal.limits.MOST_EVENTS", 5)
    async with worker_of(first, executor.client):
        run_id = await waiting(executor)
        with pytest.raises(MCPAgentError, match="continue_as_new") as told:
            await finished(executor, run_id)
        assert getattr(told.value, "type", None) == "HistoryTooLong"

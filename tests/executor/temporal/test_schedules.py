"""Schedules: made, listed, paused, triggered and deleted."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import IdempotencyConflict, InvalidArguments, MCPAgentError, NotFound
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.workflow import Workflow
from tests.support import until

pytestmark = pytest.mark.anyio
app = MCPApp("scheduled")


@app.workflow
class Report(Workflow[str]):
    @app.workflow_run
    async def run(self, name: str, times: int = 1) -> str:
        return name * times


@app.workflow(priority=2)
class Urgent(Workflow[str]):
    @app.workflow_run
    async def run(self) -> str:
        return "done"


@pytest.fixture
async def executor(temporal: Path) -> AsyncGenerator[Executor, None]:
    app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal}))
    async with app.open_executor(worker=True) as opened:
        yield opened


@pytest.mark.promise("issue: schedules through executor.create_schedule and back")
async def test_a_schedule_starts_runs_until_it_is_paused_and_deleted(executor: Executor):
    schedule = await executor.create_schedule("often", Report, "x", every=timedelta(seconds=1))

    async def started() -> tuple[str, ...]:
        return (await schedule.describe()).recent_runs

    runs = await until(started)
    assert (await executor.get_handle(runs[0], "Report").result()).value == "x"
    await schedule.pause("for now")
    state = await schedule.describe()
    assert (state.workflow, state.paused, state.note) == ("Report", True, "for now")
    before = len(state.recent_runs)
    await executor.get_schedule("often").trigger()

    async def triggered() -> bool:
        return len((await schedule.describe()).recent_runs) > before

    assert await until(triggered)
    await schedule.unpause()
    assert not (await schedule.describe()).paused

    async def listed() -> bool:
        return "often" in [one.id for one in await executor.list_schedules()]

    assert await until(listed)
    with pytest.raises(IdempotencyConflict, match="`often`"):
        await executor.create_schedule("often", "Report", "x", every=timedelta(seconds=1))
    await schedule.delete()
    for call in (schedule.describe(), schedule.pause(), schedule.unpause(), schedule.trigger(), schedule.delete()):
        with pytest.raises(NotFound, match="`often`"):
            await call


@pytest.mark.promise("issue 7: priorities")
@pytest.mark.parametrize(("configured", "gets"), [({}, 2), ({"Urgent": 5}, 5)], ids=["by the code", "by the configuration"])
async def test_the_runs_of_a_schedule_have_the_priority_of_their_workflow(temporal: Path, configured: dict[str, int], gets: int):
    app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal, "priorities": configured}))
    async with app.open_executor() as executor:
        assert isinstance(executor, TemporalExecutor)
        schedule = await executor.create_schedule(f"urgent-{gets}", "Urgent", cron=["0 0 1 1 *"])
        await schedule.trigger()

        async def started() -> tuple[str, ...]:
            return (await schedule.describe()).recent_runs

        (run_id,) = await until(started)
        run = executor.client.get_workflow_handle(run_id)
        described = (await run.describe()).raw_description.workflow_execution_info
        assert described.priority.priority_key == gets
        await run.terminate()
        await schedule.delete()


async def test_a_cron_expression_is_read_in_its_time_zone(executor: Executor):
    schedule = await executor.create_schedule("daily", "Report", "x", cron=["0 9 * * *"], time_zone="Asia/Tokyo")
    first = (await schedule.describe()).next_times[0]
    assert (first.hour, first.minute) == (0, 0)
    await schedule.delete()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "no times"),
        ({"every": timedelta(0)}, "`every`"),
        ({"every": 5}, "`every` is `5`"),
        ({"cron": "0 9 * * *"}, "a list of expressions"),
        ({"cron": ["not a time"]}, "Temporal refuses"),
        ({"every": timedelta(hours=1), "time_zone": "Nowhere/Land"}, "Temporal refuses"),
    ],
)
async def test_times_that_are_none_are_refused(executor: Executor, options: dict[str, Any], told: str):
    with pytest.raises(InvalidArguments, match=told):
        await executor.create_schedule("wrong", "Report", "x", **options)
    with pytest.raises(NotFound):
        await executor.get_schedule("wrong").describe()


async def test_arguments_that_do_not_fit_make_no_schedule(executor: Executor):
    with pytest.raises(InvalidArguments, match="`times`"):
        await executor.create_schedule("wrong", "Report", "x", "often", every=timedelta(hours=1))
    with pytest.raises(InvalidArguments, match="`schedule_id` is empty"):
        executor.get_schedule("")


async def test_in_process_there_are_none(executor: Executor):
    other = MCPApp("other", settings=Settings())
    async with other.open_executor() as in_process:
        with pytest.raises(MCPAgentError, match="execution_engine: temporal"):
            await in_process.create_schedule("x", "Report", every=timedelta(hours=1))

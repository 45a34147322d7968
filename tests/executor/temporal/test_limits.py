"""What Temporal allows at most, on a server that allows little: a named error or continue-as-new, never a loop or a hang."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import RateLimited, RunTerminatedError
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.workflow import Workflow
from tests.executor.temporal.conftest import StartServer

pytestmark = pytest.mark.anyio
app = MCPApp("limits")
SIGNALS = 50  # 10,000 by default
EVENTS = 100  # 51,200 by default
LIMITS = {
    "history.maximumSignalsPerExecution": SIGNALS,
    "limit.historyCount.error": EVENTS,
    "limit.historyCount.suggestContinueAsNew": EVENTS // 2,
}


@app.workflow_task(name="limits.step")
async def step(number: int) -> int:
    return number + 1


@app.workflow
class Counts(Workflow[int]):
    """Counts signals until it is told to stop."""

    def __init__(self) -> None:
        self.count = 0
        self.stopped = False

    @workflow.signal
    def add(self, number: int) -> None:
        self.count += number

    @workflow.update
    def stop(self) -> int:
        self.stopped = True
        return self.count

    @app.workflow_run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.stopped)
        return self.count


@app.workflow
class Steps(Workflow[int]):
    """Makes as many steps as asked, in as many runs as it takes, or in one whatever happens."""

    @app.workflow_run
    async def run(self, steps: int, careful: bool, done: int = 0) -> int:
        while done < steps:
            done = await step(done)
            if careful and workflow.should_continue_as_new():
                workflow.continue_as_new(args=[steps, careful, done])
        return done


@pytest.fixture(scope="module")
async def address(start_server: StartServer) -> str:
    return await start_server(LIMITS)


@pytest.fixture
async def executor(address: str) -> AsyncGenerator[TemporalExecutor, None]:
    host, port = address.split(":")
    app.use(Settings(execution_engine="temporal", temporal={"host": host, "port": int(port)}))
    async with app.open_executor(worker=True) as opened:
        assert isinstance(opened, TemporalExecutor)
        yield opened


@pytest.mark.promise("issue: 10,000 signals in one run")
async def test_a_run_takes_all_signals_that_temporal_allows_and_refuses_more_by_name(executor: TemporalExecutor):
    handle = await executor.start_workflow(Counts)
    await asyncio.gather(*(handle.signal("add", 1) for _ in range(SIGNALS)))
    with pytest.raises(RateLimited, match="continue_as_new"):
        await handle.signal("add", 1)
    assert (await handle.describe()).status == "running"
    assert await handle.update("stop") == SIGNALS
    assert (await handle.result()).value == SIGNALS


@pytest.mark.promise("issue: an over-limit history")
async def test_a_run_that_continues_as_new_in_time_has_no_limit(executor: TemporalExecutor):
    steps = EVENTS // 3  # each takes six events
    handle = await executor.start_workflow(Steps, steps, True)
    assert (await handle.result()).value == steps


@pytest.mark.promise("issue: an over-limit history")
async def test_a_run_that_temporal_ends_for_its_history_says_so(executor: TemporalExecutor):
    handle = await executor.start_workflow(Steps, EVENTS, False)
    with pytest.raises(RunTerminatedError, match=r"history count exceeds limit"):
        await handle.result()
    state = await handle.describe()
    assert state.status == "terminated"
    assert state.error is not None
    assert "history count exceeds limit" in state.error.message

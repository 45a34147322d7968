"""What Temporal allows at most: a named error, never a loop or a hang."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import CallError
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.workflow import Workflow

pytestmark = pytest.mark.anyio
app = MCPApp("limits")
SIGNALS = 10_000


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


@pytest.fixture
async def executor(temporal: Path) -> AsyncGenerator[TemporalExecutor, None]:
    app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal}))
    async with app.open_executor(worker=True) as opened:
        assert isinstance(opened, TemporalExecutor)
        yield opened


@pytest.mark.promise("issue: 10,000 signals in one run")
async def test_a_run_takes_ten_thousand_signals_and_refuses_more_by_name(executor: TemporalExecutor):
    handle = await executor.start_workflow(Counts)
    for _ in range(SIGNALS // 100):
        await asyncio.gather(*(handle.signal("add", 1) for _ in range(100)))
    with pytest.raises(CallError) as told:
        await handle.signal("add", 1)
    print(repr(told.value))
    assert (await handle.describe()).status == "running"
    assert await handle.update("stop") == SIGNALS
    assert (await handle.result()).value == SIGNALS

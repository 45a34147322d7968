"""What the in-process engine keeps of runs that have ended is bounded."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.executor.asyncio import executor as engine
from mcp_agent.executor.asyncio import recording
from mcp_agent.executor.asyncio.executor import InProcessExecutor
from mcp_agent.executor.asyncio.recording import NO_LONGER_KEPT
from mcp_agent.executor.workflow import Workflow

pytestmark = pytest.mark.anyio
app = MCPApp("kept")


@app.workflow_task(name="kept.echo")
async def echo(text: str) -> str:
    return text


@app.workflow
class Kept(Workflow[int]):
    @app.workflow_run
    async def run(self, size: int, steps: int = 1) -> int:
        for _ in range(steps):
            await echo("x" * size)
        return size


@pytest.fixture
async def executor() -> AsyncGenerator[InProcessExecutor, None]:
    app.use(Settings())
    async with app.open_executor() as opened:
        assert isinstance(opened, InProcessExecutor)
        yield opened


async def ended(executor: InProcessExecutor, *args: Any) -> str:
    handle = await executor.start_workflow("Kept", *args)
    await handle.result()
    return handle.id


async def test_the_oldest_runs_forget_what_happened_where_there_is_too_much(
    executor: InProcessExecutor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(engine, "RECORD_BYTES", 1_000_000)
    runs = [await ended(executor, 100_000) for _ in range(7)]
    pages = [await executor.run_log(run_id) for run_id in runs]
    kept = [page.note is None for page in pages]
    assert kept == sorted(kept)
    assert 1 < sum(kept) < 7
    assert (pages[0].entries, pages[0].note) == ((), NO_LONGER_KEPT)
    assert (await executor.run_transcript(runs[0])).note == NO_LONGER_KEPT
    assert (await executor.describe_run(runs[0])).result == 100_000


async def test_ids_that_are_used_again_do_not_count_twice(executor: InProcessExecutor):
    for _ in range(3):
        handle = await executor.start_workflow("Kept", 10_000, workflow_id="same")
        await handle.result()
    assert executor._record_bytes == sum(executor._record_sizes.values()) < 60_000
    assert list(executor._record_sizes) == ["same"]


async def test_a_run_in_which_very_much_happens_tells_the_end_of_it(executor: InProcessExecutor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "ENTRIES_KEPT", 50)
    page = await executor.run_log(await ended(executor, 1, 100))
    assert len(page.entries) == 50
    assert page.entries[-1].what == "ended"
    assert "no longer kept" in (page.note or "")

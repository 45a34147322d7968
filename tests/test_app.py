"""An app that is opened while it is open."""

import pytest

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import MCPAgentError
from mcp_agent.executor.workflow import Workflow

pytestmark = pytest.mark.anyio


@pytest.fixture
def app() -> MCPApp:
    made = MCPApp("opened", settings=Settings())

    @made.workflow
    class Waits(Workflow[str]):
        def __init__(self) -> None:
            self.word = ""

        @workflow.signal
        def say(self, word: str) -> None:
            self.word = word

        @made.workflow_run
        async def run(self) -> str:
            await workflow.wait_condition(lambda: bool(self.word))
            return self.word

    return made


async def test_running_it_again_gives_the_same_engine_with_its_runs(app: MCPApp):
    async with app.run() as outer:
        handle = await outer.executor.start_workflow("Waits")
        async with app.run() as inner:
            assert inner.executor is outer.executor
            later = await inner.executor.start_workflow("Waits")
            await inner.executor.signal_workflow("Waits", handle.id, "say", "heard")
        assert (await handle.result()).value == "heard"
        assert app.context.executor is outer.executor
        await later.signal("say", "still there")
        assert (await later.result()).value == "still there"
    with pytest.raises(MCPAgentError, match="does not run"):
        assert app.context.executor


async def test_with_other_settings_it_is_another_engine_until_that_block_ends(app: MCPApp):
    async with app.run() as outer:
        async with app.run(Settings()) as inner:
            assert inner.executor is not outer.executor
            assert app.context.executor is inner.executor
        assert app.context.executor is outer.executor


async def test_blocks_may_end_in_another_order_than_they_began(app: MCPApp):
    first, second = app.run(Settings()), app.run(Settings())
    await first.__aenter__()
    running = await second.__aenter__()
    await first.__aexit__(None, None, None)
    assert app.context.executor is running.executor
    await second.__aexit__(None, None, None)
    with pytest.raises(MCPAgentError, match="does not run"):
        assert app.context.executor

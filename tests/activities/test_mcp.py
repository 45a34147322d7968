"""The steps that talk to downstream servers, over stdio and over HTTP in both forms."""

import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from mcp_types import ContentBlock, TextContent
from pydantic import SecretStr

from mcp_agent.activities.mcp import MCPActivities
from mcp_agent.config import MCPServerSettings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.step_context import StepContext, entered
from mcp_agent.mcp.connections import ConnectionManager
from mcp_agent.mcp.definitions import RESULT_LIMIT, CallDownstreamTool
from tests.support import desk_in

pytestmark = pytest.mark.anyio
ODD = Path(__file__).parents[1] / "mcp" / "odd_server.py"

APP = """
from mcp_agent.app import MCPApp

app = MCPApp(name="remote")


@app.tool
def shout(text: str) -> str:
    \"\"\"Shouts.\"\"\"
    return text.upper()
"""

CONFIG = "execution_engine: asyncio\nserver: {app: 'app:app'}\n"


def text_of(content: list[ContentBlock]) -> str:
    (block,) = content
    assert isinstance(block, TextContent)
    return block.text


@pytest.fixture
async def odd(tmp_path: Path) -> AsyncGenerator[MCPActivities, None]:
    """A server over stdio of which two tools are allowed."""
    allowed = ["big", "fails"]
    settings = MCPServerSettings(
        command=sys.executable, args=[str(ODD)], env={"ODD_PID": SecretStr(str(tmp_path / "pid"))}, allowed_tools=allowed
    )
    connections = ConnectionManager({"odd": settings})
    yield MCPActivities(connections)
    await connections.aclose()


def call(tool: str, **arguments: object) -> CallDownstreamTool:
    return CallDownstreamTool(server="odd", tool=tool, arguments=dict(arguments))


async def test_only_allowed_tools_are_listed_and_called(odd: MCPActivities):
    assert [tool.name for tool in await odd.list_tools("odd")] == ["fails", "big"]
    with pytest.raises(WorkflowApplicationError, match=r"`mcp\.servers\.odd\.allowed_tools`") as told:
        await odd.call_tool(call("pid"))
    assert told.value.non_retryable


async def test_an_allowed_tool_that_the_server_has_not_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    env = {"ODD_PID": SecretStr(str(tmp_path / "pid"))}
    settings = MCPServerSettings(command=sys.executable, args=[str(ODD)], env=env, allowed_tools=["big", "fials"])
    connections = ConnectionManager({"odd": settings})
    assert [tool.name for tool in await connections.list_tools("odd")] == ["big"]
    await connections.aclose()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        "`mcp.servers.odd.allowed_tools` names `fials`, which the server has not. Did you mean `fails`?",
    ]


async def test_a_tool_s_own_error_is_a_result(odd: MCPActivities):
    result = await odd.call_tool(call("fails"))
    assert result.is_error
    assert text_of(result.content) == "no luck"


async def test_a_result_that_would_fill_the_history_is_an_error_result_that_says_so(odd: MCPActivities):
    fits = await odd.call_tool(call("big", size=RESULT_LIMIT - 1_000))
    assert not fits.is_error
    result = await odd.call_tool(call("big", size=RESULT_LIMIT + 1))
    assert result.is_error
    assert f"{RESULT_LIMIT:,}" in text_of(result.content)


@pytest.mark.promise("issue: no doubled tool call: one that says it is destructive is not repeated when its worker was lost")
async def test_a_call_whose_worker_was_lost_is_repeated_only_if_it_may_be(odd: MCPActivities):
    told: list[tuple[Any, ...]] = []
    once = call("big", size=1).model_copy(update={"repeatable": False})
    with entered(StepContext("step", "run", "Flow", heartbeat=lambda *details: told.append(details))):
        assert not (await odd.call_tool(once)).is_error
    (begun,) = told
    lost = StepContext("step", "run", "Flow", attempt=2, heartbeat_details=begun)
    with entered(lost), pytest.raises(WorkflowApplicationError, match="The worker was lost") as raised:
        await odd.call_tool(once)
    assert raised.value.type == "DownstreamOutcomeUnknown"
    assert raised.value.non_retryable
    with entered(lost):
        assert not (await odd.call_tool(call("big", size=1))).is_error


async def test_a_call_that_has_failed_by_name_may_be_made_again(tmp_path: Path):
    told: list[tuple[Any, ...]] = []
    connections = ConnectionManager({"odd": MCPServerSettings(command=sys.executable, args=["-c", ""])})
    activities = MCPActivities(connections)
    once = call("big", size=1).model_copy(update={"repeatable": False})
    step = StepContext("step", "run", "Flow", heartbeat=lambda *details: told.append(details))
    with entered(step), pytest.raises(WorkflowApplicationError) as raised:
        await activities.call_tool(once)
    await connections.aclose()
    assert not raised.value.non_retryable
    assert told == []


@pytest.mark.parametrize(("transport", "path"), [("streamable_http", "/mcp"), ("sse", "/sse")])
async def test_a_server_is_reached_over_http(tmp_path: Path, transport: str, path: str):
    async with desk_in(tmp_path, Path("unused"), CONFIG, {"app.py": APP}) as desk:
        remote = await desk.serve()
        connections = ConnectionManager({"odd": MCPServerSettings(url=remote.base + path, transport=transport)})  # type: ignore[arg-type]
        try:
            activities = MCPActivities(connections)
            assert "shout" in [tool.name for tool in await activities.list_tools("odd")]
            assert text_of((await activities.call_tool(call("shout", text="hi"))).content) == "HI"
            remote.kill()
            with pytest.raises(WorkflowApplicationError) as told:
                await activities.call_tool(call("shout", text="hi"))
            assert not told.value.non_retryable
        finally:
            await connections.aclose()

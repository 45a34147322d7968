"""Bad input gets a clear error, and nothing is started or changed."""

from typing import Any

import pytest
from mcp import Client

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import DefinitionError
from mcp_agent.executor.workflow import Workflow
from mcp_agent.server.app_server import AgentServer
from tests.server import desk
from tests.support import call, refusal

pytestmark = pytest.mark.anyio


async def runs(client: Client) -> int:
    return len((await call(client, "workflows-runs-list", limit=100))["runs"])


@pytest.mark.promise("issue: bad input, a clear error, nothing changed")
@pytest.mark.parametrize(
    ("tool", "arguments", "named"),
    [
        ("workflows-Greet-run", {"run_parameters": {"name": "x", "tmies": 2}}, "`tmies`"),
        ("workflows-Greet-run", {"run_parameters": {"name": 5}}, "`name`"),
        ("workflows-Greet-run", {"run_parameters": {"name": "x", "times": "2"}}, "`times`"),
        ("workflows-Greet-run", {"run_parameters": {}}, "`name`"),
        ("workflows-Greet-run", {}, "`name`"),
        ("workflows-Greet-run", {"run_parameters": "name=x"}, "`run_parameters`"),
        ("workflows-Greet-run", {"run_parameters": {"name": "x"}, "times": 2}, "`times`"),
        ("workflows-Greet-run", {"run_parameters": {"name": "x"}, "wait_seconds": -1}, "`wait_seconds`"),
        ("workflows-Greet-run", {"run_parameters": {"name": "x"}, "wait_seconds": "long"}, "`wait_seconds`"),
        ("workflows-Greet-run", {"run_parameters": {"name": "x"}, "workflow_id": ""}, "`workflow_id`"),
        ("workflows-Greet-run", {"run_parameters": {"name": "x"}, "workflow_id": "a\nb"}, "`workflow_id`"),
        ("workflows-Greet-run", {"run_parameters": {"name": "x"}, "workflow_id": "k" * 201}, "`workflow_id`"),
        ("workflows-Greet-get_status", {}, "`run_id`"),
        ("workflows-Greet-get_status", {"run_id": 7}, "`run_id`"),
        ("workflows-Greet-get_status", {"run_id": "a", "wait": 1}, "`wait`"),
        ("workflows-Greet-resume", {"run_id": "a", "request": "b"}, "`request`"),
        ("workflows-Greet-cancel", {"run_id": "a", "why": "b"}, "`why`"),
        ("workflows-list", {"all": True}, "`all`"),
        ("workflows-runs-list", {"limit": 0}, "`limit`"),
        ("workflows-runs-list", {"status": "asleep"}, "`status`"),
        ("add", {"a": "1"}, "`a`"),
        ("add", {"a": 1, "c": 1}, "`c`"),
        ("later", {}, "`text`"),
    ],
)
async def test_wrong_arguments_are_named_and_start_nothing(client: Client, tool: str, arguments: Any, named: str):
    told = await refusal(client, tool, **arguments)
    assert told["code"] == "invalid_arguments"
    assert not told["retryable"]
    assert named in told["message"]
    assert await runs(client) == 0


async def test_an_argument_of_5_mb_is_refused(client: Client):
    told = await refusal(client, "workflows-Greet-run", run_parameters={"name": "x" * 5_000_000})
    assert told["code"] == "invalid_arguments"
    assert "1,900,000" in told["message"]
    assert await runs(client) == 0


async def test_an_unserialisable_result_fails_the_run_and_says_why(client: Client):
    result = await client.call_tool("workflows-Fails-run", {"run_parameters": {"how": "unserializable"}})
    assert result.is_error
    assert (result.structured_content or {})["error"]["code"] == "UnserializableValue"


class TestDefinitions:
    def test_a_name_that_is_registered_twice(self):
        app = MCPApp("x")
        app.workflow(desk.Greet)
        app.workflow(desk.Greet)  # the same class again is no second one
        with pytest.raises(DefinitionError, match="registered twice"):
            app.workflow(desk.Review, name="Greet") if False else app.workflow(name="Greet")(desk.Review)
        app.tool(desk.add)
        with pytest.raises(DefinitionError, match="`add` is registered twice"):
            app.tool(desk.shout, name="add")

    @pytest.mark.parametrize("name", ["", "with space", "ü", "a/b", "x" * 129])
    async def test_a_name_that_mcp_does_not_allow(self, name: str):
        app = MCPApp("x", settings=Settings())
        app.tool(desk.add, name=name) if name else app.workflow(name="a b")(desk.Greet)
        with pytest.raises(DefinitionError, match="cannot be served"):
            async with AgentServer.open(app):
                pytest.fail("it was served")

    def test_a_function_may_not_take_a_workflow_s_tool_name(self):
        app = MCPApp("x")
        app.workflow(desk.Greet)
        with pytest.raises(DefinitionError, match="registered twice"):
            app.async_tool(desk.later, name="Greet")

    def test_workflows_that_cannot_be_run(self):
        app = MCPApp("x")

        class NoRun(Workflow[str]):
            pass

        class TwoRuns(Workflow[str]):
            @app.workflow_run
            async def run(self) -> str: ...

            @app.workflow_run
            async def again(self) -> str: ...

        class Inherits(desk.Greet):
            pass

        class NotAsync(Workflow[str]):
            @app.workflow_run
            def run(self) -> str: ...

        class Anything(Workflow[str]):
            @app.workflow_run
            async def run(self, *args: str) -> str: ...

        class NoWorkflow:
            @app.workflow_run
            async def run(self) -> str: ...

        expected = {
            NoRun: "no method under",
            TwoRuns: "2 methods under",
            Inherits: "inherits `run`",
            NotAsync: "must be `async def`",
            Anything: r"takes `\*args: str`",
            NoWorkflow: "must extend `Workflow`",
        }
        for cls, text in expected.items():
            with pytest.raises(DefinitionError, match=text):
                app.workflow(cls)  # type: ignore[arg-type]
        assert not app.workflows

    def test_an_async_tool_must_be_async(self):
        with pytest.raises(DefinitionError, match="must be `async def`"):
            MCPApp("x").async_tool(desk.shout)

"""Bad input gets a clear error, and nothing is started or changed."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp_types import INVALID_PARAMS

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import DefinitionError
from mcp_agent.executor.workflow import Workflow
from mcp_agent.server.app_server import AgentServer
from tests.server import desk
from tests.server.tasks_client import Wire
from tests.support import call, refusal

pytestmark = pytest.mark.anyio


class Bare:
    """Nothing that could be sent."""


@dataclass
class Sized:
    size: int


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
        ("workflows-Clash-run", {"workflow_id": "a", "wait_seconds": 1}, "`run_parameters`"),
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
    assert told["message"].endswith("Nothing was changed.")
    assert await runs(client) == 0


@pytest.mark.promise("contract: `invalid_arguments` names every bad field with its path")
@pytest.mark.parametrize(
    ("method", "params", "named"),
    [
        ("tools/call", {"name": "add", "arguments": [1]}, "`arguments`"),
        ("tools/call", {"arguments": {}}, "`name`"),
        ("prompts/get", {"name": "use-workflows", "arguments": {"n": 3}}, "`arguments.n`"),
        ("tasks/update", {"taskId": "a", "inputResponses": 5}, "`inputResponses`"),
        ("subscriptions/listen", {}, "`notifications`"),
    ],
)
async def test_parameters_of_a_method_that_do_not_fit_are_named(url: str, method: str, params: Any, named: str):
    async with httpx2.AsyncClient(timeout=20) as http:
        error = await Wire(http, url).error(method, params, params.get("name") or params.get("taskId"))
    assert error["code"] == INVALID_PARAMS
    assert error["data"]["code"] == "invalid_arguments"
    assert named in error["message"]


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

    @pytest.mark.parametrize(
        ("type_", "told"),
        [
            ("NotImported", "`TYPE_CHECKING`"),
            (Bare, "no JSON form.*Bare"),
            (list[Bare], "no JSON form.*Bare"),
            (Callable[[], int] | None, "no JSON form"),
        ],
        ids=["not imported", "no data", "a list of them", "a function"],
    )
    @pytest.mark.parametrize("where", ["run", "result", "signal", "query", "update", "tool", "durable tool"])
    async def test_a_type_that_cannot_be_sent_is_told_before_anything_is_served(self, where: str, type_: Any, told: str):
        app = MCPApp("x", settings=Settings())
        odd = {"what": type_, "return": str}

        async def run(self: Any, what: str) -> Any: ...

        def handler(self: Any, what: Any) -> Any: ...

        def tool(what: Any) -> str: ...

        async def durable() -> Any: ...

        durable.__annotations__ = {"return": type_}
        run.__annotations__ = {"result": {"what": str, "return": type_}, "run": odd}.get(where, {})
        handler.__annotations__ = tool.__annotations__ = odd
        handlers = {"signal": workflow.signal, "query": workflow.query, "update": workflow.update}
        members = {"run": app.workflow_run(run), **({"handler": handlers[where](handler)} if where in handlers else {})}
        app.workflow(type("Unsendable", (Workflow,), members))
        if where == "tool":
            app.tool(tool)
        if where == "durable tool":
            app.tool(durable=True)(durable)
        with pytest.raises(DefinitionError, match=told):
            async with AgentServer.open(app):
                pytest.fail("it was served")

    async def test_two_handlers_of_one_name_are_told_before_anything_is_served(self):
        app = MCPApp("x", settings=Settings())

        @app.workflow
        class Twice(Workflow[str]):  # pyright: ignore[reportUnusedClass]
            @workflow.signal(name="go")
            def one(self) -> None: ...

            @workflow.signal(name="go")
            def two(self) -> None: ...

            @app.workflow_run
            async def run(self) -> str: ...

        with pytest.raises(DefinitionError, match=r"`Twice` has two handlers for signal `go`: `.*one` and `.*two`"):
            async with AgentServer.open(app):
                pytest.fail("it was served")

    async def test_types_that_pydantic_knows_are_served(self):
        app = MCPApp("x", settings=Settings())

        @app.workflow
        class Typed(Workflow[Sized]):
            @workflow.signal
            def size(self, sizes: dict[str, Sized], when: datetime | None) -> None: ...

            @workflow.signal(dynamic=True)
            def other(self, name: str, args: Bare) -> None: ...

            @app.workflow_run
            async def run(self, what: tuple[Sized, ...], colour: Literal["red", "blue"] = "red") -> Sized: ...

        async with AgentServer.open(app) as server, Client(server.mcp) as client:
            assert "workflows-Typed-run" in [tool.name for tool in (await client.list_tools()).tools]
            assert not (await client.call_tool("workflows-list", {})).is_error

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

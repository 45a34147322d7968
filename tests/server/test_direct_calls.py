"""What a function under `@app.tool` may reach of the call that it answers, in both protocol eras."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    METHOD_NOT_FOUND,
    AudioContent,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    Icon,
    ImageContent,
    InputRequiredResult,
    LoggingMessageNotificationParams,
    TextContent,
    ToolAnnotations,
)
from pydantic import Field

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import DefinitionError, NotInWorkflowError, WorkflowApplicationError
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.server.app_server import AgentServer
from tests.support import call, refusal

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]

SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "maximum": 10}, "to": {"type": "string"}},
    "if": {"properties": {"amount": {"minimum": 5}}},
    "then": {"required": ["to"]},
    "additionalProperties": False,
}
FORM: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture
def app() -> MCPApp:
    return MCPApp(name="desk", settings=Settings(server={"wait_budget_seconds": 5}))


@asynccontextmanager
async def connected(app: MCPApp, mode: Any, **options: Any) -> AsyncGenerator[Client, None]:
    async with AgentServer.open(app) as server, Client(server.mcp, mode=mode, **options) as client:
        yield client


def text(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


async def test_progress_reaches_the_caller_before_the_result(app: MCPApp, mode: Any):
    @app.tool
    async def count() -> str:
        for done in (1, 2):
            app.context.report_progress(done, 3, f"step {done}")
        await asyncio.sleep(0)
        app.context.report_progress(3, 3)
        return "counted"

    told: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with connected(app, mode) as client:
        result = await client.call_tool("count", {}, progress_callback=hear)
        assert text(result) == "counted"
        assert told == [(1, 3, "step 1"), (2, 3, "step 2"), (3, 3, None)]


async def test_a_plain_function_tells_from_its_thread(app: MCPApp, mode: Any):
    @app.tool
    def count() -> str:
        app.context.report_progress(1, 1)
        app.context.logger.warning("half of %s", "it")
        return threading.current_thread().name

    told: list[float] = []
    lines: list[LoggingMessageNotificationParams] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async def note(params: LoggingMessageNotificationParams) -> None:
        lines.append(params)

    async with connected(app, mode, logging_callback=note, log_level="info") as client:
        if mode == "legacy":
            await client.set_logging_level("info")
        name = text(await client.call_tool("count", {}, progress_callback=hear))
        assert name != threading.current_thread().name
        assert told == [1]
        assert [(line.level, line.logger, line.data) for line in lines] == [("warning", "count", "half of it")]


async def test_a_client_gets_lines_of_the_level_that_it_asked_for_and_of_its_own_calls_only(app: MCPApp, mode: Any):
    @app.tool
    async def work(level: str) -> None:
        getattr(app.context.logger, level)("working: %s", level)

    heard: dict[str, list[Any]] = {"mine": [], "other": []}

    def note(name: str) -> Callable[[LoggingMessageNotificationParams], Any]:
        async def hear(params: LoggingMessageNotificationParams) -> None:
            heard[name].append(params.data)

        return hear

    async with (
        AgentServer.open(app) as server,
        Client(server.mcp, mode=mode, logging_callback=note("mine"), log_level="warning") as mine,
        Client(server.mcp, mode=mode, logging_callback=note("other"), log_level="debug") as other,
    ):
        if mode == "legacy":
            await mine.set_logging_level("warning")
            await other.set_logging_level("debug")
        for level in ("debug", "info", "warning", "error"):
            await mine.call_tool("work", {"level": level})
        assert heard == {"mine": ["working: warning", "working: error"], "other": []}


async def test_a_client_that_has_not_asked_for_lines_gets_none(app: MCPApp, mode: Any):
    @app.tool
    async def work() -> str:
        app.context.logger.error("trouble")
        return "done"

    lines: list[Any] = []

    async def note(params: LoggingMessageNotificationParams) -> None:
        lines.append(params)

    async with connected(app, mode, logging_callback=note) as client:
        assert text(await client.call_tool("work", {})) == "done"
    assert lines == []


async def test_the_request_is_that_of_the_call(app: MCPApp, mode: Any):
    @app.tool
    async def who() -> dict[str, Any]:
        await asyncio.sleep(0)
        request = app.context.request
        return {"method": request.context.method, "arguments": request.params.model_dump()["arguments"]}

    @app.prompt
    def asked(x: str) -> str:
        return app.context.request.context.method

    @app.resource("a://{x}")
    def given(x: str) -> str:
        return app.context.request.context.method

    async with connected(app, mode) as client:
        assert await call(client, "who") == {"method": "tools/call", "arguments": {}}
        (message,) = (await client.get_prompt("asked", {"x": "1"})).messages
        assert message.content == TextContent(text="prompts/get")
        (contents,) = (await client.read_resource("a://1")).contents
        assert contents.model_dump()["text"] == "resources/read"


async def test_a_tool_asks_a_client_of_the_legacy_era_while_it_waits(app: MCPApp):
    @app.tool
    async def ask() -> str:
        asked = ElicitRequest(params=ElicitRequestFormParams(message="Name?", requested_schema=FORM))
        answer = await app.context.request.ask(asked, ElicitResult)
        return f"{answer.action} {(answer.content or {}).get('name')}"

    async def answer(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async with connected(app, "legacy", elicitation_callback=answer) as client:
        assert text(await client.call_tool("ask", {})) == "accept Ada"


async def test_a_tool_asks_a_client_of_the_modern_era_with_its_result(app: MCPApp):
    @app.tool
    def ask() -> str | InputRequiredResult:
        request = app.context.request
        given = request.input_responses.get("name")
        if not isinstance(given, ElicitResult):
            asked = ElicitRequest(params=ElicitRequestFormParams(message="Name?", requested_schema=FORM))
            return InputRequiredResult(input_requests={"name": asked}, request_state="my own state")
        return f"{(given.content or {}).get('name')}, {request.request_state}"

    async def answer(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ada"})

    async with connected(app, "auto", elicitation_callback=answer) as client:
        assert text(await client.call_tool("ask", {})) == "Ada, my own state"
        asked = await client.session.call_tool("ask", {}, allow_input_required=True)
        assert isinstance(asked, InputRequiredResult)
        assert "my own state" not in str(asked.request_state)


async def test_runs_and_steps_have_no_request(app: MCPApp, mode: Any):
    @app.workflow_task(retry_policy=workflow.RetryPolicy(maximum_attempts=1))
    async def step() -> str:
        return str(app.context.request)

    @app.tool(durable=True)
    async def run(how: str) -> str:
        return await step() if how == "step" else str(app.context.request)

    @app.tool
    async def starts() -> str:
        handle = await app.context.executor.start_workflow("run", "run")
        return str(await handle.result())

    async with connected(app, mode) as client:
        for tool, arguments in (("run", {"how": "step"}), ("run", {"how": "run"}), ("starts", {})):
            told = text(await client.call_tool(tool, arguments))
            assert "Runs and steps outlive requests" in told
    with pytest.raises(NotInWorkflowError):
        _ = app.context.request


async def test_a_direct_call_is_told_how_to_ask_a_person(app: MCPApp, mode: Any):
    @app.tool
    async def asks() -> str:
        return str(await app.context.elicit("Name?"))

    @app.tool
    async def sends() -> str:
        return str(await app.context.elicit_url("Sign in", "https://example.com"))

    async with connected(app, mode) as client:
        for tool in ("asks", "sends"):
            told = await refusal(client, tool)
            assert told["code"] == "NotInWorkflowError"
            assert "durable=True" in told["message"]
            assert "app.context.request" in told["message"]


async def test_an_error_of_the_protocol_goes_through(app: MCPApp, mode: Any):
    @app.tool
    def refuses() -> None:
        raise MCPError(METHOD_NOT_FOUND, "not today", {"when": "tomorrow"})

    async with connected(app, mode) as client:
        with pytest.raises(MCPError) as told:
            await client.call_tool("refuses", {})
        assert (told.value.error.code, told.value.error.data) == (METHOD_NOT_FOUND, {"when": "tomorrow"})


async def test_content_of_all_kinds_is_given_as_it_is(app: MCPApp, mode: Any):
    @app.tool
    def show() -> list[Any]:
        return ["a text", ImageContent(data="aGk=", mime_type="image/png"), AudioContent(data="aGk=", mime_type="audio/wav")]

    async with connected(app, mode) as client:
        assert [one.type for one in (await client.call_tool("show", {})).content] == ["text", "image", "audio"]


async def test_a_tool_is_shown_as_it_was_declared(app: MCPApp, mode: Any):
    icon = Icon(src="https://example.com/pay.png", sizes=["48x48"])

    @app.tool(title="Pay", icons=[icon], annotations=ToolAnnotations(destructive_hint=True), input_schema=SCHEMA, meta={"a": 1})
    def pay(amount: int, to: str = "") -> str:
        """Pays."""
        return f"{amount} {to}".strip()

    async with connected(app, mode) as client:
        (tool,) = [one for one in (await client.list_tools()).tools if one.name == "pay"]
        assert tool.input_schema == SCHEMA
        assert tool.icons == [icon]
        assert tool.annotations is not None
        assert tool.annotations.destructive_hint
        assert tool.meta == {"a": 1}
        assert text(await client.call_tool("pay", {"amount": 3})) == "3"
        for bad in ({"amount": 11, "to": "x"}, {"amount": 7}, {"amount": 3, "by": "x"}, {"amount": "3"}):
            assert (await refusal(client, "pay", **bad))["code"] == "invalid_arguments"


async def test_the_app_is_shown_as_it_was_declared(mode: Any):
    icon = Icon(src="https://example.com/desk.png")
    app = MCPApp("desk", title="The desk", icons=[icon], website_url="https://example.com", settings=Settings())
    async with connected(app, mode) as client:
        shown = client.server_info
        assert shown is not None
        assert (shown.name, shown.title, shown.website_url, shown.icons) == ("desk", "The desk", "https://example.com", [icon])


class TestDurableTools:
    async def test_a_caller_that_waits_gets_what_the_function_gives(self, app: MCPApp, mode: Any):
        @app.tool(durable=True)
        async def total(numbers: Annotated[list[int], Field(min_length=1)]) -> dict[str, int]:
            await workflow.sleep(0.01)
            return {"sum": sum(numbers)}

        async with connected(app, mode) as client:
            result = await client.call_tool("total", {"numbers": [1, 2]})
            assert result.structured_content == {"sum": 3}
            assert text(result) == '{"sum":3}'
            assert (await refusal(client, "total", numbers=[]))["code"] == "invalid_arguments"
            (run,) = (await call(client, "workflows-runs-list", workflow="total"))["runs"]
            assert run["status"] == "completed"

    async def test_a_failure_is_told_as_that_of_a_direct_tool(self, app: MCPApp, mode: Any):
        @app.tool(durable=True)
        async def fails() -> None:
            raise WorkflowApplicationError("no good", type="Bad", non_retryable=True)

        async with connected(app, mode) as client:
            told = await refusal(client, "fails")
            assert (told["code"], told["message"]) == ("Bad", "`fails` failed: no good")

    async def test_a_caller_that_cannot_wait_so_long_gets_the_run(self, app: MCPApp, mode: Any):
        app.use(Settings(server={"wait_budget_seconds": 0.01}))

        @app.tool(durable=True)
        async def waits() -> str:
            return await app.context.executor.signal_bus.wait_for_signal(Signal("go", payload_type=str))

        async with connected(app, mode) as client:
            run = await call(client, "waits")
            assert run["status"] in ("running", "waiting_for_input")
            await call(client, "workflows-resume", run_id=run["run_id"], signal_name="go", payload="went")
            ended = await call(client, "workflows-get_status", run_id=run["run_id"], wait_seconds=5)
            assert ended["result"] == "went"

    async def test_a_client_without_tasks_is_refused_where_they_are_required(self, app: MCPApp, mode: Any):
        @app.tool(durable=True, requires_task=True)
        async def long() -> str:
            return "done"

        async with connected(app, mode) as client:
            with pytest.raises(MCPError) as told:
                await client.call_tool("long", {})
            assert told.value.error.data["requiredCapabilities"]["extensions"] == {"io.modelcontextprotocol/tasks": {}}

    def test_what_cannot_be_durable_is_told_when_it_is_registered(self):
        app = MCPApp()
        with pytest.raises(DefinitionError, match="async def"):
            app.tool(durable=True, name="plain")(lambda: "")

        async def each() -> AsyncGenerator[int, None]:
            yield 1

        with pytest.raises(DefinitionError, match="`each` is an async generator"):
            app.tool(each)
        with pytest.raises(DefinitionError, match="durable=True, requires_task=True"):
            app.tool(requires_task=True)


async def test_a_call_that_outlives_its_caller_tells_its_progress_in_its_run(app: MCPApp, mode: Any):
    app.use(Settings(server={"wait_budget_seconds": 0.01}))
    go = asyncio.Event()

    began: list[datetime] = []

    @app.tool
    async def work() -> str:
        began.append(datetime.now(UTC))
        app.context.report_progress(1, 2)
        await go.wait()
        app.context.report_progress(2, 2)
        return "worked"

    async with connected(app, mode) as client:
        run = await call(client, "work")
        assert run["progress"] == {"done": 1, "total": 2}
        assert datetime.fromisoformat(run["started_at"]) <= began[0]
        go.set()
        ended = await call(client, "workflows-get_status", run_id=run["run_id"], wait_seconds=0.01)
        assert (ended["result"], ended["progress"]["done"]) == ("worked", 2)


async def test_a_schema_that_is_none_is_told_at_the_start(app: MCPApp):
    app.tool(name="bad", input_schema={"type": "objekt"})(lambda: "")
    with pytest.raises(DefinitionError, match="`input_schema` of tool `bad`"):
        async with AgentServer.open(app):
            pass

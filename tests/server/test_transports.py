"""The same conversation over every transport, in both protocol eras, on both engines, with a server process of its own."""

from collections.abc import AsyncGenerator
from typing import Any

import jsonschema
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp_types import TextResourceContents

from mcp_agent.executor.temporal.binary import find_or_make_binary
from tests.support import Desk, call, call_text, desk_in, refusal, until

pytestmark = pytest.mark.anyio

APP = """
import asyncio

from mcp_agent.app import MCPApp
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal

app = MCPApp(name="desk")


@app.workflow
class Seal(Workflow[str]):
    \"\"\"Seals what it gets.\"\"\"

    @app.workflow_run
    async def run(self, text: str, copies: int = 1) -> WorkflowResult[str]:
        app.context.report_progress(1, 2, "asking")
        seal = await app.context.executor.signal_bus.wait_for_signal(Signal("seal", payload_type=str, message="Which seal?"))
        return WorkflowResult(value=f"{text} {seal} " * copies)


@app.workflow
class Slow(Workflow[None]):
    @app.workflow_run
    async def run(self) -> None:
        app.context.report_progress(1, 2, "halfway")
        await asyncio.sleep(20)


@app.tool
def add(a: int, b: int = 1) -> int:
    \"\"\"Adds.\"\"\"
    return a + b


@app.async_tool
async def later(text: str) -> str:
    \"\"\"Shouts, durably.\"\"\"
    return text.upper()
"""
CONFIG = (
    "execution_engine: {engine}\nserver: {{app: 'sealing:app', progress_interval_seconds: 0.1}}\ntemporal: {{binary: {binary}}}\n"
)


@pytest.fixture(scope="module", params=["asyncio", "temporal"])
async def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk, None]:
    binary = await find_or_make_binary(None, print)
    config = CONFIG.format(engine=request.param, binary=binary)
    async with desk_in(tmp_path_factory.mktemp("desk"), binary, config, {"sealing.py": APP}) as made:
        made.http = await made.serve()  # type: ignore[attr-defined]
        yield made


@pytest.fixture(params=["stdio-auto", "stdio-legacy", "http-auto", "http-legacy", "sse-legacy"])
async def client(request: pytest.FixtureRequest, desk: Desk) -> AsyncGenerator[Client, None]:
    way, _, mode = request.param.partition("-")
    server: Any = {"stdio": desk.stdio, "http": lambda: desk.http.url, "sse": lambda: sse_client(desk.http.sse)}[way]()  # type: ignore[attr-defined]
    async with Client(server, mode=mode) as connected:
        yield connected


@pytest.mark.promise("issue: all tools over stdio, SSE and streamable HTTP, in both protocol eras, on both engines")
async def test_a_run_is_started_asked_about_answered_and_read(client: Client):
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    async def checked(tool: str, **arguments: Any) -> dict[str, Any]:
        data = await call(client, tool, **arguments)
        jsonschema.validate(data, tools[tool].output_schema or {})
        return data

    run = await checked("workflows-Seal-run", run_parameters={"text": "a deed", "copies": 20_000})
    assert run["status"] == "waiting_for_input"
    assert run["progress"] == {"done": 1, "total": 2, "message": "asking"}

    refused = await refusal(client, "workflows-Seal-resume", run_id=run["run_id"], payload={"no": "text"})
    assert refused["code"] == "invalid_arguments"
    answer = await checked("workflows-Seal-resume", run_id=run["run_id"], payload="in red")
    assert answer["accepted"]
    while (run := await checked("workflows-Seal-get_status", run_id=run["run_id"], wait_seconds=20))["status"] != "completed":
        assert run["status"] == "running"
    assert run["truncated"]
    (whole,) = (await client.read_resource(run["result_uri"])).contents
    assert isinstance(whole, TextResourceContents)
    assert whole.text.count("a deed in red") == 20_000
    assert (await refusal(client, "workflows-Seal-resume", run_id=run["run_id"]))["code"] == "already_closed"
    assert (await checked("workflows-Seal-cancel", run_id=run["run_id"]))["already_closed"]
    listed = await checked("workflows-runs-list", workflow="Seal", limit=1)
    assert listed["runs"][0]["run_id"] == run["run_id"]
    assert {one["name"] for one in (await checked("workflows-list"))["workflows"]} == {"Seal", "Slow"}


async def test_functions_are_tools(client: Client):
    assert await call_text(client, "add", a=1, b=2) == "3"
    run = await call(client, "later", text="hi")
    while run["status"] in ("queued", "running"):
        run = await call(client, "workflows-get_status", run_id=run["run_id"], wait_seconds=20)
    assert run["result"] == "HI"


async def test_a_call_that_waits_reports_progress(client: Client):
    told: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message)

    run = await call(client, "workflows-Slow-run", wait_seconds=0)
    asked = {"run_id": run["run_id"], "wait_seconds": 1}

    async def halfway() -> bool:
        await client.call_tool("workflows-Slow-get_status", asked, progress_callback=progress)
        return any("halfway" in (message or "") for message in told)

    assert await until(halfway)


async def test_a_waiting_run_is_cancelled(client: Client):
    run = await call(client, "workflows-Seal-run", run_parameters={"text": "x"})
    assert (await call(client, "workflows-Seal-cancel", run_id=run["run_id"]))["accepted"]
    asked = {"run_id": run["run_id"], "wait_seconds": 20}
    while (run := await call(client, "workflows-Seal-get_status", **asked))["status"] != "cancelled":
        assert run["cancel_requested"]

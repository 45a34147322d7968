"""The run page in a real browser, in a minimal host of MCP Apps, on the real server over streamable HTTP."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import uvicorn
from mcp import Client
from mcp_types import TextContent, TextResourceContents
from pydantic import BaseModel, Field
from starlette.responses import FileResponse
from starlette.routing import Route

from mcp_agent import workflow
from mcp_agent.agents.agent import Agent
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.executor.runs import CallUsage, partial_text_details
from mcp_agent.executor.runtime import host
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.executor.workflow_signal import Signal
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.http_app import http_app
from mcp_agent.sockets import bound_socket
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM
from tests import skips
from tests.server.browser import Browser, Target, browser_in, chromium

pytestmark = pytest.mark.anyio
HOST = Path(__file__).parent / "page_host.html"
EVIL = "<img src=x onerror='window.pwned = 1'><script>window.pwned = 1</script>"
SCRIPT = """
agents:
  guarded: [{tool_calls: [{name: erase, arguments: {name: all}}]}, {text: "the answer: {last_tool_result}"}]
"""
marks = MCPApp(name="marks")  # only to mark what each test registers with an app of its own


class Address(BaseModel):
    city: str


class Order(BaseModel):
    name: str = Field(title="Your name", min_length=2, description="As on the parcel.")
    copies: int = Field(ge=1, le=9)
    size: Literal["small", "large"]
    colours: list[Literal["red", "green", "blue"]] = []
    express: bool
    day: date | None = None
    address: Address


class Gates:
    """What the steps wait for and tell, in this process."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.attempts = 0


GATES: list[Gates] = []
UNNAMED = """[...document.querySelectorAll("input, select, textarea, button, fieldset, progress, [role=region]")].filter((one) =>
  !(one.labels?.length || one.ariaLabel || one.querySelector("legend") || one.textContent)
  || (one.getAttribute("aria-describedby") ?? "").split(" ").some((id) => id && !document.getElementById(id))
).map((one) => one.outerHTML)"""
"""What a screen reader could not name, or would look for a description of that is not there."""


@marks.workflow_task(
    name="page.work", retry_policy=workflow.RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)
)
async def work() -> str:
    gates = GATES[-1]
    gates.attempts += 1
    if gates.attempts == 1:
        raise ConnectionError(f"the first try {EVIL}")
    workflow.heartbeat(*partial_text_details(f"Once upon a time {EVIL}"))
    await gates.opened.wait()
    return f"done {EVIL}"


class Work(Workflow[dict[str, str]]):
    """Works until its gate is open."""

    @marks.workflow_run
    async def run(self) -> WorkflowResult[dict[str, str]]:
        marks.context.report_progress(1, 4, f"a quarter {EVIL}")
        host().used("writer", CallUsage(input_tokens=1200, output_tokens=34, model_calls=2, cost_source="no prices"))
        return WorkflowResult(value={"text": await work()})


class Shop(Workflow[Order]):
    """Asks what to send."""

    @marks.workflow_run
    async def run(self) -> WorkflowResult[Order]:
        signal = Signal("order", payload_type=Order, message=f"What may we send? {EVIL}")
        return WorkflowResult(value=await marks.context.executor.signal_bus.wait_for_signal(signal))


class Guarded(Workflow[str]):
    """Has an agent call what a person must allow."""

    @marks.workflow_run
    async def run(self) -> WorkflowResult[str]:
        llm = await Agent("guarded", functions=[erase], approval={"erase": "always"}).attach_llm(OpenAIAugmentedLLM)
        return WorkflowResult(value=await llm.generate_str("go"))


def erase(name: str) -> str:
    """Erases."""
    return f"{name} is gone"


class Free(Workflow[str]):
    """Asks without saying how."""

    @marks.workflow_run
    async def run(self, size: int = 1) -> WorkflowResult[str]:
        return WorkflowResult(value=await marks.context.executor.signal_bus.wait_for_signal(Signal("free")) * size)


class Twice(Workflow[list[str]]):
    """Asks one thing after the other."""

    @marks.workflow_run
    async def run(self) -> WorkflowResult[list[str]]:
        bus = marks.context.executor.signal_bus
        signals = [Signal("first", payload_type=str), Signal("second", payload_type=str, message="second?")]
        return WorkflowResult(value=[await bus.wait_for_signal(signal) for signal in signals])


class Breaks(Workflow[None]):
    @marks.workflow_run
    async def run(self) -> WorkflowResult[None]:
        raise LookupError(EVIL)


def make(folder: Path) -> MCPApp:
    (folder / "script.yaml").write_text(SCRIPT)
    app = MCPApp(name="the shop")
    for cls in (Work, Shop, Guarded, Free, Twice, Breaks):
        app.workflow(cls)
    app.use(Settings(server={"wait_budget_seconds": 5}, scripted={"file": folder / "script.yaml"}))
    return app


@asynccontextmanager
async def serving(server: AgentServer) -> AsyncGenerator[str, None]:
    """The server with the host's page beside it: one origin, as a desktop host has none that could be refused."""
    listener = bound_socket("127.0.0.1", 0, "use another")
    async with http_app(server, "127.0.0.1") as app:
        app.router.routes.append(Route("/host", lambda _: FileResponse(HOST)))
        running = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        task = asyncio.create_task(running.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/host"
        finally:
            running.should_exit = True
            await task


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[AgentServer, None]:
    GATES.append(Gates())
    async with AgentServer.open(make(tmp_path)) as opened:
        yield opened


@pytest.fixture(scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Browser, None]:
    if chromium() is None:
        pytest.skip(skips.NO_BROWSER)
    async with browser_in(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def _labelled(label: str) -> str:
    """The label that begins so and is seen."""
    return f"[...document.querySelectorAll('label')].find((one) => one.innerText.startsWith({label!r}) && one.checkVisibility())"


class Shown:
    """A run's page in its host."""

    def __init__(self, tab: Target, page: Target) -> None:
        self.tab = tab
        self.page = page

    async def when(self, text: str) -> None:
        await self.page.when(f"document.body.innerText.includes({text!r})")

    async def press(self, label: str) -> None:
        button = f"[...document.querySelectorAll('button:enabled')].find((one) => one.textContent === {label!r})"
        await self.page.when(button)
        await self.page.run(f"{button}.click()")

    async def into(self, label: str) -> None:
        """Clicks on a label, which puts the focus into its field."""
        await self.page.when(_labelled(label))
        await self.page.run(f"{_labelled(label)}.click()")

    async def type(self, label: str, text: str) -> None:
        await self.into(label)
        await self.page.run("document.activeElement.select()")
        await self.page.call("Input.insertText", text=text)

    async def value(self, label: str) -> str:
        return await self.page.run(f"{_labelled(label)}.control.value")

    async def run_id(self) -> str:
        return await self.page.run("document.querySelector('header code').textContent")

    async def refreshed(self) -> None:
        """Waits until the page has asked how the run is, and has shown the answer: with the next question it has."""
        for _ in range(2):
            await self.tab.run("nextCall('get_status')")

    async def told_model(self) -> list[str]:
        told = await self.tab.run("calls.filter((call) => call.method === 'ui/update-model-context')")
        return [call["params"]["content"][0]["text"] for call in told]

    async def tool_calls(self) -> list[dict[str, Any]]:
        calls = await self.tab.run("calls")
        return [call["params"] for call in calls if call["method"] == "tools/call"]


@pytest.fixture
async def client(server: AgentServer) -> AsyncGenerator[Client, None]:
    async with Client(server.mcp) as connected:
        yield connected


@pytest.fixture
async def tab(server: AgentServer, browser: Browser) -> AsyncGenerator[Target, None]:
    async with serving(server) as url, browser.tab(url) as opened:
        yield opened


class Opens:
    """Calls a tool in the host and opens the page that it links to."""

    def __init__(self, browser: Browser, tab: Target) -> None:
        self.browser = browser
        self.tab = tab

    async def __call__(self, workflow_name: str, arguments: str = "{wait_seconds: 0}", context: str = "{}") -> Shown:
        await self.tab.run(f"show('workflows-{workflow_name}-run', {arguments}, {context})")
        shown = Shown(self.tab, await self.browser.frame())
        await shown.page.when("document.querySelector('h1')")
        return shown


@pytest.fixture
def opens(browser: Browser, tab: Target) -> Opens:
    return Opens(browser, tab)


@pytest.mark.promise("issue: headless Chromium opens the run page and answers a question")
async def test_a_question_is_answered_by_its_form_wrong_at_first_and_nothing_typed_is_lost(opens: Opens):
    shown = await opens("Shop")
    await shown.when("What may we send?")
    assert await shown.page.run(UNNAMED) == []
    await shown.type("Your name", "A")
    await shown.type("Copies", "many")
    await shown.into("large")
    await shown.into("green")
    await shown.type("Address", "{'city'")
    await shown.press("Send answer")
    for problem in ("At least 2 characters.", "Enter a number.", "Choose one.", "This is not JSON"):
        await shown.when(problem)
    assert await shown.page.run("document.activeElement.getAttribute('aria-invalid')") == "true"

    await shown.type("Your name", "Ada")
    await shown.type("Copies", "3")
    await shown.into("Yes")
    await shown.type("Address", '{"town": "Paris"}')
    await shown.press("Send answer")
    await shown.when("this field is required")
    await shown.refreshed()
    assert await shown.value("Your name") == "Ada"

    await shown.type("Address", '{"city": "Paris"}')
    await shown.press("Send answer")
    await shown.when("Completed")
    text = await shown.page.run("document.querySelector('[aria-label=Result] pre').textContent")
    assert json.loads(text) == {
        "name": "Ada",
        "copies": 3,
        "size": "large",
        "colours": ["green"],
        "express": True,
        "day": None,
        "address": {"city": "Paris"},
    }
    assert "has the answer to `order#1`" in (await shown.told_model())[0]


@pytest.mark.promise("issue: MCP Apps: status, steps, usage, live")
async def test_a_run_is_shown_live_until_it_ends(opens: Opens):
    shown = await opens("Work", context="{theme: 'dark', styles: {variables: {'--color-background-primary': 'rgb(1, 2, 3)'}}}")
    for text in ("Running", "1 of 4", "page.work", "Once upon a time", "1,200 tokens", "2 model, 0 tool"):
        await shown.when(text)
    style = await shown.page.run("[getComputedStyle(document.body).backgroundColor, document.documentElement.style.colorScheme]")
    assert style == ["rgb(1, 2, 3)", "dark"]
    GATES[-1].opened.set()
    await shown.when("Completed")
    await shown.when(f"done {EVIL}")
    assert not await shown.page.run("document.body.innerText.includes('Under way')")
    spoken = await shown.page.run("document.querySelector('[aria-live]').textContent")
    assert spoken == "Work: Completed"
    assert (await shown.told_model())[-1].endswith("is completed. `workflows-Work-get_status` gives its result.")
    called = {call["name"] for call in await shown.tool_calls()}
    assert called == {"workflows-Work-get_status"}
    height = await shown.page.run("Math.ceil(document.documentElement.getBoundingClientRect().height)")
    await shown.tab.when(f"document.querySelector('iframe').style.height === '{height}px'")


@pytest.mark.promise("fault: markup in what a run says")
async def test_what_a_run_says_is_text_and_never_markup(opens: Opens):
    for name, text in (("Work", "Once upon a time <img"), ("Shop", "What may we send? <img"), ("Breaks", "<script>window.pwned")):
        shown = await opens(name)
        await shown.when(text)
        assert await shown.page.run("[document.images.length, document.scripts.length, window.pwned ?? 0]") == [0, 1, 0]


@pytest.mark.parametrize(("press", "result"), [("Allow", "the answer: all is gone"), ("Decline", "The reason: as it is")])
async def test_a_tool_call_is_allowed_or_declined_with_a_reason(opens: Opens, press: str, result: str):
    shown = await opens("Guarded")
    await shown.type("Reason", "as it is")
    await shown.press(press)
    await shown.when("Completed")
    await shown.when(result)


async def test_what_is_typed_outlives_a_call_that_was_lost_and_one_that_comes_too_late(opens: Opens, client: Client):
    shown = await opens("Twice")
    await shown.type("Your answer", "mine")
    await shown.tab.run("void (lost = /get_status/)")
    await shown.tab.run("fails.push('the host says no')")
    await shown.press("Send answer")
    await shown.when("The answer was not sent: the host says no")
    asked = {"run_id": await shown.run_id(), "request_id": "first#1"}
    assert not (await client.call_tool("workflows-Twice-resume", {**asked, "payload": "theirs"})).is_error
    await shown.press("Send answer")
    await shown.when("was answered before with something else")
    assert await shown.value("Your answer") == "mine"


async def test_a_question_that_is_answered_elsewhere_is_closed_with_what_was_typed_left_to_read(opens: Opens, client: Client):
    shown = await opens("Twice")
    await shown.type("Your answer", "mine")
    asked = {"run_id": await shown.run_id(), "request_id": "first#1", "payload": "theirs"}
    assert not (await client.call_tool("workflows-Twice-resume", asked)).is_error
    await shown.when("This question is no longer open")
    await shown.when("second?")
    assert await shown.page.run("[...document.querySelectorAll('textarea')].map((one) => [one.value, one.disabled])") == [
        ["mine", True],
        ["", False],
    ]


async def test_a_host_that_gives_no_status_is_asked_again(opens: Opens):
    shown = await opens("Work")
    await shown.tab.run("fails.push('the server is away')")
    await shown.when("the server is away")
    GATES[-1].opened.set()
    await shown.press("Try now")
    await shown.when("Completed")
    assert not await shown.page.run("document.body.innerText.includes('the server is away')")


async def test_a_run_is_cancelled_once_it_was_confirmed(opens: Opens):
    shown = await opens("Free")
    await shown.press("Cancel run")
    await shown.press("Keep it running")
    await shown.press("Cancel run")
    await shown.type("Reason", "not needed")
    await shown.press("Yes, cancel the run")
    await shown.when("Cancelled")
    cancels = [call for call in await shown.tool_calls() if call["name"] == "workflows-Free-cancel"]
    assert [call["arguments"]["reason"] for call in cancels] == ["not needed"]


async def test_a_large_result_is_read_on_demand(opens: Opens):
    shown = await opens("Free", "{run_parameters: {size: 60000}, wait_seconds: 0}")
    await shown.type("Your answer", "xy")
    await shown.press("Send answer")
    await shown.press("Show it here")
    assert await shown.page.when("document.querySelector('[aria-label=Result] pre')?.textContent.length") == 120_000


def told(**fields: Any) -> str:
    """A run as a host tells it that made it up."""
    now = "2026-07-28T12:00:00Z"
    run = {"run_id": "Made.up", "workflow": "Made", "started_at": now, "updated_at": now, "next_action": None, **fields}
    tools = {action: f"made-{action}" for action in ("get_status", "resume", "cancel")}
    result = {
        "content": [{"type": "text", "text": "the server's text"}],
        "structuredContent": run,
        "_meta": {"durable-mcp-agent/tools": tools},
    }
    return f"void (lost = /get_status/, tell('ui/notifications/tool-result', {json.dumps(result)}))"


KINDS: list[tuple[dict[str, Any], str, Any]] = [
    ({"kind": "elicitation", "schema": {"type": "integer", "default": 3}}, "Send answer", {"action": "accept", "content": 3}),
    ({"kind": "elicitation", "schema": {"type": "integer"}}, "Decline", {"action": "decline", "content": None}),
    ({"kind": "elicitation", "url": "https://pay.example/7"}, "Done", {"action": "accept", "content": None}),
    ({"kind": "signal", "schema": {"oneOf": [{"const": 1, "title": "One"}], "default": 1}}, "Send answer", 1),
    ({"kind": "signal", "schema": {"enum": list("abcdefg"), "default": "c"}}, "Send answer", "c"),
    ({"kind": "signal", "schema": {"type": ["number", "null"]}}, "Send answer", None),
]


async def test_each_kind_of_question_has_its_answer(opens: Opens):
    shown = await opens("Free")
    for number, (asked, press, payload) in enumerate(KINDS):
        request = {"request_id": f"made#{number}", "name": "made", "message": f"made up {number}", **asked}
        await shown.tab.run(told(status="waiting_for_input", pending_inputs=[request]))
        await shown.when(f"made up {number}")
        await shown.tab.run("void (called = nextCall('made-resume'))")
        await shown.press(press)
        answer = {"run_id": "Made.up", "request_id": f"made#{number}", "payload": payload}
        assert (await shown.tab.run("called"))["params"]["arguments"] == answer


async def test_only_addresses_of_the_web_are_opened_and_by_the_host(opens: Opens):
    shown = await opens("Free")
    addresses = ["https://pay.example/7", "javascript:window.pwned = 1"]
    asked = [{"request_id": f"a#{n}", "name": "a", "message": "", "url": url} for n, url in enumerate(addresses)]
    await shown.tab.run(told(status="waiting_for_input", pending_inputs=asked))
    await shown.when(addresses[1])
    assert await shown.page.run("[...document.links].map((link) => link.href)") == addresses[:1]
    await shown.tab.run("void (called = nextCall('open-link'))")
    await shown.page.run("document.links[0].click()")
    assert await shown.tab.run("called") == {"method": "ui/open-link", "params": {"url": addresses[0]}}


async def test_a_blocked_run_shows_the_cause_and_a_failed_one_its_error(opens: Opens):
    shown = await opens("Free")
    await shown.tab.run(told(status="blocked"))
    await shown.when("the server's text")
    await shown.tab.run(told(status="failed", error={"code": "Closed", "message": "not today", "cause": "the strike"}))
    for text in ("Failed", "Closed", "not today", "Caused by: the strike"):
        await shown.when(text)


@pytest.mark.promise("issue: MCP Apps: readable without it elsewhere")
async def test_hosts_find_the_page_by_the_tools_and_others_have_the_text(server: AgentServer, mode: Any):
    async with Client(server.mcp, mode=mode) as client:
        linked = {
            tool.name for tool in (await client.list_tools()).tools if tool.meta == {"ui": {"resourceUri": "ui://the%20shop/run"}}
        }
        assert linked == {
            f"workflows-{name}-{what}"
            for name in ("Work", "Shop", "Guarded", "Free", "Twice", "Breaks")
            for what in ("run", "get_status")
        }
        (listed,) = [one for one in (await client.list_resources()).resources if one.uri.startswith("ui:")]
        (page,) = (await client.read_resource(listed.uri)).contents
        assert isinstance(page, TextResourceContents)
        assert (page.mime_type, listed.mime_type) == ("text/html;profile=mcp-app",) * 2
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|https?://(?!\()", page.text)
        run = await client.call_tool("workflows-Free-run", {"wait_seconds": 0})
        assert (run.meta or {})["durable-mcp-agent/tools"]["resume"] == "workflows-Free-resume"
        (text,) = run.content
        assert isinstance(text, TextContent)
        assert "workflows-Free-" in text.text
        if mode == "auto":  # the older protocol has no place for it
            assert "io.modelcontextprotocol/ui" in (client.server_capabilities.extensions or {})

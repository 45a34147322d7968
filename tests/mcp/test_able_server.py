"""All that a downstream server can do, over each transport and in both eras of the protocol."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp_types import EmbeddedResource, ImageContent, ResourceLink, TextContent, TextResourceContents

from mcp_agent.activities.mcp import MCPActivities
from mcp_agent.config import MCPServerSettings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.mcp.connections import ConnectionManager
from mcp_agent.mcp.definitions import (
    RESULT_LIMIT,
    AnswerDownstreamRequest,
    CallDownstreamTool,
    DownstreamResult,
    GetDownstreamPrompt,
    ReadDownstreamResource,
)
from tests.mcp.able_server import FORM, PIXEL, Able, serving

pytestmark = pytest.mark.anyio
WAYS = ["stdio", "stdio legacy", "streamable_http", "streamable_http legacy", "sse", "sse legacy"]
SECRET = "planted-token-of-able"


def text_of(result: DownstreamResult) -> str:
    block = result.content[0]
    assert isinstance(block, TextContent), result
    return block.text


class Reached:
    """The able server behind a connection manager. `server` is there where it runs in this process."""

    def __init__(self, settings: dict[str, Any], server: Able | None) -> None:
        self.transport = settings.get("transport", "stdio")
        self.connections = ConnectionManager({"able": MCPServerSettings(**settings)})
        self.steps = MCPActivities(self.connections)
        self.server = server

    async def call(self, tool: str, run_id: str = "run", listener: Any = None, **more: Any) -> DownstreamResult:
        return await self.connections.call_tool(CallDownstreamTool(server="able", tool=tool, **more), run_id, listener)

    async def answer(self, tool: str, result: DownstreamResult, responses: dict[str, Any]) -> DownstreamResult:
        """As workflow code goes on with a call."""
        call = CallDownstreamTool(server="able", tool=tool)
        if result.ticket is None:
            given = {**result.answered, **responses}
            return await self.steps.call_tool(call.model_copy(update={"responses": given, "state": result.state}))
        return await self.steps.answer_request(AnswerDownstreamRequest(call=call, ticket=result.ticket, responses=responses))


@asynccontextmanager
async def reached(way: str, **more: Any) -> AsyncGenerator[Reached, None]:
    transport, _, era = way.partition(" ")
    settings: dict[str, Any] = {"protocol": era or "auto", "roots": ["/work"], **more}
    server: Able | None = None
    if transport == "stdio":
        program = str(Path(__file__).with_name("able_server.py"))
        settings |= {"command": sys.executable, "args": [program], "env": {"ABLE_TOKEN": SECRET}}
        able = Reached(settings, None)
        try:
            yield able
        finally:
            await able.connections.aclose()
        return
    server = Able()
    app = server.sse_app() if transport == "sse" else server.streamable_http_app(streamable_http_path="/mcp")
    async with serving(app) as base:
        able = Reached(settings | {"url": base + ("/sse" if transport == "sse" else "/mcp"), "transport": transport}, server)
        try:
            yield able
        finally:
            server.gate.set()
            await able.connections.aclose()


@pytest.fixture(scope="module", params=WAYS)
async def able(request: pytest.FixtureRequest) -> AsyncGenerator[Reached, None]:
    async with reached(request.param) as opened:
        yield opened


@pytest.mark.promise("issue: downstream prompts and resources, over stdio, SSE and streamable HTTP in both eras")
async def test_prompts_and_resources_are_listed_and_read(able: Reached):
    (prompt,) = await able.steps.list_prompts("able")
    assert (prompt.server, prompt.name, prompt.title, prompt.description) == ("able", "brief", "Brief", "Briefs.")
    assert [(each.name, each.required) for each in prompt.arguments] == [("topic", True)]
    filled = await able.steps.get_prompt(GetDownstreamPrompt(server="able", prompt="brief", arguments={"topic": "tea"}))
    assert [(message.role, message.content.text) for message in filled.messages] == [("user", "Brief me on tea.")]
    listed = await able.steps.list_resources("able")
    assert [(each.uri, each.template) for each in listed] == [("able://text", False), ("able://{name}", True)]
    read = await able.steps.read_resource(ReadDownstreamResource(server="able", uri="able://text"))
    assert [each.text for each in read.contents if isinstance(each, TextResourceContents)] == ["inside"]
    read = await able.steps.read_resource(ReadDownstreamResource(server="able", uri="able://bytes"))
    assert read.model_dump(mode="json")["contents"][0]["blob"] == PIXEL


async def test_a_resource_above_the_limit_is_an_error_with_its_size(able: Reached):
    with pytest.raises(WorkflowApplicationError, match="bytes; at most") as told:
        await able.steps.read_resource(ReadDownstreamResource(server="able", uri="able://big"))
    assert told.value.type == "DownstreamTooLarge"
    assert told.value.non_retryable


@pytest.mark.promise("issue: structured content, images and resource links of downstream tools pass through")
async def test_images_links_and_resources_pass_through(able: Reached):
    result = await able.call("shows")
    again = DownstreamResult.model_validate_json(result.model_dump_json())
    assert again == result
    _, image, link, embedded = again.content
    assert isinstance(image, ImageContent)
    assert (image.data, image.mime_type) == (PIXEL, "image/png")
    assert isinstance(link, ResourceLink)
    assert (str(link.uri), link.description) == ("able://big", "A large thing.")
    assert isinstance(embedded, EmbeddedResource)
    assert (await able.call("structured", arguments={"total": 3})).structured_content == {"total": 3}


async def test_what_does_not_fit_the_tool_s_own_schema_is_an_error_and_is_not_repeated(able: Reached):
    await able.connections.list_tools("able")
    with pytest.raises(WorkflowApplicationError, match="does not fit") as told:
        await able.call("structured", arguments={"total": "many"})
    assert told.value.type == "DownstreamError"
    assert told.value.non_retryable
    assert (await able.call("structured", arguments={"total": 3})).structured_content == {"total": 3}


@pytest.mark.promise("fault: a downstream server that returns 10 MB")
async def test_a_result_of_10_mb_is_a_clear_error_and_costs_no_second_call(able: Reached):
    if able.server is not None:
        able.server.begun.clear()
    call = CallDownstreamTool(server="able", tool="huge")
    if able.transport == "sse":
        with pytest.raises(WorkflowApplicationError, match="above 1 MB") as told:
            await able.steps.call_tool(call)
        assert told.value.type == "DownstreamTooLarge"
        assert told.value.non_retryable
    else:
        result = await able.steps.call_tool(call)
        assert result.is_error
        assert f"{RESULT_LIMIT:,}" in text_of(result)
    if able.server is not None:
        assert able.server.begun == ["huge"]
    assert text_of(await able.call("shows")) == "here"


@pytest.mark.promise("issue: a downstream elicitation reaches the run's person")
async def test_a_question_to_a_person_ends_the_step_and_its_answer_goes_on_with_the_call(able: Reached):
    asked = await able.call("ask")
    (question,) = asked.asks
    assert question.kind == "elicitation"
    assert question.params["message"] == "Which size?"
    assert question.params["requestedSchema"] == FORM
    assert asked == DownstreamResult.model_validate_json(asked.model_dump_json())
    answer = {"action": "accept", "content": {"size": "large"}}
    assert text_of(await able.answer("ask", asked, {question.key: answer})) == "accept {'size': 'large'}"


async def test_questions_may_follow_each_other(able: Reached):
    asked = await able.call("ask_twice")
    answer = {"action": "accept", "content": {"size": "large"}}
    (first,) = asked.asks
    asked = await able.answer("ask_twice", asked, {first.key: answer})
    (second,) = asked.asks
    assert (first.params["message"], second.params["message"]) == ("First?", "Second?")
    assert "large" in text_of(await able.answer("ask_twice", asked, {second.key: answer}))


async def test_an_address_that_a_person_should_open_is_handed_on(able: Reached):
    asked = await able.call("sign_in")
    (question,) = asked.asks
    assert (question.params["mode"], question.params["url"]) == ("url", "https://login.example/form")
    assert text_of(await able.answer("sign_in", asked, {question.key: {"action": "decline"}})) == "decline"


@pytest.mark.promise("issue: a downstream sampling request reaches the run's model")
async def test_a_request_for_a_model_is_handed_on_with_its_messages(able: Reached):
    asked = await able.call("think")
    (request,) = asked.asks
    assert request.kind == "sampling"
    assert request.params["messages"][0]["content"]["text"] == "A word?"
    answer = {"role": "assistant", "content": {"type": "text", "text": "moss"}, "model": "m"}
    assert text_of(await able.answer("think", asked, {request.key: answer})) == "moss"


@pytest.mark.promise("issue: downstream servers are told their roots")
async def test_roots_are_told_without_asking_anybody(able: Reached):
    assert text_of(await able.call("roots")) == "file:///work"


@pytest.mark.promise("issue: list_changed of a downstream server refreshes its tools")
async def test_a_result_says_that_the_server_has_other_tools_now(able: Reached):
    tools = await able.connections.list_tools("able")
    before = {tool.catalogue for tool in tools}.pop()
    assert not (await able.call("shows", catalogue=before)).tools_changed

    async def told() -> None:
        changed = False
        await able.call("grow", catalogue=before)
        while not changed:
            changed = (await able.call("shows", catalogue=before)).tools_changed

    async with asyncio.timeout(20):
        await told()
    tools = await able.connections.list_tools("able")
    assert "grown" in [tool.name for tool in tools]
    assert not (await able.call("shows", catalogue=tools[0].catalogue)).tools_changed


class Heard:
    def __init__(self) -> None:
        self.begins = 0
        self.progressed: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def begun(self) -> None:
        self.begins += 1

    def progress(self, *told: Any) -> None:
        self.progressed.put_nowait(told)


@pytest.mark.promise("issue: progress of a downstream tool is forwarded")
@pytest.mark.parametrize("way", WAYS)
async def test_progress_is_heard_while_the_call_is_under_way_and_a_cancel_reaches_the_server(way: str):
    async with reached(way) as able:
        heard = Heard()
        call = asyncio.create_task(able.call("counts", listener=heard))
        async with asyncio.timeout(20):
            assert await heard.progressed.get() == (1, 3, "one of three")
        assert heard.begins == 1
        assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        if able.server is not None:
            async with asyncio.timeout(20):
                while able.server.ended != ["counts"]:
                    await asyncio.sleep(0.01)
        assert text_of(await able.call("shows")) == "here"


@pytest.mark.parametrize("way", ["stdio", "streamable_http"])
async def test_a_server_that_only_wants_to_be_asked_again_is_asked_again(way: str):
    async with reached(way) as able:
        assert text_of(await able.call("again")) == "once more"


@pytest.mark.promise("issue: secrets planted in config and environment are absent from tool results and errors")
@pytest.mark.parametrize("way", ["stdio", "stdio legacy"])
async def test_a_server_s_own_secrets_are_masked_in_its_results_and_errors(way: str):
    async with reached(way) as able:
        assert text_of(await able.call("leaks")) == "my key is ***"
        with pytest.raises(WorkflowApplicationError, match=r"my key is \*\*\*") as told:
            await able.call("leaks", arguments={"refuse": True})
        assert SECRET not in str(told.value)


async def test_calls_of_two_runs_that_ask_at_once_are_told_apart_over_streamable_http():
    async with reached("streamable_http legacy") as able:
        asked = await asyncio.gather(*(able.call("ask", run_id=f"run {number}") for number in range(5)))
        assert len({one.ticket for one in asked}) == 5
        for number, one in enumerate(asked, 1):
            answer = {"action": "accept", "content": {"size": "small", "count": number}}
            result = await able.answer("ask", one, {one.asks[0].key: answer})
            assert f"'count': {number}" in text_of(result)


async def test_a_question_that_may_be_about_another_run_is_refused_and_nobody_sees_it():
    async with reached("sse legacy") as able:
        waiting = asyncio.create_task(able.call("waits", run_id="one"))
        assert able.server is not None
        while able.server.begun != ["waits"]:
            await asyncio.sleep(0.01)
        with pytest.raises(WorkflowApplicationError, match="cannot be told which call"):
            await able.call("ask", run_id="two")
        asked = await able.call("ask", run_id="one")
        assert asked.asks
        able.server.gate.set()
        assert text_of(await waiting) == "waited"


@pytest.mark.parametrize("way", ["stdio legacy", "streamable_http legacy", "sse legacy"])
async def test_a_call_that_nobody_answers_ends_when_its_time_is_over(way: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mcp_agent.mcp.server.HELD_LONGER", 0.0)
    async with reached(way, ask_timeout_seconds=0.2) as able:
        asked = await able.call("ask")
        assert asked.wait_seconds == 0.2
        server = able.connections._of("able")
        (held,) = server._held.values()
        async with asyncio.timeout(20):
            await asyncio.wait({held.open_call.task})
        with pytest.raises(WorkflowApplicationError, match="not open any more") as told:
            await able.answer("ask", asked, {asked.asks[0].key: {"action": "decline"}})
        assert told.value.type == "DownstreamAskLost"
        assert told.value.non_retryable


async def test_a_call_that_is_given_up_ends_at_the_server():
    async with reached("streamable_http legacy") as able:
        asked = await able.call("ask")
        call = CallDownstreamTool(server="able", tool="ask")
        assert asked.ticket is not None
        await able.steps.answer_request(AnswerDownstreamRequest(call=call, ticket=asked.ticket, give_up=True))
        assert able.server is not None
        async with asyncio.timeout(20):
            while able.server.ended != ["ask"]:
                await asyncio.sleep(0.01)


async def test_a_ticket_of_another_process_is_to_be_tried_again_elsewhere():
    async with reached("stdio legacy") as able, reached("stdio legacy") as other:
        asked = await able.call("ask")
        with pytest.raises(WorkflowApplicationError, match="by another process") as told:
            await other.answer("ask", asked, {asked.asks[0].key: {"action": "decline"}})
        assert told.value.type == "DownstreamAskElsewhere"
        assert not told.value.non_retryable


@pytest.mark.promise("issue: what a server may not ask, it is told beforehand")
@pytest.mark.parametrize("way", ["stdio legacy", "streamable_http legacy"])
async def test_a_server_that_may_not_ask_knows_it(way: str):
    async with reached(way, elicitation=False, sampling=False, roots=[]) as able:
        for tool in ("ask", "think", "roots"):
            with pytest.raises(WorkflowApplicationError) as told:
                await able.call(tool)
            assert told.value.type == "DownstreamError"


async def test_each_call_carries_its_key():
    async with reached("streamable_http") as able:
        await able.call("shows", key="run/1/shows")
        assert able.server is not None
        assert able.server.keys == ["run/1/shows"]


@pytest.mark.promise("issue: no doubled tool call: one that says it is destructive is not repeated when it broke off")
async def test_a_destructive_call_that_broke_off_is_not_to_be_repeated():
    async with reached("stdio") as able:
        tools = {tool.name: tool for tool in await able.connections.list_tools("able")}
        assert not tools["burns"].repeatable
        assert tools["shows"].repeatable
        with pytest.raises(WorkflowApplicationError, match="check first") as told:
            await able.call("burns", repeatable=False)
        assert told.value.type == "DownstreamOutcomeUnknown"
        assert told.value.non_retryable

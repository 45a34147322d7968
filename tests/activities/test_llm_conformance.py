"""What holds for every provider: the same calls and the same faults, through its real SDK over real HTTP."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal

import jsonschema
import pytest
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply, ToolCall
from mcp_types import ImageContent, TextContent, ToolResultContent
from pydantic_core import to_json

from mcp_agent.activities import llm
from mcp_agent.config import Settings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.workflows.llm.messages import (
    LLMRequest,
    LLMResponse,
    LLMSetup,
    Message,
    RequestParams,
    StopReason,
    ToolSpec,
    invalid_input,
)
from tests import model_calls
from tests.model_calls import KEY, activities, in_step
from tests.providers_http import Respond, http, raw_server, unused_port, writes

pytestmark = pytest.mark.anyio

TOOLS = LLMSetup(
    instruction="Be brief.",
    tools=[
        ToolSpec(
            name="add",
            description="Adds.",
            input_schema={"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        )
    ],
)
PLAIN = LLMSetup(instruction="Be brief.")
SCHEMA = {
    "title": "Brief",
    "type": "object",
    "properties": {"headline": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["headline", "count"],
    "additionalProperties": False,
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@dataclass(frozen=True)
class Provider:
    """How one provider is reached, and where its API differs from the others'.

    Attributes:
        section: Its section of the configuration.
        fake: What `llmock` calls it.
        options: More of its section.
        same_ids: An unstreamed answer with two tool calls `add` of the same id, in its API's form.
        stop_reasons: What its API has a word for, by `llmock`'s word.
        texts: In which answers arguments of tool calls are texts that the model writes, and not objects.
        knows_schemas: Whether `llmock` understands how its API is told a schema.
    """

    section: str
    fake: str
    same_ids: Any
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    stop_reasons: dict[str, StopReason] = field(default_factory=dict[str, StopReason])
    texts: tuple[Literal["streamed", "whole"], ...] = ("streamed", "whole")
    knows_schemas: bool = True

    def settings(self, base_url: str, **more: Any) -> Settings:
        return Settings(**{self.section: {"api_key": KEY, "base_url": base_url, **self.options, **more}})

    def request(self, *new: Message, setup: LLMSetup = PLAIN, **more: Any) -> LLMRequest:
        return model_calls.request(*new, provider=self.section, setup=setup, **more)

    async def ask(self, base_url: str, asked: LLMRequest | None = None, **more: Any) -> LLMResponse:
        return await model_calls.ask(self.settings(base_url, **more), asked or self.request())

    async def failure(self, base_url: str, asked: LLMRequest | None = None, **more: Any) -> WorkflowApplicationError:
        return await model_calls.failure(self.settings(base_url, **more), asked or self.request())


def chat_call() -> dict[str, Any]:
    return {"id": "same", "type": "function", "function": {"name": "add", "arguments": "{}"}}


def responses_call(number: int) -> dict[str, Any]:
    return {"type": "function_call", "id": f"fc_{number}", "call_id": "same", "name": "add", "arguments": "{}"}


CHAT = {"choices": [{"message": {"tool_calls": [chat_call(), chat_call()]}, "finish_reason": "tool_calls"}]}
CHAT_STOPS: dict[str, StopReason] = {"length": "max_tokens", "content_filter": "content_filter", "flux": "unknown"}
RESPONSES = {"status": "completed", "output": [responses_call(1), responses_call(2)]}


def anthropic_call() -> dict[str, Any]:
    return {"type": "tool_use", "id": "same", "name": "add", "input": {}}


ANTHROPIC = {
    "type": "message",
    "role": "assistant",
    "content": [anthropic_call(), anthropic_call()],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
ANTHROPIC_STOPS: dict[str, StopReason] = {"length": "max_tokens", "content_filter": "refusal", "flux": "unknown"}
GOOGLE_CALL = {"functionCall": {"id": "same", "name": "add", "args": {}}}
GOOGLE = {"candidates": [{"content": {"role": "model", "parts": [GOOGLE_CALL, GOOGLE_CALL]}, "finishReason": "STOP"}]}
GOOGLE_STOPS: dict[str, StopReason] = {"length": "max_tokens", "content_filter": "content_filter"}

PROVIDERS = {
    "openai chat": Provider("openai", "openai", CHAT, {"api": "chat"}, CHAT_STOPS),
    "openai responses": Provider("openai", "openai", RESPONSES, {"api": "responses"}, {"length": "max_tokens"}),
    "azure": Provider("azure", "openai", CHAT, {}, CHAT_STOPS),
    "anthropic": Provider("anthropic", "anthropic", ANTHROPIC, {}, ANTHROPIC_STOPS, ("streamed",), knows_schemas=False),
    "google": Provider("google", "gemini", GOOGLE, {}, GOOGLE_STOPS, ()),
}


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Provider:
    return PROVIDERS[request.param]


@pytest.fixture
def url(llmock: LLMock, provider: Provider) -> str:
    return llmock.base_url(provider.fake)


@pytest.fixture(params=[True, False], ids=["streamed", "whole"])
def params(request: pytest.FixtureRequest) -> RequestParams:
    return RequestParams(stream=request.param)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_comes_with_what_was_counted(provider: Provider, url: str, llmock: LLMock, params: RequestParams):
    llmock.reply("Hello there!")
    answer = await provider.ask(url, provider.request(params=params.model_copy(update={"model": "a-model"})))

    assert (answer.message.text, answer.stop_reason) == ("Hello there!", "end_turn")
    assert answer.model == "a-model"
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert "Be brief." in json.dumps(llmock.last_request.body)


@pytest.mark.promise("issue: streaming (mcp-agent#13, #307)")
async def test_a_streamed_answer_is_the_unstreamed_one(provider: Provider, url: str, llmock: LLMock):
    llmock.reply("Once upon a time.", times=2)
    streamed = await provider.ask(url, provider.request(params=RequestParams(stream=True)))
    whole = await provider.ask(url, provider.request(params=RequestParams(stream=False)))

    assert streamed.message.content == whole.message.content
    assert (streamed.stop_reason, streamed.usage, streamed.model) == (whole.stop_reason, whole.usage, whole.model)
    assert [record.stream for record in llmock.requests] == [True, False]


@pytest.mark.promise("issue: streaming (mcp-agent#13, #307)")
async def test_who_watches_hears_the_answer_grow(provider: Provider, url: str, llmock: LLMock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(llm, "HEARTBEAT_SECONDS", 0.01)
    heard: list[str] = []
    llmock.reply("Once upon a time there was a king.").pace(50)
    async with activities(provider.settings(url)) as models:
        with in_step(heartbeat=lambda *details: heard.append(json.dumps(details))):
            await models.generate(provider.request())

    assert any("Once" in one and "king" not in one for one in heard)


async def test_results_of_parallel_tools_reach_the_model(provider: Provider, url: str, llmock: LLMock, params: RequestParams):
    llmock.add(Reply(text="Adding.", tool_calls=(ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})))).reply("Three.")
    async with activities(provider.settings(url)) as models:
        with in_step():
            first = await models.generate(provider.request(Message.user("1 + 2?"), setup=TOOLS, params=params))
            results = [
                ToolResultContent(tool_use_id=one.id, content=[TextContent(text=f"result-{n}")], is_error=n == 1)
                for n, one in enumerate(first.message.tool_uses)
            ]
            second = await models.generate(provider.request(Message.user(results), parent=first.head, setup=TOOLS, params=params))

    assert first.stop_reason == "tool_use"
    assert [(one.name, one.input) for one in first.message.tool_uses] == [("add", {"a": 1}), ("add", {"a": 2})]
    assert len({one.id for one in first.message.tool_uses}) == 2
    assert second.message.text == "Three."
    sent = json.dumps(llmock.last_request.body)
    assert sent.index("Adding.") < sent.index("result-0") < sent.index("result-1")


async def test_a_conversation_survives_its_storage(provider: Provider, url: str, llmock: LLMock):
    llmock.add(Reply(tool_calls=(ToolCall("add", {"a": 1}),))).reply("One.")
    first = await provider.ask(url, provider.request(setup=TOOLS))
    stored = Message.model_validate_json(to_json(first.message))
    result = ToolResultContent(tool_use_id=stored.tool_uses[0].id, content=[TextContent(text="result-0")])
    second = await provider.ask(url, provider.request(Message.user("hi"), stored, Message.user([result]), setup=TOOLS))

    assert stored == first.message
    assert second.message.text == "One."


async def test_a_conversation_that_another_provider_began_goes_on(provider: Provider, url: str, llmock: LLMock):
    llmock.reply("Three.")
    began = Message.assistant([TextContent(text="Adding.")], {"elsewhere": {"items": [{"type": "reasoning"}]}})
    answer = await provider.ask(url, provider.request(Message.user("1 + 2?"), began, Message.user("Well?")))

    assert answer.message.text == "Three."
    assert "elsewhere" not in json.dumps(llmock.last_request.body)


async def test_a_schema_for_the_answer_is_sent(provider: Provider, url: str, llmock: LLMock):
    await provider.ask(url, provider.request(setup=LLMSetup(response_schema=SCHEMA)))

    assert "headline" in json.dumps(llmock.last_request.body)


@pytest.mark.parametrize("provider", [name for name, one in PROVIDERS.items() if one.knows_schemas], indirect=True)
async def test_an_answer_follows_its_schema(provider: Provider, url: str, params: RequestParams):
    answer = await provider.ask(url, provider.request(setup=LLMSetup(response_schema=SCHEMA), params=params))

    jsonschema.validate(json.loads(answer.message.text), SCHEMA)


async def test_an_image_is_sent(provider: Provider, url: str, llmock: LLMock):
    llmock.reply("A dot.")
    seen = Message.user([TextContent(text="What is it?"), ImageContent(data=PIXEL, mime_type="image/png")])
    await provider.ask(url, provider.request(seen))

    sent = json.dumps(llmock.last_request.body)
    assert "image/png" in sent
    assert PIXEL[:40] in sent


@pytest.mark.parametrize(
    ("provider", "word"),
    [(name, word) for name, provider in PROVIDERS.items() for word in provider.stop_reasons],
    indirect=["provider"],
)
async def test_why_the_model_stopped_is_told(provider: Provider, url: str, llmock: LLMock, params: RequestParams, word: str):
    llmock.add(Reply(text="half an ans", finish_reason=word))

    answer = await provider.ask(url, provider.request(params=params))
    assert answer.stop_reason == provider.stop_reasons[word]


async def test_an_empty_answer_says_so(provider: Provider, url: str, llmock: LLMock, params: RequestParams):
    llmock.add(Reply(text=""))

    answer = await provider.ask(url, provider.request(params=params))
    assert (answer.stop_reason, answer.message.text) == ("empty", "")


@pytest.mark.parametrize(
    ("provider", "params"),
    [(name, kind == "streamed") for name, provider in PROVIDERS.items() for kind in provider.texts],
    indirect=True,
)
async def test_broken_arguments_of_a_tool_call_reach_the_agent(
    provider: Provider, url: str, llmock: LLMock, params: RequestParams
):
    llmock.tool_mode("off").break_tool_call("malformed_arguments")
    answer = await provider.ask(url, provider.request(setup=TOOLS, params=params))

    (call,) = answer.message.tool_uses
    assert answer.stop_reason == "tool_use"
    assert invalid_input(call) is not None
    assert call.input == {}


async def test_tool_calls_with_the_same_id_are_told_apart(provider: Provider):
    async with raw_server(writes(http(json.dumps(provider.same_ids).encode()))) as server:
        answer = await provider.ask(root(server.url, provider), provider.request(setup=TOOLS, params=RequestParams(stream=False)))

    assert len({one.id for one in answer.message.tool_uses}) == 2


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def root(url: str, provider: Provider) -> str:
    """The base URL of a raw server for a provider: OpenAI's own ends in `/v1`."""
    return url if provider.fake == "openai" else url.removesuffix("/v1")


@pytest.mark.parametrize(
    ("status", "non_retryable"),
    [(400, True), (401, True), (403, True), (404, True), (408, False), (429, False), (500, False), (503, False), (529, False)],
)
async def test_a_status_says_whether_to_try_again(
    provider: Provider, url: str, llmock: LLMock, params: RequestParams, status: int, non_retryable: bool
):
    llmock.fail(status, message="said the provider", times=None)
    error = await provider.failure(url, provider.request(params=params))

    assert error.non_retryable is non_retryable
    assert error.details == ({"provider": provider.section, "status": status},)
    assert "said the provider" in error.message
    assert len(llmock.requests) == 1, "the SDK must not try again by itself"


async def test_retry_after_in_seconds_is_the_next_delay(provider: Provider, url: str, llmock: LLMock, params: RequestParams):
    llmock.rate_limit(retry_after=2.5)

    assert (await provider.failure(url, provider.request(params=params))).next_retry_delay == timedelta(seconds=2.5)


async def test_retry_after_as_a_date_is_the_next_delay(provider: Provider):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    async with raw_server(writes(http(b"{}", "429 Too Many Requests", retry_after=date))) as server:
        delay = (await provider.failure(root(server.url, provider))).next_retry_delay

    assert delay is not None
    assert 25 <= delay.total_seconds() <= 31


async def test_a_server_that_is_not_there_is_tried_again(provider: Provider):
    with unused_port() as port:
        error = await provider.failure(root(f"http://127.0.0.1:{port}/v1", provider))

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)


@pytest.mark.parametrize(
    "respond",
    [
        pytest.param(writes(b"", close=True), id="closed before the answer"),
        pytest.param(writes(b"", reset=True), id="reset before the answer"),
        pytest.param(writes(http(b'{"id": ', length=100), close=True), id="closed in the answer"),
        pytest.param(writes(http(b'{"id": ', length=100), reset=True), id="reset in the answer"),
        pytest.param(writes(http(b"data: {", length=100, content_type="text/event-stream"), reset=True), id="reset in a stream"),
    ],
)
async def test_a_connection_that_is_lost_is_tried_again(provider: Provider, params: RequestParams, respond: Respond):
    async with raw_server(respond) as server:
        error = await provider.failure(root(server.url, provider), provider.request(params=params))

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)
    assert server.connections == 1


@pytest.mark.parametrize("chunks", [1, 2, 3])
async def test_a_stream_that_ends_early_is_tried_again(provider: Provider, url: str, llmock: LLMock, chunks: int):
    llmock.reply("Once upon a time there was a king.").truncate(after_chunks=chunks)
    error = await provider.failure(url)

    assert (error.type, error.non_retryable) == ("IncompleteResponseError", False)


async def test_a_stream_that_is_dropped_is_tried_again(provider: Provider, url: str, llmock: LLMock):
    llmock.reply("Once upon a time there was a king.").disconnect(after_chunks=2)
    error = await provider.failure(url)

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)


async def test_a_stream_that_holds_no_json_is_tried_again(provider: Provider, url: str, llmock: LLMock):
    llmock.reply("Once upon a time there was a king.").corrupt(after_chunks=2)
    error = await provider.failure(url)

    assert error.type in ("IncompleteResponseError", "APIResponseValidationError")
    assert not error.non_retryable


@pytest.mark.parametrize(
    "answer", [http(b'{"choices": [{"mess'), http(b""), http(b"{}"), http(b"<html>", content_type="text/html"), http(b"[]")]
)
async def test_an_answer_that_is_none_is_tried_again(provider: Provider, params: RequestParams, answer: bytes):
    async with raw_server(writes(answer)) as server:
        error = await provider.failure(root(server.url, provider), provider.request(params=params))

    assert error.type in ("IncompleteResponseError", "APIResponseValidationError")
    assert not error.non_retryable


async def test_a_stream_that_stalls_is_given_up_and_tried_again(provider: Provider, url: str, llmock: LLMock):
    llmock.reply("Once upon a time there was a king.").stall(after_chunks=2, seconds=1)
    error = await provider.failure(url, stall_timeout_seconds=0.2)

    assert (error.type, error.non_retryable) == ("APITimeoutError", False)


async def test_an_answer_that_takes_too_long_is_given_up_and_tried_again(
    provider: Provider, url: str, llmock: LLMock, params: RequestParams
):
    llmock.reply("late").delay(1)
    error = await provider.failure(url, provider.request(params=params), timeout_seconds=0.2)

    assert (error.type, error.non_retryable) == ("APITimeoutError", False)


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [401, 400, 500])
async def test_the_key_is_in_no_error_and_in_no_log(
    provider: Provider, url: str, llmock: LLMock, params: RequestParams, status: int, caplog: pytest.LogCaptureFixture
):
    llmock.fail(status, message=f"Incorrect API key provided: {KEY}.")
    with caplog.at_level(logging.DEBUG):
        error = await provider.failure(url, provider.request(params=params))

    assert KEY not in error.message + str(error.details) + caplog.text


async def test_a_missing_key_says_what_to_set(provider: Provider, url: str, llmock: LLMock):
    error = await provider.failure(url, api_key=None)

    assert (error.type, error.non_retryable) == ("AuthenticationError", True)
    assert f"`{provider.section}.api_key`" in error.message
    assert llmock.requests == []


@pytest.mark.parametrize("status", [401, 404])
async def test_an_error_names_the_setting_to_correct(provider: Provider, url: str, llmock: LLMock, status: int):
    llmock.fail(status)
    error = await provider.failure(url)

    assert f"`{provider.section}." in error.message

"""Anthropic through its real SDK over real HTTP: against `llmock`, and against raw sockets for what it cannot make."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply, ToolCall
from mcp_types import ModelPreferences, TextContent, ToolResultContent
from pydantic import SecretStr

from mcp_agent.activities.llm import LLMActivities
from mcp_agent.config import ProviderSettings, Settings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.workflows.llm.messages import (
    LLMRequest,
    LLMResponse,
    Message,
    RequestParams,
    Usage,
    head_hash,
    invalid_input,
)
from mcp_agent.workflows.llm.providers.anthropic.client import AnthropicClient
from mcp_agent.workflows.llm.providers.base import CallContext
from tests import model_calls, providers_http
from tests.model_calls import SETUP
from tests.providers_http import Respond, http, writes

pytestmark = pytest.mark.anyio

KEY = "sk-ant-api03-Zx81aQ55mmNvTTy0"
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["at once", "streamed"])


def settings(base_url: str | None, key: str | None = KEY, **more: Any) -> ProviderSettings:
    return ProviderSettings(api_key=SecretStr(key) if key else None, base_url=base_url, **more)


def request(*new: Message, parent: str | None = None, **params: Any) -> LLMRequest:
    return model_calls.request(*new, provider="anthropic", parent=parent, params=RequestParams(**params))


def configured(base_url: str | None, **more: Any) -> Settings:
    return Settings(anthropic=settings(base_url, **more))


@asynccontextmanager
async def activities(base_url: str | None, **more: Any) -> AsyncGenerator[LLMActivities]:
    async with model_calls.activities(configured(base_url, **more)) as made:
        with model_calls.in_step():
            yield made


async def ask(base_url: str | None, asked: LLMRequest | None = None, **more: Any) -> LLMResponse:
    return await model_calls.ask(configured(base_url, **more), asked or request())


async def failure(base_url: str | None, asked: LLMRequest | None = None, **more: Any) -> WorkflowApplicationError:
    return await model_calls.failure(configured(base_url, **more), asked or request())


# ── a server of which every byte is known ────────────────────────────────────────────────────────────────────────────

raw_server = partial(providers_http.raw_server, path="")


def answer(*blocks: dict[str, Any], stop_reason: str | None = "end_turn") -> dict[str, Any]:
    usage = {
        "input_tokens": 12,
        "output_tokens": 50,
        "cache_read_input_tokens": 700,
        "cache_creation_input_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 20},
    }
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "stop_sequence": None}
    return message | {"content": list(blocks), "stop_reason": stop_reason, "usage": usage}


def sse(*events: Any) -> bytes:
    """Events as the API writes them. The last one has no blank line after it if it is text."""
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" if isinstance(event, dict) else event for event in events]
    return "".join(lines).encode()


def streamed(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of an answer; each text, thought and input comes in two pieces."""
    start = body | {"content": [], "stop_reason": None, "usage": body["usage"] | {"output_tokens": 1}}
    found: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(body["content"]):
        found.append({"type": "content_block_start", "index": index, "content_block": begun(block)})
        found += [{"type": "content_block_delta", "index": index, "delta": one} for one in deltas(block)]
        found.append({"type": "content_block_stop", "index": index})
    ending = {"stop_reason": body["stop_reason"], "stop_sequence": None}
    return [*found, {"type": "message_delta", "delta": ending, "usage": body["usage"]}, {"type": "message_stop"}]


def begun(block: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {name: empty.get(name, value) for name, value in block.items()}


def deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            yield from ({"type": "text_delta", "text": piece} for piece in halves(block["text"]))
        case "thinking":
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in halves(block["thinking"]))
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "tool_use":
            yield from ({"type": "input_json_delta", "partial_json": piece} for piece in halves(json.dumps(block["input"])))
        case _:
            return


def halves(whole: str) -> list[str]:
    return [whole[: len(whole) // 2], whole[len(whole) // 2 :]]


def event_stream(*events: Any) -> bytes:
    return http(sse(*events), content_type="text/event-stream")


def says(*bodies: dict[str, Any]) -> Respond:
    """Answers in turn, streamed where the request wants that."""
    left = iter(bodies)

    async def respond(asked: bytes, writer: asyncio.StreamWriter) -> None:
        body = next(left)
        writer.write(event_stream(*streamed(body)) if json.loads(asked).get("stream") else http(json.dumps(body).encode()))

    return respond


TEXT = {"type": "text", "text": "Hello, wörld 👋"}
THOUGHT = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmF0dXJl+/="}
HIDDEN = {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"}
CALLS = [{"type": "tool_use", "id": f"toolu_{a}", "name": "add", "input": {"a": a}} for a in (1, 2)]


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_a_text_comes_back_with_its_head_usage_model_and_cost(llmock: LLMock, stream: bool):
    llmock.reply("Hello!")
    asked = request(stream=stream)

    response = await ask(llmock.base_url("anthropic"), asked)

    assert response.message == Message.assistant("Hello!")
    assert (response.stop_reason, response.model) == ("end_turn", AnthropicClient.default_model)
    assert response.usage.input_tokens > 0
    assert response.usage.output_tokens > 0
    assert response.head == head_hash(None, SETUP.hash(), asked.new, response.message)
    assert llmock.last_request.body.get("stream", False) is stream


async def test_an_answer_has_its_price_with_what_the_cache_saves(monkeypatch: pytest.MonkeyPatch):
    async with raw_server(says(answer(TEXT))) as server:
        monkeypatch.setattr(AnthropicClient, "default_base_url", server.url)
        response = await ask(None)

    assert response.cost_usd == pytest.approx((12 * 2 + 700 * 0.1 + 30 * 2.5 + 50 * 10) / 1e6)
    assert (response.cost_source or "").startswith("genai-prices")


async def test_the_model_is_the_calls_the_preferred_or_the_configured_one(llmock: LLMock):
    llmock.reply("a", times=3)
    cheap = ModelPreferences(cost_priority=1)
    for params in ({}, {"model": "asked"}, {"model_preferences": cheap}):
        await ask(llmock.base_url("anthropic"), request(**params), default_model="configured")

    assert [record.model for record in llmock.requests] == ["configured", "asked", "claude-haiku-5-5"]


@BOTH
@pytest.mark.promise("design: reasoning goes back to the provider unchanged")
async def test_a_round_of_tools_goes_back_with_the_thoughts_that_led_to_it(stream: bool):
    first_blocks = [THOUGHT, HIDDEN, TEXT, *CALLS]
    respond = says(answer(*first_blocks, stop_reason="tool_use"), answer(TEXT))
    async with raw_server(respond) as server, activities(server.url) as models:
        first = await models.generate(request(stream=stream))
        results = [ToolResultContent(tool_use_id=one.id, content=[TextContent(text="3")]) for one in first.message.tool_uses]
        second = await models.generate(request(Message.user(results), parent=first.head, stream=stream))

    assert first.stop_reason == "tool_use"
    assert [one.input for one in first.message.tool_uses] == [{"a": 1}, {"a": 2}]
    assert first.usage == Usage(
        input_tokens=742, output_tokens=50, cached_input_tokens=700, cache_write_tokens=30, reasoning_tokens=20
    )
    assert second.message.text == TEXT["text"]
    user, assistant, answers = server.bodies[1]["messages"]
    assert user == server.bodies[0]["messages"][0]
    assert assistant == {"role": "assistant", "content": first_blocks}
    assert [block["tool_use_id"] for block in answers["content"]] == ["toolu_1", "toolu_2"]


@pytest.mark.promise("issue: a streamed answer is the answer")
@pytest.mark.parametrize(
    "body",
    [
        answer(TEXT),
        answer(TEXT, stop_reason="max_tokens"),
        answer(THOUGHT, HIDDEN, TEXT, *CALLS, stop_reason="tool_use"),
        answer(stop_reason="refusal"),
        answer(),
    ],
)
async def test_a_streamed_answer_is_the_same_and_grows_piece_by_piece(body: dict[str, Any]):
    pieces: list[str] = []
    async with raw_server(says(body, body)) as server:
        client = AnthropicClient(settings(server.url))
        replies = [
            await client.generate(SETUP, [Message.user("hi")], RequestParams(), CallContext("a", on_text=on_text))
            for on_text in (None, pieces.append)
        ]
        await client.aclose()

    assert replies[0] == replies[1]
    assert "stream" not in server.bodies[0]
    assert "".join(pieces) == replies[0].message.text
    assert len(pieces) == 2 * sum(block["type"] == "text" for block in body["content"])


async def test_an_answer_that_is_not_streamed_although_it_was_wanted_is_read():
    async with raw_server(writes(http(json.dumps(answer(TEXT)).encode()))) as server:
        assert (await ask(server.url, request(stream=True))).message.text == TEXT["text"]


async def test_what_a_server_sends_after_the_end_of_an_answer_is_none_of_it():
    async with raw_server(writes(event_stream(*streamed(answer(TEXT)), "data: [DONE]\n\n"))) as server:
        assert (await ask(server.url, request(stream=True))).message.text == TEXT["text"]


@BOTH
async def test_calls_share_one_connection_and_none_is_left_open(stream: bool):
    async with raw_server(says(*[answer(TEXT)] * 5)) as server:
        async with activities(server.url) as models:
            for _ in range(5):
                await models.generate(request(stream=stream))
        async with asyncio.timeout(5):
            await server.client_gone.wait()

    assert server.connections == 1


@BOTH
async def test_broken_arguments_reach_the_agent(llmock: LLMock, stream: bool):
    llmock.tool_mode("off").break_tool_call("malformed_arguments" if stream else "unknown_tool")
    response = await ask(llmock.base_url("anthropic"), request(stream=stream))

    (found,) = response.message.tool_uses
    assert (invalid_input(found) is not None) is stream
    assert response.stop_reason == "tool_use"


async def test_parallel_tools_reach_the_provider_in_one_turn(llmock: LLMock):
    llmock.add(Reply(tool_calls=(ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})))).reply("Three.")
    async with activities(llmock.base_url("anthropic")) as models:
        first = await models.generate(request(Message.user("1 + 2?")))
        results = [ToolResultContent(tool_use_id=one.id, content=[TextContent(text="3")]) for one in first.message.tool_uses]
        second = await models.generate(request(Message.user(results), parent=first.head))

    assert second.message.text == "Three."
    sent = llmock.last_request.body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert [block["tool_use_id"] for block in sent[2]["content"]] == [one.id for one in first.message.tool_uses]


async def test_parameters_and_options_of_the_provider_are_sent():
    asked = request(
        model="claude-haiku-4-5",
        temperature=0.5,
        max_tokens=9,
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
        provider_options={"vendor": {"x": 1}},
    )
    async with raw_server(says(answer(TEXT))) as server:
        await ask(server.url, asked.model_copy(update={"params": asked.params.model_copy(update={"stream": False})}))

    (body,) = server.bodies
    assert {name: body.get(name) for name in ("temperature", "max_tokens", "stop_sequences", "metadata", "vendor")} == {
        "temperature": 0.5,
        "max_tokens": 9,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "vendor": {"x": 1},
    }
    assert "anthropic-version: 2023-06-01\r\n" in server.heads[0].lower()


async def test_a_new_model_is_asked_in_the_sdks_own_version_of_the_api():
    async with raw_server(says(answer(TEXT))) as server:
        await ask(server.url, request(temperature=0.5, stream=False))

    assert "temperature" not in server.bodies[0]
    assert server.heads[0].lower().count("anthropic-version: ") == 1
    assert "anthropic-version: 2023-06-01\r\n" not in server.heads[0].lower()


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@BOTH
@pytest.mark.parametrize(
    ("status", "type_", "non_retryable"),
    [
        (400, "BadRequestError", True),
        (401, "AuthenticationError", True),
        (402, "PaymentRequiredError", True),
        (403, "PermissionDeniedError", True),
        (404, "NotFoundError", True),
        (413, "ContentTooLargeError", True),
        (408, "RequestTimeoutError", False),
        (409, "ConflictError", False),
        (429, "RateLimitError", False),
        (500, "InternalServerError", False),
        (503, "ServiceUnavailableError", False),
        (504, "GatewayTimeoutError", False),
        (529, "OverloadedError", False),
    ],
)
async def test_a_status_says_whether_to_try_again(llmock: LLMock, status: int, type_: str, non_retryable: bool, stream: bool):
    llmock.fail(status, message="said the provider", times=None)

    error = await failure(llmock.base_url("anthropic"), request(stream=stream))

    assert (error.type, error.non_retryable) == (type_, non_retryable)
    assert error.details == ({"provider": "anthropic", "status": status},)
    assert "said the provider" in error.message
    assert len(llmock.requests) == 1, "the SDK must not try again by itself"


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 408, 409, 412, 413, 422, 429, 431, 499, 500, 501, 502, 503, 504, 529]
)
async def test_errors_are_called_as_the_sdk_calls_them(status: int):
    import anthropic

    respond = writes(http(b'{"type": "error", "error": {"type": "x", "message": "m"}}', f"{status} No"))
    async with raw_server(respond) as server:
        error = await failure(server.url, request(stream=False))
    async with raw_server(respond) as server:
        client = anthropic.AsyncAnthropic(api_key=KEY, base_url=server.url, max_retries=0)
        with pytest.raises(anthropic.APIStatusError) as raised:
            await client.messages.create(model="m", max_tokens=1, messages=[])
        await client.close()

    assert error.type == type(raised.value).__name__


@BOTH
async def test_retry_after_is_the_next_delay(llmock: LLMock, stream: bool):
    llmock.rate_limit(retry_after=2.5)

    error = await failure(llmock.base_url("anthropic"), request(stream=stream))
    assert (error.type, error.next_retry_delay) == ("RateLimitError", timedelta(seconds=2.5))


async def test_a_limit_that_waiting_does_not_lift_is_not_retried():
    details = {"error_code": "contract_spend_limit_reached"}
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "spent", "details": details}}
    async with raw_server(writes(http(json.dumps(body).encode(), "429 Too Many Requests", retry_after="5"))) as server:
        error = await failure(server.url)

    assert (error.type, error.non_retryable, error.next_retry_delay) == ("RateLimitError", True, None)


async def test_the_provider_may_say_itself_that_trying_again_is_no_use():
    async with raw_server(writes(http(b"{}", "500 No", x_should_retry="false"))) as server:
        error = await failure(server.url)

    assert (error.type, error.non_retryable) == ("InternalServerError", True)


@BOTH
async def test_a_server_that_is_not_there_is_tried_again(unused_port: int, stream: bool):
    error = await failure(f"http://user:hunter22@127.0.0.1:{unused_port}", request(stream=stream))

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)
    assert f"`http://127.0.0.1:{unused_port}`" in error.message
    assert "hunter22" not in error.message


EVENTS = streamed(answer(TEXT))
HALF = http(json.dumps(answer(TEXT)).encode())[:-20]
HALF_STREAM = http(sse(*EVENTS[:4]), length=5_000, content_type="text/event-stream")


@pytest.mark.parametrize(
    ("respond", "stream"),
    [
        pytest.param(writes(b"", close=True), False, id="closed before the answer"),
        pytest.param(writes(b"", reset=True), True, id="reset before the answer"),
        pytest.param(writes(HALF, close=True), False, id="closed in the answer"),
        pytest.param(writes(HALF, reset=True), False, id="reset in the answer"),
        pytest.param(writes(HALF_STREAM, close=True), True, id="closed in the stream"),
        pytest.param(writes(HALF_STREAM, reset=True), True, id="reset in the stream"),
        pytest.param(writes(b"SSH-2.0-OpenSSH_9.6\r\n", close=True), True, id="not HTTP"),
    ],
)
async def test_a_connection_that_is_lost_is_tried_again(respond: Respond, stream: bool):
    async with raw_server(respond) as server:
        error = await failure(server.url, request(stream=stream))

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        pytest.param(b'{"content": [{"typ', "APIResponseValidationError", id="truncated"),
        pytest.param(b"", "APIResponseValidationError", id="nothing"),
        pytest.param(b"\xff\xfe{}", "APIResponseValidationError", id="not UTF-8"),
        pytest.param(b"<html>", "APIResponseValidationError", id="a web page"),
        pytest.param(b"{}", "IncompleteResponseError", id="no content"),
        pytest.param(json.dumps(answer(TEXT, stop_reason=None)).encode(), "IncompleteResponseError", id="no stop reason"),
    ],
)
async def test_an_answer_that_is_not_whole_is_tried_again(body: bytes, type_: str):
    async with raw_server(writes(http(body))) as server:
        error = await failure(server.url, request(stream=False))

    assert (error.type, error.non_retryable) == (type_, False)


@pytest.mark.promise("issue: a stream that ends early is no answer")
@pytest.mark.parametrize(
    "events",
    [
        *(pytest.param(EVENTS[:count], id=f"after {count} events") for count in range(len(EVENTS))),
        pytest.param([*EVENTS[:3], 'event: content_block_delta\ndata: {"type": "conte\n\n'], id="half an event"),
        pytest.param([*EVENTS[:-1], 'event: message_stop\ndata: {"type": "message_stop"}'], id="no blank line at the end"),
        pytest.param(["event: message_start\ndata: []\n\n"], id="no object"),
        pytest.param(["<html>"], id="a web page"),
    ],
)
async def test_a_stream_that_ends_early_is_tried_again(events: list[Any]):
    async with raw_server(writes(event_stream(*events))) as server:
        error = await failure(server.url, request(stream=True))

    assert (error.type, error.non_retryable) == ("IncompleteResponseError", False)


async def test_a_stream_that_is_no_text_is_tried_again():
    async with raw_server(writes(http(b"data: \xff\xfe\n\n", content_type="text/event-stream"))) as server:
        error = await failure(server.url, request(stream=True))

    assert (error.type, error.non_retryable) == ("IncompleteResponseError", False)


@pytest.mark.parametrize(
    ("kind", "type_", "non_retryable"),
    [
        ("overloaded_error", "OverloadedError", False),
        ("rate_limit_error", "RateLimitError", False),
        ("api_error", "InternalServerError", False),
        ("invalid_request_error", "BadRequestError", True),
    ],
)
async def test_an_error_in_a_stream_is_what_it_would_be_as_a_status(kind: str, type_: str, non_retryable: bool):
    error_event = {"type": "error", "error": {"type": kind, "message": f"said the provider of {KEY}"}}
    async with raw_server(writes(event_stream(*EVENTS[:4], error_event))) as server:
        error = await failure(server.url, request(stream=True))

    assert (error.type, error.non_retryable) == (type_, non_retryable)
    assert "said the provider" in error.message
    assert KEY not in error.message


async def stalls(asked: bytes, writer: asyncio.StreamWriter) -> None:
    """Begins to answer, and says no more."""
    begin = HALF_STREAM if json.loads(asked).get("stream") else http(b"{", length=100)
    writer.write(begin)
    await writer.drain()


@pytest.mark.parametrize(
    ("limits", "stream"),
    [
        ({"timeout_seconds": 0.2}, False),
        ({"timeout_seconds": 0.2}, True),
        ({"stall_timeout_seconds": 0.2}, True),
        ({"of the call": 0.2}, False),
        ({"of the call": 0.2}, True),
    ],
)
async def test_an_answer_that_stalls_ends_at_the_deadline_and_is_tried_again(limits: dict[str, float], stream: bool):
    limits = dict(limits)
    asked = request(stream=stream, timeout_seconds=limits.pop("of the call", None))
    async with raw_server(stalls) as server:
        start = time.monotonic()
        error = await failure(server.url, asked, **limits)

        assert (error.type, error.non_retryable) == ("APITimeoutError", False)
        assert time.monotonic() - start < 5
        async with asyncio.timeout(5):
            await server.client_gone.wait()


async def test_an_answer_that_comes_at_once_may_be_silent_longer_than_a_stream():
    async def thinks(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)  # what is tested is time
        writer.write(http(json.dumps(answer(TEXT)).encode()))

    async with raw_server(thinks) as server:
        response = await ask(server.url, request(stream=False), stall_timeout_seconds=0.1)

    assert response.message.text == TEXT["text"]


async def test_a_cancel_ends_a_stream_within_a_second():
    begun_to_answer = asyncio.Event()
    async with raw_server(stalls) as server:
        client = AnthropicClient(settings(server.url))
        context = CallContext("a", on_text=lambda _: begun_to_answer.set())
        call = asyncio.create_task(client.generate(SETUP, [Message.user("hi")], RequestParams(), context))
        async with asyncio.timeout(5):
            await begun_to_answer.wait()
        call.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await call
            await server.client_gone.wait()
        await client.aclose()


async def test_an_error_page_that_is_no_json_is_quoted_shortly():
    page = b"<html>" + b"x" * 100_000
    async with raw_server(writes(http(page, "502 Bad Gateway", content_type="text/html"))) as server:
        error = await failure(server.url)

    assert (error.type, error.non_retryable) == ("InternalServerError", False)
    assert "<html>" in error.message
    assert len(error.message) < 2_000


@pytest.mark.parametrize(("status", "hint"), [(401, "`anthropic.api_key`"), (404, "`anthropic.base_url`")])
async def test_an_error_says_what_to_check(llmock: LLMock, status: int, hint: str):
    llmock.fail(status)

    assert hint in (await failure(llmock.base_url("anthropic"))).message


@pytest.mark.parametrize("key", [None, "", "  \n"])
async def test_a_missing_key_says_what_to_set(llmock: LLMock, key: str | None):
    error = await failure(llmock.base_url("anthropic"), key=key)

    assert (error.type, error.non_retryable) == ("AuthenticationError", True)
    assert all(name in error.message for name in ("`anthropic.api_key`", "ANTHROPIC_API_KEY"))
    assert llmock.requests == []


async def test_content_that_the_provider_cannot_take_is_not_retried(llmock: LLMock):
    sound = Message.model_validate({"role": "user", "content": [{"type": "audio", "data": "", "mimeType": "audio/wav"}]})
    error = await failure(llmock.base_url("anthropic"), request(sound))

    assert (error.type, error.non_retryable) == ("UnsupportedContent", True)
    assert llmock.requests == []


@BOTH
@pytest.mark.parametrize(
    "said",
    [
        f"invalid x-api-key: {KEY}",
        "invalid x-api-key: sk-ant-****TTy0",
        "invalid x-api-key: sk-ant-...TTy0",
        f"Bad header 'Authorization: Bearer {KEY}'.",
        "x" * 1_460 + KEY,
    ],
)
async def test_no_part_of_a_key_is_in_an_errors_text_or_in_the_log(
    llmock: LLMock, said: str, caplog: pytest.LogCaptureFixture, stream: bool
):
    llmock.fail(401, message=said)
    with caplog.at_level(logging.DEBUG):
        error = await failure(llmock.base_url("anthropic"), request(stream=stream))

    shown = error.message + str(error.details) + caplog.text
    assert not [part for part in (KEY, "TTy0", "sk-a", "Zx8") if part in shown]

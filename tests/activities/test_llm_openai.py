"""OpenAI's two APIs and Azure through the real SDK over real HTTP: streams, what goes back, addresses and errors.

What all providers have in common is tested in `test_llm_conformance.py`, what all errors have in `test_llm.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply, ToolCall
from mcp_types import AudioContent, TextContent, ToolResultContent
from pydantic import SecretStr

from mcp_agent.config import AzureSettings, OpenAISettings, Settings
from mcp_agent.observability.pricing import cost_of
from mcp_agent.workflows.llm.augmented_llm_azure import AzureAugmentedLLM
from mcp_agent.workflows.llm.augmented_llm_openai import OpenAIAugmentedLLM
from mcp_agent.workflows.llm.messages import LLMSetup, Message, RequestParams, Usage
from mcp_agent.workflows.llm.providers.base import CallContext, ProviderReply
from mcp_agent.workflows.llm.providers.openai.azure import AzureClient
from mcp_agent.workflows.llm.providers.openai.client import CHAT, RESPONSES, OpenAIClient
from tests.model_calls import KEY, SETUP, activities, ask, failure, in_step, request
from tests.providers_http import Respond, http, raw_server, sse, writes

pytestmark = pytest.mark.anyio

APIS = ("chat", "responses")
TOKEN = "eyJhbGciOi.entra-token.Zx81aQ55"


def openai(base_url: str | None, **more: Any) -> Settings:
    return Settings(openai=OpenAISettings(api_key=SecretStr(KEY), base_url=base_url, **more))


def azure(base_url: str | None, **more: Any) -> Settings:
    return Settings(azure=AzureSettings(base_url=base_url, **{"api_key": SecretStr(KEY), **more}))


@asynccontextmanager
async def client(base_url: str, **more: Any) -> AsyncGenerator[OpenAIClient]:
    made = OpenAIClient(openai(base_url, **more).openai)
    try:
        yield made
    finally:
        await made.aclose()


async def told(base_url: str, api: str, *, stream: bool = True) -> tuple[ProviderReply, list[str]]:
    """An answer, and the pieces of it that were told while it came."""
    pieces: list[str] = []
    context = CallContext("writer", on_text=pieces.append if stream else None)
    async with client(base_url, api=api) as made:
        return await made.generate(SETUP, [Message.user("hi")], RequestParams(model="gpt-5.4"), context), pieces


# ── what the APIs send ───────────────────────────────────────────────────────────────────────────────────────────────


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def response(*items: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": status, "model": "m", "output": list(items), **more}


def last(*items: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": response(*items, status=status, **more)}


def words(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}


def delta(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}


HALF: dict[str, list[Any]] = {"chat": [chunk({"content": "half"})], "responses": [delta("half")]}
WHOLE: dict[str, list[Any]] = {
    "chat": [chunk({"content": "ho"}), chunk({}, "stop"), "[DONE]"],
    "responses": [delta("ho"), last(words("ho"))],
}
UNSTREAMED: dict[str, Any] = {
    "chat": {"model": "m", "choices": [{"message": {"content": "ho"}, "finish_reason": "stop"}]},
    "responses": response(words("ho")),
}


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.promise("issue: streaming (mcp-agent#13, #307)")
@pytest.mark.parametrize("api", APIS)
async def test_a_streamed_answer_is_told_in_pieces_and_is_the_unstreamed_one(llmock: LLMock, api: str):
    llmock.reply("Once upon a time.", times=2)
    whole, nothing = await told(llmock.base_url(), api, stream=False)
    streamed, pieces = await told(llmock.base_url(), api)

    assert without_ids(streamed) == without_ids(whole)
    assert nothing == []
    assert len(pieces) > 1
    assert "".join(pieces) == streamed.message.text == "Once upon a time."
    assert streamed.usage.input_tokens > 0


@pytest.mark.parametrize("api", APIS)
async def test_streamed_tool_calls_are_the_unstreamed_ones(llmock: LLMock, api: str):
    made = Reply(text="Adding.", tool_calls=(ToolCall("add", {"a": 1, "text": "x" * 40}), ToolCall("add", {"a": 2})), times=2)
    llmock.add(made)
    whole, _ = await told(llmock.base_url(), api, stream=False)
    streamed, _ = await told(llmock.base_url(), api)

    assert streamed.stop_reason == whole.stop_reason == "tool_use"
    assert [one.input for one in streamed.message.tool_uses] == [{"a": 1, "text": "x" * 40}, {"a": 2}]
    assert without_ids(streamed) == without_ids(whole)


def without_ids(reply: ProviderReply) -> Any:
    """`llmock` gives each answer ids of its own."""
    text = reply.message.model_dump_json()
    for number, one in enumerate(reply.message.tool_uses):
        text = text.replace(one.id, f"call {number}")
    data = json.loads(text)
    for item in data.get("provider_data", {}).get("openai_responses", {}).get("items", []):
        del item["id"]
    return data, reply.stop_reason, reply.usage, reply.model


@pytest.mark.parametrize("api", APIS)
async def test_a_server_that_does_not_stream_is_understood(api: str):
    async with raw_server(writes(http(json.dumps(UNSTREAMED[api]).encode()))) as server:
        reply, _ = await told(server.url, api)

    assert server.bodies[0]["stream"] is True
    assert (reply.message.text, reply.stop_reason) == ("ho", "end_turn")


async def test_usage_is_asked_for_with_a_stream(llmock: LLMock):
    llmock.reply("a")
    await told(llmock.base_url(), "chat")

    assert llmock.last_request.body["stream_options"] == {"include_usage": True}


async def test_a_stream_may_end_without_a_sign_after_its_finish_reason():
    async with raw_server(writes(sse(*WHOLE["chat"][:-1]))) as server:
        reply, _ = await told(server.url, "chat")

    assert (reply.message.text, reply.usage) == ("ho", Usage())


@pytest.mark.parametrize("api", APIS)
async def test_streamed_calls_share_one_connection(api: str):
    async with raw_server(writes(sse(*WHOLE[api]))) as server, client(server.url, api=api) as made:
        for _ in range(3):
            await made.generate(LLMSetup(), [Message.user("hi")], RequestParams(), CallContext("a", on_text=len))
        assert server.connections == 1


def answers(*events: list[Any]) -> Respond:
    """One list of events for each request, in order."""
    waiting = iter(events)

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(sse(*next(waiting)))

    return respond


async def both_turns(respond: Respond, **more: Any) -> list[Any]:
    """Asks, answers all tool calls, and asks again; what was sent."""
    async with raw_server(respond) as server:
        async with activities(openai(server.url, **more)) as models:
            with in_step():
                first = await models.generate(request(params=RequestParams(model="gpt-5.4")))
                calls = first.message.tool_uses
                results = [ToolResultContent(tool_use_id=one.id, content=[TextContent(text="3")]) for one in calls]
                await models.generate(request(Message.user(results), parent=first.head))
        return server.bodies


@pytest.mark.promise("issue: reasoning items and signatures go back unchanged")
async def test_items_of_a_response_go_back_byte_for_byte_with_the_results():
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "Zm9v=="},
        words("Adding."),
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "add",
            "arguments": '{"a": 1}',
            "status": "completed",
        },
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "YmFy"},
        {
            "type": "function_call",
            "id": "fc_2",
            "call_id": "call_2",
            "name": "add",
            "arguments": '{"a":2}',
            "status": "completed",
        },
    ]
    first, second = await both_turns(answers([last(*items)], WHOLE["responses"]), api="responses")

    assert first["store"] is second["store"] is False
    assert first["include"] == ["reasoning.encrypted_content"]
    assert second["input"][1:6] == items
    assert second["input"][6:] == [
        {"type": "function_call_output", "call_id": "call_1", "output": "3"},
        {"type": "function_call_output", "call_id": "call_2", "output": "3"},
    ]


@pytest.mark.promise("issue: reasoning items and signatures go back unchanged")
async def test_reasoning_of_a_compatible_server_goes_back_with_the_results():
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    signature = {"google": {"thought_signature": "c2ln"}}
    events = [
        chunk({"reasoning_content": "Let me"}),
        chunk({"reasoning_content": " see."}),
        chunk({"tool_calls": [{**call, "extra_content": signature}]}, "tool_calls"),
    ]
    _, second = await both_turns(answers(events, WHOLE["chat"]))

    said = second["messages"][2]
    assert said["reasoning_content"] == "Let me see."
    assert said["tool_calls"][0]["extra_content"] == signature


# ── streams that break ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("more", "missing", "close", "type_"),
    [
        pytest.param([], 0, False, "IncompleteResponseError", id="ends early"),
        pytest.param([], 100, True, "APIConnectionError", id="is cut off"),
        pytest.param(['{"choices": [{"del'], 0, False, "APIResponseValidationError", id="holds no JSON"),
        pytest.param(["[DONE]"], 0, False, "IncompleteResponseError", id="says it is done, but is not"),
    ],
)
async def test_a_stream_that_breaks_is_tried_again(api: str, more: list[Any], missing: int, close: bool, type_: str):
    async with raw_server(writes(sse(*HALF[api], *more, missing=missing), close=close)) as server:
        error = await failure(openai(server.url, api=api), request())

    assert (error.type, error.non_retryable) == (type_, False)
    assert server.connections == 1


@pytest.mark.parametrize("api", APIS)
async def test_a_stream_that_stalls_is_given_up_and_tried_again(api: str):
    async with raw_server(writes(sse(*HALF[api], missing=100))) as server:
        error = await failure(openai(server.url, api=api, stall_timeout_seconds=0.2), request())
        async with asyncio.timeout(5):
            await server.client_gone.wait()

    assert (error.type, error.non_retryable) == ("APITimeoutError", False)


def test_an_answer_that_is_not_streamed_may_be_silent_until_the_time_out():
    made = OpenAIClient(OpenAISettings(timeout_seconds=50, stall_timeout_seconds=5))
    made._import()

    assert (made._timeout().read, made._timeout(streamed=False).read) == (5, 50)


@pytest.mark.parametrize("api", APIS)
async def test_a_cancel_ends_a_stream_within_a_second(api: str):
    heard = asyncio.Event()
    async with raw_server(writes(sse(*HALF[api], missing=100))) as server, client(server.url, api=api) as made:
        context = CallContext("a", on_text=lambda _: heard.set())
        call = asyncio.create_task(made.generate(LLMSetup(), [Message.user("hi")], RequestParams(), context))
        async with asyncio.timeout(5):
            await heard.wait()
        call.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await call
            await server.client_gone.wait()


CHAT_ERRORS: list[tuple[Any, str, bool]] = [
    ({"error": {"message": "said the API", "type": "server_error", "code": None}}, "InternalServerError", False),
    ({"error": {"message": "said the API", "code": 429}}, "RateLimitError", False),
    ({"error": {"message": "said the API", "type": "invalid_request_error"}}, "BadRequestError", True),
    ({"error": {"message": "said the API", "code": "insufficient_quota"}}, "RateLimitError", True),
    ({"error": "said the API"}, "IncompleteResponseError", False),
]
RESPONSES_ERRORS: list[tuple[Any, str, bool]] = [
    ({"type": "error", "code": "server_error", "message": "said the API"}, "InternalServerError", False),
    ({"type": "error", "error": {"code": "rate_limit_exceeded", "message": "said the API"}}, "RateLimitError", False),
    (last(status="failed", error={"code": "server_error", "message": "said the API"}), "InternalServerError", False),
    (last(status="failed", error={"code": "invalid_prompt", "message": "said the API"}), "BadRequestError", True),
]


@pytest.mark.parametrize(
    ("api", "event", "type_", "non_retryable"),
    [*(("chat", *one) for one in CHAT_ERRORS), *(("responses", *one) for one in RESPONSES_ERRORS)],
)
async def test_an_error_in_a_stream_counts_like_the_http_error(api: str, event: Any, type_: str, non_retryable: bool):
    async with raw_server(writes(sse(*HALF[api], event))) as server:
        error = await failure(openai(server.url, api=api), request())

    assert (error.type, error.non_retryable) == (type_, non_retryable)
    if type_ != "IncompleteResponseError":
        assert "said the API" in error.message


@pytest.mark.parametrize("api", APIS)
async def test_no_part_of_a_key_is_in_the_error_of_a_stream(api: str):
    event = {"type": "error", "error": {"code": "invalid_api_key", "message": f"Incorrect API key: {KEY}."}}
    async with raw_server(writes(sse(*HALF[api], event))) as server:
        error = await failure(openai(server.url, api=api), request())

    assert (error.type, error.non_retryable) == ("AuthenticationError", True)
    assert KEY not in error.message


async def test_a_whole_answer_that_is_an_error_page_is_no_answer_of_the_responses_api():
    async with raw_server(writes(http(b'{"detail": "ok"}'))) as server:
        error = await failure(openai(server.url, api="responses"), request())

    assert (error.type, error.non_retryable) == ("IncompleteResponseError", False)


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("base_url", "api", "asked"),
    [
        (None, "auto", RESPONSES),
        ("https://api.openai.com/v1/", "auto", RESPONSES),
        ("https://eu.api.openai.com/v1", "auto", RESPONSES),
        ("https://api.openai.com.example.com/v1", "auto", CHAT),
        ("http://localhost:11434/v1", "auto", CHAT),
        ("http://localhost:11434/v1", "responses", RESPONSES),
        (None, "chat", CHAT),
    ],
)
def test_openai_itself_is_asked_for_responses_and_others_for_chat_completions(base_url: str | None, api: Any, asked: Any):
    assert OpenAIClient(OpenAISettings(base_url=base_url, api=api)).api([Message.user("hi")], RequestParams()) is asked


@pytest.mark.parametrize(
    ("message", "params"),
    [
        (Message.user("hi"), RequestParams(stop_sequences=["END"])),
        (Message.user([AudioContent(data="aGk=", mime_type="audio/wav")]), RequestParams()),
    ],
)
def test_openai_is_asked_for_chat_completions_where_only_they_can_do_it(message: Message, params: RequestParams):
    assert OpenAIClient(OpenAISettings()).api([message], params) is CHAT
    assert OpenAIClient(OpenAISettings(api="responses")).api([message], params) is RESPONSES


async def test_organization_and_project_are_told():
    async with raw_server(writes(sse(*WHOLE["chat"]))) as server:
        await ask(openai(server.url, organization="org-1", project="proj_1"), request())

    head = server.heads[0].lower()
    assert "openai-organization: org-1" in head
    assert "openai-project: proj_1" in head


@pytest.mark.parametrize("client", [OpenAIClient, AzureClient])
def test_all_models_to_choose_from_have_a_price(client: type[OpenAIClient]):
    usage = Usage(input_tokens=1000, output_tokens=1000)

    assert all(cost_of(client.section, model, usage) for model in [client.default_model, *client.default_models])


# ── Azure ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def root(url: str) -> str:
    return url.removesuffix("/v1")


@pytest.mark.parametrize(
    ("end", "more", "path", "secret"),
    [
        ("", {}, "/openai/v1/chat/completions", f"authorization: bearer {KEY}"),
        ("/", {}, "/openai/v1/chat/completions", f"authorization: bearer {KEY}"),
        ("/openai", {"api": "responses"}, "/openai/v1/responses", f"authorization: bearer {KEY}"),
        ("/openai/v1/", {"api": "chat"}, "/openai/v1/chat/completions", f"authorization: bearer {KEY}"),
        ("", {"api_key": None, "ad_token": SecretStr(TOKEN)}, "/openai/v1/chat/completions", f"authorization: bearer {TOKEN}"),
        (
            "",
            {"api_version": "2024-10-21"},
            "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
            f"api-key: {KEY}",
        ),
        (
            "/openai/deployments/my-gpt",
            {"api_version": "2024-10-21"},
            "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
            f"api-key: {KEY}",
        ),
        (
            "",
            {"api_version": "2025-04-01-preview", "api": "responses"},
            "/openai/responses?api-version=2025-04-01-preview",
            f"api-key: {KEY}",
        ),
        (
            "/",
            {"api_version": "2024-10-21", "api_key": None, "ad_token": SecretStr(TOKEN)},
            "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
            f"authorization: bearer {TOKEN}",
        ),
    ],
)
async def test_azure_is_asked_at_its_own_addresses(end: str, more: dict[str, Any], path: str, secret: str):
    events = WHOLE["responses" if more.get("api") == "responses" else "chat"]
    async with raw_server(writes(sse(*events))) as server:
        asked = request(provider="azure", params=RequestParams(model="my-gpt", max_tokens=9))
        answer = await ask(azure(root(server.url) + end, **more), asked)

    assert answer.message.text == "ho"
    head = server.heads[0]
    assert head.startswith(f"POST {path} HTTP")
    assert secret.lower() in head.lower()
    assert server.bodies[0]["model"] == "my-gpt"


async def test_a_dated_api_of_azure_is_not_told_what_is_newer():
    asked = request(provider="azure", params=RequestParams(model="my-gpt", max_tokens=9))
    async with raw_server(writes(sse(*WHOLE["chat"]))) as server:
        await ask(azure(root(server.url)), asked)
        await ask(azure(root(server.url), api_version="2024-02-01"), asked)

    newest, dated = server.bodies
    assert newest.keys() - dated.keys() == {"max_completion_tokens", "prompt_cache_key"}
    assert dated.keys() - newest.keys() == {"max_tokens"}


@pytest.mark.parametrize("api_version", [None, "2024-10-21"])
async def test_a_prompt_that_azure_filters_is_not_sent_again(api_version: str | None):
    said = {"error": {"code": "content_filter", "message": "The prompt was filtered.", "status": 400}}
    async with raw_server(writes(http(json.dumps(said).encode(), "400 Bad Request"))) as server:
        error = await failure(azure(root(server.url), api_version=api_version), request(provider="azure"))

    assert (error.type, error.non_retryable) == ("BadRequestError", True)
    assert "The prompt was filtered" in error.message


async def test_an_answer_that_azure_filters_says_so():
    events = [{"model": "m", "choices": [], "prompt_filter_results": []}, chunk({"content": "half"}), chunk({}, "content_filter")]
    async with raw_server(writes(sse(*events))) as server:
        answer = await ask(azure(root(server.url)), request(provider="azure"))

    assert answer.stop_reason == "content_filter"


@pytest.mark.parametrize("more", [{}, {"api_key": None, "ad_token": SecretStr(TOKEN)}])
async def test_a_refused_key_of_azure_is_not_shown_and_its_setting_is_named(more: dict[str, Any]):
    said = {"error": {"code": "401", "message": f"Access denied for {KEY} and {TOKEN}."}}
    async with raw_server(writes(http(json.dumps(said).encode(), "401 Unauthorized"))) as server:
        error = await failure(azure(root(server.url), **more), request(provider="azure"))

    assert (error.type, error.non_retryable) == ("AuthenticationError", True)
    assert "`azure.api_key` or `azure.ad_token`" in error.message
    assert (TOKEN if more else KEY) not in error.message


@pytest.mark.parametrize(
    ("base_url", "more", "type_", "named"),
    [
        (None, {}, "ConfigError", "`azure.base_url`"),
        ("my-resource", {}, "ConfigError", "`azure.base_url`"),
        ("https://my.openai.azure.com", {"api_key": None}, "AuthenticationError", "AZURE_OPENAI_API_KEY"),
        ("https://my.openai.azure.com", {"ad_token": SecretStr(TOKEN)}, "ConfigError", "`azure.ad_token`"),
    ],
)
async def test_what_azure_needs_is_said_before_anything_is_sent(
    base_url: str | None, more: dict[str, Any], type_: str, named: str
):
    error = await failure(azure(base_url, **more), request(provider="azure"))

    assert (error.type, error.non_retryable) == (type_, True)
    assert named in error.message


def test_the_classes_name_the_sections_of_their_providers():
    assert (OpenAIAugmentedLLM.provider, AzureAugmentedLLM.provider) == (OpenAIClient.section, AzureClient.section)

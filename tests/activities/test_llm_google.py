"""Gemini through the real SDK over real HTTP: against `llmock`, and against raw sockets for what it cannot make."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply, ToolCall
from mcp_types import TextContent, ToolResultContent
from pydantic import SecretStr
from pydantic_core import from_json, to_json

from mcp_agent.activities.llm import LLMActivities
from mcp_agent.config import GoogleSettings, Settings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.observability.pricing import price_per_token
from mcp_agent.workflows.llm.messages import LLMRequest, LLMResponse, Message, RequestParams
from mcp_agent.workflows.llm.providers.base import CallContext
from mcp_agent.workflows.llm.providers.google.client import GoogleClient
from tests import model_calls
from tests.activities.google_http import gemini_server, refused, said, says, sse, stalls_after
from tests.model_calls import SETUP
from tests.providers_http import RawServer, http, writes

pytestmark = pytest.mark.anyio

KEY = "AIzaSyTestKey-0123456789abcdefghijklmnop"


def settings(base_url: str | None, key: str | None = KEY, **more: Any) -> Settings:
    return Settings(google=GoogleSettings(api_key=SecretStr(key) if key else None, base_url=base_url, **more))


def request(*new: Message, parent: str | None = None, **params: Any) -> LLMRequest:
    return model_calls.request(*new, provider="google", parent=parent, params=RequestParams(**params))


def activities(base_url: str | None, **more: Any) -> AbstractAsyncContextManager[LLMActivities]:
    return model_calls.activities(settings(base_url, **more))


async def ask(base_url: str | None, asked: LLMRequest | None = None, **more: Any) -> LLMResponse:
    return await model_calls.ask(settings(base_url, **more), asked or request())


async def failure(base_url: str | None, asked: LLMRequest | None = None, **more: Any) -> WorkflowApplicationError:
    return await model_calls.failure(settings(base_url, **more), asked or request())


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@both
async def test_a_text_comes_back_with_its_usage_and_model(llmock: LLMock, stream: bool):
    llmock.reply("Hello, how are you?")

    response = await ask(llmock.base_url("gemini"), request(stream=stream, model="gemini-3.8-flash"))

    assert response.message == Message.assistant("Hello, how are you?")
    assert (response.stop_reason, response.model) == ("end_turn", "gemini-3.8-flash")
    assert response.usage.input_tokens > 0
    assert response.usage.output_tokens > 0
    sent = llmock.last_request.body
    assert sent["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert sent["tools"] == [{"functionDeclarations": [{"name": "add", "description": "Adds."}]}]


@both
async def test_a_conversation_with_parallel_tools_reaches_gemini_whole(llmock: LLMock, stream: bool):
    llmock.add(Reply(tool_calls=(ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})))).reply("Three.")
    async with activities(llmock.base_url("gemini")) as models:
        first = await models.generate(request(Message.user("1 + 2?"), stream=stream))
        results = [
            ToolResultContent(tool_use_id=one.id, content=[TextContent(text=f"for {one.input['a']}")])
            for one in reversed(first.message.tool_uses)
        ]
        second = await models.generate(request(Message.user(results), parent=first.head, stream=stream))

    assert (first.stop_reason, second.message.text) == ("tool_use", "Three.")
    assert [one.id for one in first.message.tool_uses] == ["call-1", "call-2"]
    sent = llmock.last_request.body["contents"]
    assert [content["role"] for content in sent] == ["user", "model", "user"]
    answers = [part["functionResponse"] for part in sent[2]["parts"]]
    assert answers == [{"name": "add", "response": {"output": f"for {n}"}} for n in (1, 2)], "in the order of the calls"


PIECES = [
    said({"text": "Let me ", "thought": True}, finish=None),
    said({"text": "think.", "thought": True}, finish=None, usageMetadata={"promptTokenCount": 900}),
    said({"text": "I "}, finish=None),
    said({"text": "add"}, {"text": " it.", "thoughtSignature": "c2lnLTA="}, finish=None),
    said({"functionCall": {"id": "f1", "name": "add", "args": {"a": 1}}, "thoughtSignature": "c2lnLTE="}, finish=None),
    said({"functionCall": {"id": "f2", "name": "add", "args": {"a": 2}}}, finish=None),
    said(
        {"text": "", "thoughtSignature": "c2lnLTI="},
        usageMetadata={
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 600,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 50,
            "totalTokenCount": 1070,
        },
    ),
]
WHOLE = said(
    {"text": "Let me think.", "thought": True},
    {"text": "I add"},
    {"text": " it.", "thoughtSignature": "c2lnLTA="},
    {"functionCall": {"id": "f1", "name": "add", "args": {"a": 1}}, "thoughtSignature": "c2lnLTE="},
    {"functionCall": {"id": "f2", "name": "add", "args": {"a": 2}}},
    {"text": "", "thoughtSignature": "c2lnLTI="},
    usageMetadata=PIECES[-1]["usageMetadata"],
)


@pytest.mark.promise("issue: a streamed answer equals the unstreamed one")
async def test_a_streamed_answer_equals_the_answer_in_one_piece():
    async with gemini_server(says(WHOLE)) as server:
        whole = await ask(server.url, request(stream=False))
    async with gemini_server(writes(sse(*PIECES))) as server:
        streamed = await ask(server.url, request(stream=True))

    assert streamed == whole
    assert (whole.message.text, whole.stop_reason) == ("I add it.", "tool_use")
    assert [(one.id, one.input) for one in whole.message.tool_uses] == [("f1", {"a": 1}), ("f2", {"a": 2})]
    usage = whole.usage
    assert (usage.input_tokens, usage.cached_input_tokens) == (1000, 600)
    assert (usage.output_tokens, usage.reasoning_tokens) == (70, 50)


async def test_each_piece_of_text_is_told_while_it_is_written():
    told: list[str] = []
    client = GoogleClient(GoogleSettings(api_key=SecretStr(KEY)))
    async with gemini_server(writes(sse(*PIECES))) as server:
        client = GoogleClient(GoogleSettings(api_key=SecretStr(KEY), base_url=server.url))
        try:
            reply = await client.generate(
                SETUP, [Message.user("hi")], RequestParams(), CallContext(agent="writer", on_text=told.append)
            )
        finally:
            await client.aclose()

    assert told == ["I ", "add", " it."], "and no thoughts"
    assert "".join(told) == reply.message.text


@both
@pytest.mark.promise("issue: reasoning returns unchanged and in place")
async def test_thoughts_signatures_and_ids_return_unchanged_and_in_place(stream: bool):
    answers = (sse(*PIECES), sse(said({"text": "3"}))) if stream else (http(to_json(WHOLE)), http(to_json(said({"text": "3"}))))
    async with gemini_server(writes(*answers)) as server, activities(server.url) as models:
        first = await models.generate(request(stream=stream))
        stored = LLMResponse.model_validate(from_json(to_json(first)))
        assert stored == first, "as it is after a trip through a history"
        results = [ToolResultContent(tool_use_id=one.id, content=[TextContent(text="x")]) for one in first.message.tool_uses]
        await models.generate(request(Message.user(results), parent=first.head, stream=stream))

    sent = server.bodies[-1]["contents"]
    assert sent[1] == {"role": "model", "parts": WHOLE["candidates"][0]["content"]["parts"]}
    assert [part["functionResponse"]["id"] for part in sent[2]["parts"]] == ["f1", "f2"]


async def test_an_id_that_google_gives_twice_in_a_conversation_is_told_apart_and_sent_back_as_it_was():
    call = said({"functionCall": {"id": "f1", "name": "add", "args": {}}, "thoughtSignature": "c2ln"})
    async with gemini_server(says(call, call, said({"text": "done"}))) as server, activities(server.url) as models:
        first = await models.generate(request(stream=False))
        once = Message.user([ToolResultContent(tool_use_id="f1", content=[])])
        second = await models.generate(request(once, parent=first.head, stream=False))
        twice = Message.user([ToolResultContent(tool_use_id=second.message.tool_uses[0].id, content=[])])
        await models.generate(request(twice, parent=second.head, stream=False))

    assert second.message.tool_uses[0].id == "f1-2"
    parts = [part for content in server.bodies[-1]["contents"] for part in content["parts"]]
    assert [part["functionCall"]["id"] for part in parts if "functionCall" in part] == ["f1", "f1"]
    assert [part["functionResponse"]["id"] for part in parts if "functionResponse" in part] == ["f1", "f1"]


@both
async def test_a_long_answer_that_google_splits_is_put_together(stream: bool):
    half = said({"text": "half and "}, finish="CONTINUATION", usageMetadata={"promptTokenCount": 5, "candidatesTokenCount": 2})
    half["candidates"][0]["continuationToken"] = "dG9rZW4="
    rest = said({"text": "half"}, usageMetadata={"promptTokenCount": 7, "candidatesTokenCount": 1})
    answers = (sse(half), sse(rest)) if stream else (http(to_json(half)), http(to_json(rest)))
    async with gemini_server(writes(*answers)) as server:
        response = await ask(server.url, request(stream=stream))

    assert (response.message.text, response.stop_reason) == ("half and half", "end_turn")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (12, 3)
    assert server.bodies[1]["generationConfig"]["continuationToken"] == "dG9rZW4="


async def test_a_token_that_google_repeats_does_not_ask_for_ever():
    half = said({"text": "half "}, finish="CONTINUATION")
    half["candidates"][0]["continuationToken"] = "dG9rZW4="
    async with gemini_server(says(half)) as server:
        response = await ask(server.url, request(stream=False))

    assert (response.message.text, response.stop_reason, len(server.bodies)) == ("half half ", "max_tokens", 2)


async def test_calls_share_one_connection_and_none_is_left_open():
    async with gemini_server(writes(sse(said({"text": "hi"})))) as server:
        async with activities(server.url) as models:
            for _ in range(3):
                await models.generate(request())
        async with asyncio.timeout(5):
            await server.client_gone.wait()

    assert server.connections == 1


# ── where it goes ────────────────────────────────────────────────────────────────────────────────────────────────────


def asked_for(server: RawServer) -> str:
    return server.heads[0].split(" ")[1]


async def test_the_api_version_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v0")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://other.invalid")
    async with gemini_server(says(said({"text": "hi"}))) as server:
        await ask(server.url, request(stream=False, model="gemini-3.8-flash"))

    assert asked_for(server) == "/v1beta/models/gemini-3.8-flash:generateContent"
    assert f"x-goog-api-key: {KEY}" in server.heads[0]


async def test_vertex_ai_in_express_mode_takes_the_key_and_labels(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other")
    async with gemini_server(writes(sse(said({"text": "hi"})))) as server:
        await ask(server.url, request(metadata={"team": "billing"}, model="gemini-3.8-flash"), vertexai=True)

    assert asked_for(server) == "/v1beta1/publishers/google/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
    assert f"x-goog-api-key: {KEY}" in server.heads[0]
    assert server.bodies[0]["labels"] == {"team": "billing"}


async def test_vertex_ai_with_a_project_takes_the_machines_credentials_and_not_the_key(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    async def respond(body: bytes, writer: asyncio.StreamWriter) -> None:
        answer = said({"text": "hi"}) if b"contents" in body else {"access_token": "ya29.token", "expires_in": 3600}
        writer.write(http(to_json(answer)))

    async with token_server() as token_url, gemini_server(respond) as server:
        credentials = tmp_path / "credentials.json"
        credentials.write_text(json.dumps(service_account(token_url)))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
        monkeypatch.setenv("GOOGLE_API_KEY", KEY)
        response = await ask(server.url, request(stream=False), vertexai=True, project="p1", location="europe-west4")

    assert response.message.text == "hi"
    assert asked_for(server).startswith("/v1beta1/projects/p1/locations/europe-west4/publishers/google/models/")
    assert "authorization: bearer ya29.token" in server.heads[0].lower()
    assert KEY not in server.heads[0]


@asynccontextmanager
async def token_server() -> AsyncGenerator[str]:
    async def grants(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(length)
        writer.write(http(to_json({"access_token": "ya29.token", "expires_in": 3600}), connection="close"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(grants, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
    finally:
        server.close()


def service_account(token_url: str) -> dict[str, str]:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "type": "service_account",
        "project_id": "p0",
        "private_key": pem,
        "client_email": "one@p0.example",
        "token_uri": token_url,
    }


async def test_vertex_ai_without_project_and_key_says_what_to_set():
    error = await failure(None, vertexai=True, key=None)

    assert (error.type, error.non_retryable) == ("AuthenticationError", True)
    assert "`google.project`" in error.message


async def test_credentials_that_are_not_there_say_what_to_do(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))

    error = await failure("http://127.0.0.1:1", vertexai=True, project="p1")

    assert (error.type, error.non_retryable) == ("Unauthenticated", True)
    assert "gcloud auth" in error.message


@pytest.mark.parametrize(
    ("more", "address"),
    [
        ({}, "https://generativelanguage.googleapis.com"),
        ({"vertexai": True}, "https://aiplatform.googleapis.com"),
        ({"vertexai": True, "project": "p"}, "https://aiplatform.googleapis.com"),
        ({"vertexai": True, "project": "p", "location": "us"}, "https://aiplatform.us.rep.googleapis.com"),
        ({"vertexai": True, "project": "p", "location": "europe-west4"}, "https://europe-west4-aiplatform.googleapis.com"),
        ({"vertexai": True, "project": "p", "base_url": "https://proxy.example"}, "https://proxy.example"),
    ],
)
async def test_the_address_follows_from_the_settings(more: dict[str, Any], address: str):
    assert GoogleClient(GoogleSettings(**more)).base_url == address


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@both
@pytest.mark.parametrize(
    ("code", "status", "type_", "non_retryable"),
    [
        (400, "INVALID_ARGUMENT", "InvalidArgument", True),
        (400, "FAILED_PRECONDITION", "FailedPrecondition", True),
        (401, "UNAUTHENTICATED", "Unauthenticated", True),
        (403, "PERMISSION_DENIED", "PermissionDenied", True),
        (404, "NOT_FOUND", "NotFound", True),
        (429, "RESOURCE_EXHAUSTED", "ResourceExhausted", False),
        (500, "INTERNAL", "Internal", False),
        (503, "UNAVAILABLE", "Unavailable", False),
        (504, "DEADLINE_EXCEEDED", "DeadlineExceeded", False),
    ],
)
@pytest.mark.promise("issue: errors carry the names of the specification")
async def test_a_status_says_what_it_is_and_whether_to_try_again(
    code: int, status: str, type_: str, non_retryable: bool, stream: bool
):
    async with gemini_server(writes(refused(status, code))) as server:
        error = await failure(server.url, request(stream=stream))

    assert (error.type, error.non_retryable) == (type_, non_retryable)
    assert error.details == ({"provider": "google", "status": code},)
    assert "said Google" in error.message
    assert len(server.bodies) == 1, "the SDK must not try again by itself"


async def test_llmocks_errors_are_understood_too(llmock: LLMock):
    llmock.rate_limit(retry_after=2.5)
    error = await failure(llmock.base_url("gemini"))

    assert (error.type, error.next_retry_delay) == ("ResourceExhausted", timedelta(seconds=2.5))
    llmock.assert_resilient()


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"}], {}, 13),
        ([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.5s"}], {}, 0.5),
        ([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"}], {"retry_after": "7"}, 7),
        ([{"retryDelay": "soon"}], {}, None),
        ([], {}, None),
    ],
)
async def test_the_delay_is_that_of_the_header_or_of_googles_own_detail(
    details: list[dict[str, Any]], headers: dict[str, str], seconds: float | None
):
    async with gemini_server(writes(refused("RESOURCE_EXHAUSTED", 429, "slow down", *details, **headers))) as server:
        delay = (await failure(server.url)).next_retry_delay

    assert delay == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("answer", "type_", "non_retryable"),
    [
        pytest.param(http(b"<html>" + b"x" * 100_000, "502 Bad Gateway"), "Unavailable", False, id="a web page"),
        pytest.param(http(b"\xff\xfe\xff", "500 Oops"), "IncompleteResponseError", False, id="no text"),
        pytest.param(http(b'"no"', "403 FORBIDDEN"), "PermissionDenied", True, id="a JSON text"),
        pytest.param(http(b"", "401 Unauthorized"), "Unauthenticated", True, id="nothing"),
        pytest.param(http(b'[{"error": {"message": "x", "status": "NOT_FOUND"}}]', "404 No"), "NotFound", True, id="a list"),
        pytest.param(http(b"", "302 Found", location="http://127.0.0.1:1/"), "Unknown", True, id="a redirect"),
    ],
)
@both
async def test_an_error_that_is_not_googles_json_is_understood_by_its_status(
    answer: bytes, type_: str, non_retryable: bool, stream: bool
):
    async with gemini_server(writes(answer)) as server:
        error = await failure(server.url, request(stream=stream))

    assert (error.type, error.non_retryable) == (type_, non_retryable)
    assert len(error.message) < 2_000


@both
async def test_a_server_that_is_not_there_is_tried_again(unused_port: int, stream: bool):
    error = await failure(f"http://127.0.0.1:{unused_port}", request(stream=stream))

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)
    assert f"`http://127.0.0.1:{unused_port}`" in error.message


STREAM = sse(*PIECES)
BEGINNING = STREAM[: STREAM.index(b"add")]


@pytest.mark.parametrize(
    "respond",
    [
        pytest.param(writes(b"", close=True), id="closed before the answer"),
        pytest.param(writes(b"", reset=True), id="reset before the answer"),
        pytest.param(writes(BEGINNING, close=True), id="closed in the answer"),
        pytest.param(writes(BEGINNING, reset=True), id="reset in the answer"),
        pytest.param(writes(b"SSH-2.0-OpenSSH_9.6\r\n", close=True), id="not HTTP"),
    ],
)
@both
async def test_a_connection_that_is_lost_is_tried_again(respond: Any, stream: bool):
    async with gemini_server(respond) as server:
        error = await failure(server.url, request(stream=stream))

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
async def test_llmocks_faulty_streams_are_tried_again(llmock: LLMock, fault: str):
    llmock.reply("a rather long answer in several pieces")
    getattr(llmock, fault)(after_chunks=1)

    error = await failure(llmock.base_url("gemini"))

    assert error.type in ("IncompleteResponseError", "APIConnectionError")
    assert error.non_retryable is False


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(sse(*PIECES[:-1]), id="no finish reason"),
        pytest.param(sse(), id="nothing"),
        pytest.param(sse(PIECES[0], 'data: {"candidates": [{"con'), id="cut off in a piece"),
        pytest.param(sse(PIECES[0], "data: {oops}\r\n\r\n", PIECES[-1]), id="a malformed piece"),
        pytest.param(sse(PIECES[0], 'data: "text"\r\n\r\n', PIECES[-1]), id="a piece that is no object"),
        pytest.param(sse({"error": {"message": "no code"}}), id="an error without a code"),
        pytest.param(sse({"error": {"code": "x", "message": "no number"}}), id="an error with a code that is none"),
        pytest.param(http(b"<html></html>", content_type="text/html"), id="a web page"),
        pytest.param(sse({}), id="an empty piece"),
    ],
)
@pytest.mark.promise("issue: a stream that ends early is tried again")
async def test_a_stream_that_is_not_whole_is_tried_again(answer: bytes):
    async with gemini_server(writes(answer)) as server:
        error = await failure(server.url, request(stream=True))

    assert (error.type, error.non_retryable) == ("IncompleteResponseError", False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html>",
        b'{"candidates": [',
        to_json(said({"text": "half"}, finish=None)),
        b'{"candidates": 1}',
    ],
)
async def test_an_answer_that_is_not_whole_is_tried_again(body: bytes):
    async with gemini_server(writes(http(body))) as server:
        error = await failure(server.url, request(stream=False))

    assert (error.type, error.non_retryable) == ("IncompleteResponseError", False)


@pytest.mark.parametrize(
    ("error", "type_", "non_retryable"),
    [
        ({"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}, "Unavailable", False),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "overloaded"}, "ResourceExhausted", False),
        ({"code": 400, "status": "INVALID_ARGUMENT", "message": "overloaded"}, "InvalidArgument", True),
    ],
)
async def test_an_error_in_a_stream_is_what_it_is_outside_of_one(error: dict[str, Any], type_: str, non_retryable: bool):
    shown: list[WorkflowApplicationError] = []
    for chunk in ({"error": error}, {"modelVersion": "m", "error": error}):
        async with gemini_server(writes(sse(PIECES[0], chunk))) as server:
            shown.append(await failure(server.url, request(stream=True)))

    assert [(one.type, one.non_retryable, "overloaded" in one.message) for one in shown] == [(type_, non_retryable, True)] * 2


SILENT = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"


@pytest.mark.parametrize(
    ("beginning", "limits", "stream"),
    [
        (BEGINNING, {"stall_timeout_seconds": 0.2}, True),
        (BEGINNING, {"timeout_seconds": 1}, True),
        (SILENT, {"timeout_seconds": 1}, False),
    ],
)
async def test_an_answer_that_falls_silent_is_tried_again(beginning: bytes, limits: dict[str, float], stream: bool):
    async with gemini_server(stalls_after(beginning)) as server:
        error = await failure(server.url, request(stream=stream), **limits)
        async with asyncio.timeout(5):
            await server.client_gone.wait()

    assert (error.type, error.non_retryable) == ("APITimeoutError", False)


async def test_an_answer_in_one_piece_may_be_silent_longer_than_a_stream():
    async with gemini_server(stalls_after(SILENT)) as server:
        error = await failure(server.url, request(stream=False, timeout_seconds=0.5), stall_timeout_seconds=0.1)

    assert "No answer within 0.5 s" in error.message, "the limit of the call, not that of a stream"


async def test_a_cancel_ends_a_stream_at_once():
    async with gemini_server(stalls_after(BEGINNING)) as server, activities(server.url) as models:
        call = asyncio.create_task(models.generate(request(stream=True)))
        async with asyncio.timeout(5):
            await server.asked.wait()
        call.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await call
            await server.client_gone.wait()


@pytest.mark.parametrize("finish", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
async def test_a_call_that_the_model_wrote_wrongly_is_asked_for_again(finish: str):
    wrong = said(finish=finish)
    wrong["candidates"][0]["finishMessage"] = "Malformed function call: add(1"
    async with gemini_server(says(wrong)) as server:
        error = await failure(server.url, request(stream=False))

    assert (error.type, error.non_retryable) == ("".join(word.title() for word in finish.split("_")), False)
    assert "add(1" in error.message


@pytest.mark.parametrize("key", [None, "", "  \n"])
async def test_a_missing_key_says_what_to_set(llmock: LLMock, key: str | None):
    error = await failure(llmock.base_url("gemini"), key=key)

    assert (error.type, error.non_retryable) == ("AuthenticationError", True)
    assert all(name in error.message for name in ("`google.api_key`", "GOOGLE_API_KEY"))
    assert llmock.requests == []


@pytest.mark.parametrize("base_url", ["localhost:8080", "ftp://host", "http://"])
async def test_an_address_that_is_none_is_not_retried(base_url: str):
    error = await failure(base_url)

    assert (error.type, error.non_retryable) == ("ConfigError", True)
    assert "`google.base_url`" in error.message


@pytest.mark.parametrize("model", ["../files", "a?b", "a b", "a#b"])
async def test_a_name_that_would_lead_elsewhere_is_no_models_name(llmock: LLMock, model: str):
    error = await failure(llmock.base_url("gemini"), request(model=model))

    assert (error.type, error.non_retryable) == ("InvalidArgument", True)
    assert f"`{model}`" in error.message
    assert llmock.requests == []


@both
@pytest.mark.promise("issue: a key is never in an error")
async def test_the_key_is_in_no_error_and_in_no_log(caplog: pytest.LogCaptureFixture, stream: bool):
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "metadata": {"key": KEY}}
    async with gemini_server(writes(refused("INVALID_ARGUMENT", 400, f"API key not valid: {KEY}.", detail))) as server:
        with caplog.at_level(logging.DEBUG):
            error = await failure(server.url, request(stream=stream))

    assert KEY not in error.message + str(error.details) + caplog.text
    assert "Check `google.api_key`" in error.message


async def test_a_key_that_comes_back_in_a_broken_stream_is_not_shown():
    async with gemini_server(writes(sse(f"data: {{{KEY}\r\n\r\n"))) as server:
        error = await failure(server.url)

    assert KEY not in error.message + str(error.details)


async def test_a_call_can_say_what_it_prefers():
    async with gemini_server(says(said({"text": "hi"}))) as server:
        await ask(server.url, request(stream=False, model_preferences={"speedPriority": 1}))

    assert asked_for(server) == "/v1beta/models/gemini-3.5-flash-lite:generateContent"


def test_the_models_to_choose_from_have_prices():
    prices = {model: price_per_token("google", model) for model in (*GoogleClient.default_models, GoogleClient.default_model)}

    assert len(prices) == 3
    assert all(prices.values()), prices

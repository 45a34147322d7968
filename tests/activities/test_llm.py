"""Model calls through the real SDK over real HTTP: against `llmock`, and against raw sockets for faults it cannot make."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.scenarios import Reply, ToolCall
from mcp_types import TextContent, ToolResultContent
from pydantic import SecretStr
from pydantic_core import to_json

from mcp_agent.activities.llm import LLMActivities
from mcp_agent.config import OpenAISettings, ScriptedSettings, Settings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.step_context import StepContext, entered
from mcp_agent.workflows.llm.messages import (
    LLM_GENERATE,
    LLMRequest,
    LLMResponse,
    Message,
    RequestParams,
    head_hash,
    invalid_input,
)
from tests import model_calls
from tests.model_calls import KEY, SETUP, in_step, request
from tests.providers_http import Respond, http, raw_server, stalls, unused_port, writes

pytestmark = pytest.mark.anyio


def settings(base_url: str | None, key: str | None = KEY, **more: Any) -> Settings:
    return Settings(openai=OpenAISettings(api_key=SecretStr(key) if key else None, base_url=base_url, **more))


def activities(base_url: str | None, **more: Any) -> AbstractAsyncContextManager[LLMActivities]:
    return model_calls.activities(settings(base_url, **more))


async def ask(base_url: str | None, asked: LLMRequest | None = None, **more: Any) -> LLMResponse:
    return await model_calls.ask(settings(base_url, **more), asked or request())


async def failure(base_url: str | None, asked: LLMRequest | None = None, **more: Any) -> WorkflowApplicationError:
    return await model_calls.failure(settings(base_url, **more), asked or request())


def completion(message: dict[str, Any], finish_reason: str | None = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return http(json.dumps({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]}).encode())


def says(message: dict[str, Any], finish_reason: str | None = "stop") -> Respond:
    return writes(completion(message, finish_reason))


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_text_comes_back_with_its_head_usage_and_model(llmock: LLMock):
    llmock.reply("Hello!")
    asked = request(params=RequestParams(model="gpt-4.1"))

    response = await ask(llmock.base_url(), asked)

    assert response.message == Message.assistant("Hello!")
    assert (response.stop_reason, response.model) == ("end_turn", "gpt-4.1")
    assert response.usage.input_tokens > 0
    assert response.usage.output_tokens > 0
    assert response.head == head_hash(None, SETUP.hash(), asked.new, response.message)


async def test_the_model_is_the_calls_or_the_configured_one(llmock: LLMock):
    llmock.reply("a", times=2)
    await ask(llmock.base_url(), default_model="configured")
    await ask(llmock.base_url(), request(params=RequestParams(model="asked")), default_model="configured")

    assert [record.model for record in llmock.requests] == ["configured", "asked"]


async def test_a_conversation_with_parallel_tools_reaches_the_provider_whole(llmock: LLMock):
    llmock.add(Reply(tool_calls=(ToolCall("add", {"a": 1}), ToolCall("add", {"a": 2})))).reply("Three.")
    async with activities(llmock.base_url()) as models:
        with in_step():
            first = await models.generate(request(Message.user("1 + 2?")))
            results = [ToolResultContent(tool_use_id=one.id, content=[TextContent(text="3")]) for one in first.message.tool_uses]
            second = await models.generate(request(Message.user(results), parent=first.head))

    assert first.stop_reason == "tool_use"
    assert [one.input for one in first.message.tool_uses] == [{"a": 1}, {"a": 2}]
    assert second.message.text == "Three."
    sent = llmock.last_request.body
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert [message["tool_call_id"] for message in sent["messages"][3:]] == [one.id for one in first.message.tool_uses]


async def test_broken_arguments_and_an_unknown_tool_reach_the_agent(llmock: LLMock):
    llmock.tool_mode("off").break_tool_call("malformed_arguments")
    broken = await ask(llmock.base_url())
    llmock.break_tool_call("unknown_tool")
    unknown = await ask(llmock.base_url())

    assert [invalid_input(one) is not None for one in broken.message.tool_uses] == [True]
    assert [one.name for one in unknown.message.tool_uses] == ["llmock_unknown_tool"]


async def test_duplicate_tool_ids_are_told_apart():
    call = {"id": "same", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    async with raw_server(says({"content": None, "tool_calls": [call, call]}, "tool_calls")) as server:
        response = await ask(server.url)

    assert [one.id for one in response.message.tool_uses] == ["same", "same-2"]


@pytest.mark.parametrize(
    ("message", "finish", "stop_reason"),
    [
        ({"content": ""}, "stop", "empty"),
        ({"content": "half an ans"}, "length", "max_tokens"),
        ({"content": None}, "content_filter", "content_filter"),
        ({"content": None, "refusal": "No."}, "stop", "refusal"),
    ],
)
async def test_an_answer_that_is_not_what_was_asked_for_says_why(message: dict[str, Any], finish: str, stop_reason: str):
    async with raw_server(says(message, finish)) as server:
        assert (await ask(server.url)).stop_reason == stop_reason


async def test_calls_share_one_connection_and_none_is_left_open():
    async with raw_server(says({"content": "hi"})) as server:
        async with activities(server.url) as models:
            with in_step():
                for _ in range(5):
                    await models.generate(request())
        async with asyncio.timeout(5):
            await server.client_gone.wait()

    assert server.connections == 1


async def test_options_of_the_provider_are_sent_as_they_are(llmock: LLMock):
    llmock.reply("a")
    await ask(llmock.base_url(), request(params=RequestParams(provider_options={"seed": 7, "vendor": {"x": 1}})))

    body = llmock.last_request.body
    assert (body["seed"], body["vendor"]) == (7, {"x": 1})


async def test_the_conversation_is_at_hand_for_the_next_call_without_a_setup(llmock: LLMock):
    llmock.reply("one").reply("two")
    async with activities(llmock.base_url()) as models:
        first = await models.generate(request())
        bare = request(Message.user("and?"), parent=first.head).model_copy(update={"setup": None})
        second = await models.generate(bare)

    assert second.message.text == "two"
    assert [message["content"] for message in llmock.last_request.body["messages"]] == [
        "Be brief.",
        "hi",
        "one",
        "and?",
    ]


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "type_", "non_retryable"),
    [
        (400, "BadRequestError", True),
        (401, "AuthenticationError", True),
        (403, "PermissionDeniedError", True),
        (404, "NotFoundError", True),
        (413, "APIStatusError", True),
        (422, "UnprocessableEntityError", True),
        (408, "APIStatusError", False),
        (409, "ConflictError", False),
        (429, "RateLimitError", False),
        (500, "InternalServerError", False),
        (503, "InternalServerError", False),
        (529, "InternalServerError", False),
    ],
)
async def test_a_status_says_whether_to_try_again(llmock: LLMock, status: int, type_: str, non_retryable: bool):
    llmock.fail(status, message="said the provider", times=None)

    error = await failure(llmock.base_url())

    assert (error.type, error.non_retryable) == (type_, non_retryable)
    assert error.details == ({"provider": "openai", "status": status},)
    assert "said the provider" in error.message
    assert len(llmock.requests) == 1, "the SDK must not try again by itself"


async def test_retry_after_in_seconds_is_the_next_delay(llmock: LLMock):
    llmock.rate_limit(retry_after=2.5)

    assert (await failure(llmock.base_url())).next_retry_delay == timedelta(seconds=2.5)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [("7", 7, 7), ("0.25", 0.25, 0.25), ("86400", 3600, 3600), ("date", 25, 31)],
)
async def test_retry_after_is_understood_in_all_its_forms(value: str, low: float, high: float):
    if value == "date":
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    async with raw_server(writes(http(b"{}", "429 Too Many Requests", retry_after=value))) as server:
        delay = (await failure(server.url)).next_retry_delay

    assert delay is not None
    assert low <= delay.total_seconds() <= high


@pytest.mark.parametrize("value", ["0", "-3", "soon", "nan", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_a_retry_after_that_means_nothing_leaves_the_policys_backoff(value: str):
    async with raw_server(writes(http(b"{}", "503 Unavailable", retry_after=value))) as server:
        error = await failure(server.url)

    assert (error.next_retry_delay, error.non_retryable) == (None, False)


async def test_no_delay_is_given_where_nothing_is_retried():
    async with raw_server(writes(http(b"{}", "400 Bad Request", retry_after="5"))) as server:
        assert (await failure(server.url)).next_retry_delay is None


async def test_a_quota_that_is_used_up_is_not_retried(llmock: LLMock):
    llmock.fail(429, code="insufficient_quota", message="You exceeded your current quota.")

    error = await failure(llmock.base_url())
    assert (error.type, error.non_retryable) == ("RateLimitError", True)


async def test_a_server_that_is_not_there_is_tried_again():
    with unused_port() as port:
        error = await failure(f"http://user:hunter22@127.0.0.1:{port}/v1")

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)
    assert f"`http://127.0.0.1:{port}`" in error.message


HALF = completion({"content": "a long answer"})[:-20]


@pytest.mark.parametrize(
    "respond",
    [
        pytest.param(writes(b"", close=True), id="closed before the answer"),
        pytest.param(writes(b"", reset=True), id="reset before the answer"),
        pytest.param(writes(HALF, close=True), id="closed in the answer"),
        pytest.param(writes(HALF, reset=True), id="reset in the answer"),
        pytest.param(writes(b"SSH-2.0-OpenSSH_9.6\r\n", close=True), id="not HTTP"),
    ],
)
async def test_a_connection_that_is_lost_is_tried_again(respond: Respond):
    async with raw_server(respond) as server:
        error = await failure(server.url)

    assert (error.type, error.non_retryable) == ("APIConnectionError", False)


@pytest.mark.parametrize(
    ("answer", "type_"),
    [
        pytest.param(http(b'{"choices": [{"mess'), "APIResponseValidationError", id="truncated"),
        pytest.param(http(b""), "APIResponseValidationError", id="nothing"),
        pytest.param(http(b"\xff\xfe{}"), "APIResponseValidationError", id="not UTF-8"),
        pytest.param(http(b"<html>", content_type="text/html"), "APIResponseValidationError", id="a web page"),
        pytest.param(http(b"{}"), "IncompleteResponseError", id="no choices"),
        pytest.param(completion({"content": "half"}, None), "IncompleteResponseError", id="no finish reason"),
    ],
)
async def test_an_answer_that_is_not_whole_is_tried_again(answer: bytes, type_: str):
    async with raw_server(writes(answer)) as server:
        error = await failure(server.url)

    assert (error.type, error.non_retryable) == (type_, False)


@pytest.mark.parametrize("more", [{"timeout_seconds": 0.2}, {"params": RequestParams(timeout_seconds=0.2)}])
async def test_a_stalled_answer_ends_at_the_deadline_and_is_tried_again(more: dict[str, Any]):
    asked = request(params=more.pop("params", RequestParams()))
    async with raw_server(stalls) as server:
        start = time.monotonic()
        error = await failure(server.url, asked, **more)

        assert (error.type, error.non_retryable) == ("APITimeoutError", False)
        assert time.monotonic() - start < 5
        async with asyncio.timeout(5):
            await server.client_gone.wait()


async def test_an_error_page_that_is_no_json_is_quoted_shortly():
    page = b"<html>" + b"x" * 100_000
    async with raw_server(writes(http(page, "502 Bad Gateway", content_type="text/html"))) as server:
        error = await failure(server.url)

    assert (error.type, error.non_retryable) == ("InternalServerError", False)
    assert "<html>" in error.message
    assert len(error.message) < 2_000


@pytest.mark.parametrize("base_url", ["localhost:11434", "ftp://host/v1", "http://", "v1"])
async def test_an_address_that_is_none_is_not_retried(base_url: str):
    error = await failure(base_url)

    assert (error.type, error.non_retryable) == ("ConfigError", True)
    assert "`openai.base_url`" in error.message


@pytest.mark.parametrize("key", [None, "", "  \n"])
async def test_a_missing_key_says_what_to_set(llmock: LLMock, key: str | None):
    error = await failure(llmock.base_url(), key=key)

    assert (error.type, error.non_retryable) == ("AuthenticationError", True)
    assert all(name in error.message for name in ("`openai.api_key`", "OPENAI_API_KEY"))
    assert llmock.requests == []


@pytest.mark.parametrize("key", ["sk-…abcdefgh", "sk-abc\ndefgh", "sk abcdefgh"])
async def test_a_key_that_cannot_be_sent_is_not_shown(llmock: LLMock, key: str):
    error = await failure(llmock.base_url(), key=key)

    assert (error.type, error.non_retryable) == ("AuthenticationError", True)
    assert "abc" not in error.message


async def test_content_that_the_provider_cannot_take_is_not_retried(llmock: LLMock):
    error = await failure(
        llmock.base_url(),
        request(Message.model_validate({"role": "user", "content": [{"type": "audio", "data": "", "mimeType": "audio/ogg"}]})),
    )

    assert (error.type, error.non_retryable) == ("UnsupportedContent", True)
    assert llmock.requests == []


async def test_an_unknown_provider_names_the_known_ones():
    error = await failure(None, request(provider="opnai"))

    assert (error.type, error.non_retryable) == ("UnknownProvider", True)
    assert all(name in error.message for name in ("`opnai`", "`openai`", "`scripted`"))


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "said",
    [
        f"Incorrect API key provided: {KEY}. You can find your key at https://example.com.",
        "Incorrect API key provided: sk-proj-************************TTy0. Find it at https://example.com.",
        "Incorrect API key provided: sk-p•••••••TTy0.",
        "Incorrect API key provided: sk-proj-…TTy0.",
        "Incorrect API key provided: sk-proj-Zx8...TTy0.",
        f"Bad header 'Authorization: Bearer {KEY}'.",
        "Bad header 'Authorization: Bearer abcdefTTy0TTy0'.",
        "The key sk-other-1234567890TTy0TTy0 is not of this project.",
        "x" * 1_460 + KEY,
    ],
)
async def test_no_part_of_a_key_is_in_an_errors_text_or_in_the_log(llmock: LLMock, said: str, caplog: pytest.LogCaptureFixture):
    llmock.fail(401, message=said)
    with caplog.at_level(logging.DEBUG):
        error = await failure(llmock.base_url())

    shown = error.message + str(error.details) + caplog.text
    assert not [part for part in (KEY, "TTy0", "sk-p", "Zx8") if part in shown]
    assert "openai.api_key" in error.message or said.startswith("x")


async def test_the_password_of_an_address_is_not_shown():
    async with raw_server(writes(http(b'{"error": {"message": "hunter22 is wrong"}}', "401 Unauthorized"))) as server:
        error = await failure(server.url.replace("//", "//user:hunter22@"))

    assert "hunter22" not in error.message


# ── the attempt ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_engine_hears_that_a_waiting_call_is_alive():
    beats = 0
    enough = asyncio.Event()

    def heartbeat(*_: Any) -> None:
        nonlocal beats
        beats += 1
        if beats == 3:
            enough.set()

    async with raw_server(stalls) as server, activities(server.url) as models:
        with in_step(heartbeat=heartbeat):
            call = asyncio.create_task(models.generate(request()))
        async with asyncio.timeout(5):
            await enough.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    assert call.cancelled()


async def test_a_cancel_ends_the_request_within_a_second():
    async with raw_server(stalls) as server, activities(server.url) as models:
        with in_step():
            call = asyncio.create_task(models.generate(request()))
        async with asyncio.timeout(5):
            await server.asked.wait()
        call.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await call
            await server.client_gone.wait()


async def test_a_heartbeat_that_fails_ends_the_call():
    def heartbeat(*_: Any) -> None:
        raise RuntimeError("no engine")

    async with raw_server(stalls) as server, activities(server.url) as models:
        with in_step(heartbeat=heartbeat), pytest.raises(RuntimeError, match="no engine"):
            await models.generate(request())


async def test_the_scripted_model_stands_in_for_every_provider(tmp_path: Path):
    script = tmp_path / "script.yaml"
    script.write_text("agents: {writer: [{errors: [{status: 500}], text: 'scripted {last_user}'}]}")
    models = LLMActivities(Settings(scripted=ScriptedSettings(file=script)))

    with in_step(attempt=1), pytest.raises(WorkflowApplicationError) as failed:
        await models.generate(request())
    with in_step(attempt=2):
        response = await models.generate(request(provider="anthropic"))

    assert (failed.value.type, failed.value.non_retryable) == ("InternalServerError", False)
    assert (response.message.text, response.model) == ("scripted hi", "scripted")


async def test_the_scripted_model_without_a_script_says_what_to_set():
    error = await failure(None, request(provider="scripted"))

    assert (error.type, error.non_retryable) == ("ScriptError", True)
    assert "`scripted.file`" in error.message


async def test_a_restarted_worker_goes_on_from_the_runs_history(tmp_path: Path):
    script = tmp_path / "script.yaml"
    script.write_text("agents: {writer: [{text: one}, {text: 'two after {turn}'}]}")
    configured = Settings(scripted=ScriptedSettings(file=script))
    asked = request()
    first = await LLMActivities(configured).generate(asked)

    class History:
        async def completed(self, *steps: str) -> AsyncIterator[tuple[str, bytes, bytes]]:
            yield LLM_GENERATE, to_json(asked), to_json(first)

        async def arguments(self, step: str) -> AsyncIterator[bytes]:
            yield to_json(asked)

    bare = request(Message.user("and?"), parent=first.head).model_copy(update={"setup": None})
    with entered(StepContext(LLM_GENERATE, "run", "Workflow", history=History())):
        second = await LLMActivities(configured).generate(bare)

    assert second.message.text == "two after 1"


def test_the_sdk_is_loaded_by_the_first_call_only():
    code = "import sys, mcp_agent.activities.llm; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"openai", "httpx2", "yaml"} & set(modules)


async def test_numbers_that_no_answer_has_are_an_answer_that_cannot_be_read():
    message = {"role": "assistant", "content": "hi"}
    choice = json.dumps({"index": 0, "message": message, "finish_reason": "stop"})
    body = '{"model": "m", "choices": [' + choice + '], "usage": {"prompt_tokens": 1e999}}'
    async with raw_server(writes(http(body.encode()))) as server:
        error = await failure(server.url)
    assert (error.type, error.non_retryable) == ("IncompleteResponseError", False)

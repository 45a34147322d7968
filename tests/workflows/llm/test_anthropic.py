"""The translator alone; the client is tested over HTTP in `tests/activities/test_llm_anthropic.py`."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolResultContent,
    ToolUseContent,
)
from pydantic_core import to_json

from mcp_agent.observability.pricing import cost_of
from mcp_agent.workflows.llm.augmented_llm_anthropic import AnthropicAugmentedLLM
from mcp_agent.workflows.llm.messages import (
    Block,
    InvalidInput,
    LLMSetup,
    Message,
    RequestParams,
    StopReason,
    ToolSpec,
    Usage,
    invalid_input,
    tool_use,
)
from mcp_agent.workflows.llm.providers.anthropic.client import AnthropicClient
from mcp_agent.workflows.llm.providers.anthropic.request import to_request, with_prefix
from mcp_agent.workflows.llm.providers.anthropic.response import StreamedAnswer, from_response
from mcp_agent.workflows.llm.providers.base import ProviderError

MODEL = "claude-sonnet-5-5"
LONG = "All work and no play. " * 300
CACHED = {"type": "ephemeral"}


def request(
    *messages: Message,
    setup: LLMSetup | None = None,
    params: RequestParams | None = None,
    model: str = MODEL,
    prompt_caching: bool = True,
) -> dict[str, Any]:
    return to_request(setup or LLMSetup(), list(messages), params or RequestParams(), model, prompt_caching=prompt_caching)


def sent(*messages: Message, model: str = MODEL) -> list[dict[str, Any]]:
    return request(*messages, model=model)["messages"]


def asked(params: RequestParams, model: str = MODEL) -> dict[str, Any]:
    found = request(Message.user("hi"), params=params, model=model)
    return {name: value for name, value in found.items() if name not in ("model", "messages", "max_tokens")}


def answered(*blocks: dict[str, Any], stop_reason: Any = "end_turn", **more: Any) -> dict[str, Any]:
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5-20260928"}
    return answer | {"content": list(blocks), "stop_reason": stop_reason, "usage": {}, **more}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def call(arguments: Any, call_id: Any = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "add", "input": arguments, **more}


THOUGHT = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmF0dXJl+/="}
HIDDEN = {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"}


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_instruction_words_and_tools_become_a_request():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    setup = LLMSetup(instruction="Be brief.", tools=[ToolSpec(name="add", description="Adds.", input_schema=schema)])

    assert request(Message.user("hi"), setup=setup, params=RequestParams(parallel_tool_calls=False)) == {
        "model": MODEL,
        "max_tokens": 32_000,
        "system": [text("Be brief.")],
        "tools": [{"name": "add", "description": "Adds.", "input_schema": schema}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "messages": [{"role": "user", "content": [text("hi")]}],
    }


@pytest.mark.parametrize("parallel", [None, True])
def test_parallel_tool_calls_are_the_apis_own_default(parallel: bool | None):
    setup = LLMSetup(tools=[ToolSpec(name="now")])

    assert "tool_choice" not in request(Message.user("hi"), setup=setup, params=RequestParams(parallel_tool_calls=parallel))


def test_nothing_is_said_of_parallel_tool_calls_without_tools():
    assert asked(RequestParams(parallel_tool_calls=False)) == {}


@pytest.mark.parametrize(
    ("model", "most"), [("claude-opus-4-1-20250805", 32_000), ("claude-3-haiku-20240307", 4_096), ("glm-5", 4_096)]
)
def test_every_model_gets_a_limit_that_it_can_keep(model: str, most: int):
    assert request(Message.user("hi"), model=model)["max_tokens"] == most
    assert request(Message.user("hi"), model=model, params=RequestParams(max_tokens=9))["max_tokens"] == 9


def test_parameters_have_the_names_of_the_api():
    params = RequestParams(stop_sequences=["END"], metadata={"user_id": "u-1", "team": "billing"}, provider_options={"x": 1})

    assert asked(params) == {
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "extra_body": {"x": 1},
    }


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-sonnet-5", MODEL, "claude-haiku-5-5", "claude-mythos-preview"])
def test_models_that_refuse_a_temperature_get_none(model: str):
    assert asked(RequestParams(temperature=0.2, top_p=0.5), model) == {}


@pytest.mark.parametrize("model", ["claude-sonnet-4-6", "claude-haiku-4-5-20251001", "claude-3-5-sonnet-20241022", "glm-5"])
def test_models_that_take_a_temperature_get_it_in_the_version_of_the_api_that_has_one(model: str):
    version = {"anthropic-version": "2023-06-01"}

    assert asked(RequestParams(temperature=0.2, top_p=0.5), model) == {
        "extra_body": {"temperature": 0.2},
        "extra_headers": version,
    }
    assert asked(RequestParams(top_p=0.5), model) == {"extra_body": {"top_p": 0.5}, "extra_headers": version}


def test_a_model_that_is_told_to_think_gets_no_temperature():
    assert asked(RequestParams(temperature=0.2, reasoning_effort="low"), "claude-sonnet-4-6") == {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
    }


@pytest.mark.parametrize(
    ("model", "effort", "fields"),
    [
        (MODEL, "xhigh", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}),
        ("claude-opus-4-6", "minimal", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ("claude-haiku-4-5", "low", {"thinking": {"type": "enabled", "budget_tokens": 4_096}}),
        ("claude-opus-4-1", "max", {"thinking": {"type": "enabled", "budget_tokens": 24_576}}),
        ("claude-haiku-4-5", "none", {}),
        ("claude-opus-4-8", "none", {}),
        ("claude-opus-5", "none", {"thinking": {"type": "disabled"}}),
        (MODEL, "none", {"thinking": {"type": "between_tools"}}),
        ("claude-haiku-5-5", "none", {"thinking": {"type": "disabled"}}),
        ("claude-opus-5-5", "none", {"output_config": {"effort": "low"}}),
    ],
)
def test_the_effort_is_said_as_the_model_understands_it(model: str, effort: str, fields: dict[str, Any]):
    assert asked(RequestParams(reasoning_effort=effort), model) == fields


@pytest.mark.parametrize(("most", "budget"), [(8_192, 4_096), (3_000, 1_976), (2_048, 1_024)])
def test_a_thinking_budget_leaves_room_for_the_answer(most: int, budget: int):
    params = RequestParams(max_tokens=most, reasoning_effort="low")

    assert asked(params, "claude-haiku-4-5") == {"thinking": {"type": "enabled", "budget_tokens": budget}}


def test_there_is_no_thinking_where_there_is_no_room_for_it():
    assert asked(RequestParams(max_tokens=1_500, reasoning_effort="high"), "claude-haiku-4-5") == {}


def test_an_effort_without_a_budget_is_refused_by_name():
    with pytest.raises(ProviderError, match=r"`extreme`.*`low`") as refused:
        asked(RequestParams(reasoning_effort="extreme"), "claude-haiku-4-5")

    assert (refused.value.type, refused.value.retryable) == ("BadRequestError", False)


def test_options_of_the_provider_come_beside_what_is_said_already():
    setup = LLMSetup(tools=[ToolSpec(name="now")], response_schema={"type": "object", "properties": {"a": {"type": "null"}}})
    search = {"type": "web_search_20260209", "name": "web_search"}
    options = {"tools": [search], "output_config": {"effort": "low"}, "top_k": 4}
    found = request(Message.user("hi"), setup=setup, params=RequestParams(provider_options=options))

    assert [tool["name"] for tool in found["extra_body"]["tools"]] == ["now", "web_search"]
    assert sorted(found["extra_body"]["output_config"]) == ["effort", "format"]
    assert found["extra_headers"] == {"anthropic-version": "2023-06-01"}


# ── structured output ────────────────────────────────────────────────────────────────────────────────────────────────


def bound(schema: dict[str, Any], model: str = MODEL) -> dict[str, Any]:
    found = request(Message.user("hi"), setup=LLMSetup(response_schema=schema), model=model)
    assert "system" not in found
    return found["output_config"]["format"]["schema"]


def test_a_schema_is_sent_in_what_the_api_accepts_of_it():
    schema = {
        "title": "Report",
        "type": "object",
        "properties": {
            "score": {"type": "integer", "minimum": 1, "maximum": 5, "description": "How good."},
            "when": {"type": "string", "format": "date-time"},
            "code": {"type": "string", "pattern": "^a+$"},
            "kind": {"enum": ["a", "b"], "type": "string", "default": "a"},
            "parts": {"type": "array", "items": {"$ref": "#/$defs/Part", "description": "x"}, "minItems": 1, "maxItems": 9},
            "note": {"type": ["string", "null"]},
            "grade": {"type": ["string", "null"], "enum": ["a", None]},
            "either": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/Part"}]},
        },
        "required": ["score"],
        "$defs": {"Part": {"type": "object", "properties": {"n": {"type": "number"}}}},
    }
    before = copy.deepcopy(schema)

    assert bound(schema) == {
        "title": "Report",
        "type": "object",
        "properties": {
            "score": {"type": "integer", "description": 'How good.\n\n{"minimum": 1, "maximum": 5}'},
            "when": {"type": "string", "format": "date-time"},
            "code": {"type": "string", "description": '{"pattern": "^a+$"}'},
            "kind": {"enum": ["a", "b"], "type": "string", "description": '{"default": "a"}'},
            "parts": {
                "type": "array",
                "items": {"$ref": "#/$defs/Part"},
                "minItems": 1,
                "description": '{"maxItems": 9}',
            },
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "grade": {"enum": ["a", None]},
            "either": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Part"}]},
        },
        "required": ["score"],
        "additionalProperties": False,
        "$defs": {"Part": {"type": "object", "properties": {"n": {"type": "number"}}, "additionalProperties": False}},
    }
    assert schema == before


ANY = {"type": "object", "properties": {"a": {}}}
MAP = {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": {"type": "integer"}}}}
TREE = {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}}}}
RING = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/A"}},
    "$defs": {
        "A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/B"}}},
        "B": {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}}},
    },
}
ROOT = {"type": "object", "properties": {"a": {"$ref": "#"}}}
OPEN = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(25)}}
UNIONS = {
    "type": "object",
    "properties": {f"p{number}": {"type": ["string", "null"]} for number in range(17)},
    "required": [f"p{number}" for number in range(17)],
}
LISTED = {"type": "object", "properties": {"a": {"enum": [{"b": 1}]}}}
TUPLE = {"type": "object", "properties": {"a": {"type": "array", "prefixItems": [{"type": "string"}]}}}
PLAIN = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "model"),
    [
        (ANY, MODEL),
        (MAP, MODEL),
        (TREE, MODEL),
        (RING, MODEL),
        (ROOT, MODEL),
        (OPEN, MODEL),
        (UNIONS, MODEL),
        (LISTED, MODEL),
        (TUPLE, MODEL),
        ({}, MODEL),
        (PLAIN, "claude-opus-4-1"),
    ],
)
def test_a_schema_that_cannot_be_bound_is_said_in_words(schema: dict[str, Any], model: str):
    setup = LLMSetup(instruction="Be brief.", response_schema=schema)
    found = request(Message.user("hi"), setup=setup, model=model)

    assert "output_config" not in found
    instruction, words = found["system"]
    assert instruction == text("Be brief.")
    assert to_json(schema).decode() in words["text"]


# ── content ──────────────────────────────────────────────────────────────────────────────────────────────────────────

PDF = EmbeddedResource(resource=BlobResourceContents(uri="file:///x/a.pdf", mime_type="application/pdf", blob="aGk="))
PNG = ImageContent(data="aGk=", mime_type="image/png")
PNG_SENT = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
PDF_SENT = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
    "title": "file:///x/a.pdf",
}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (PNG, PNG_SENT),
        (PDF, PDF_SENT),
        (EmbeddedResource(resource=BlobResourceContents(uri="file:///a", mime_type="image/png", blob="aGk=")), PNG_SENT),
        (
            EmbeddedResource(resource=BlobResourceContents(uri="file:///a.md", mime_type="text/markdown", blob="aGk=")),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}, "title": "file:///a.md"},
        ),
        (
            EmbeddedResource(resource=TextResourceContents(uri="file:///a.txt", text="words")),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "words"},
                "title": "file:///a.txt",
            },
        ),
        (EmbeddedResource(resource=TextResourceContents(uri="file:///a", text=" ")), text("Resource `file:///a`: (empty)")),
        (ResourceLink(uri="file:///b.txt", name="b", description="More."), text("Resource `file:///b.txt`: b More.")),
    ],
)
def test_what_is_not_text_is_sent_in_blocks_also_by_tools(block: Block, part: dict[str, Any]):
    (message,) = sent(Message.user([TextContent(text="look"), block]))
    assert message == {"role": "user", "content": [text("look"), part]}

    result = ToolResultContent.model_construct(type="tool_result", tool_use_id="1", content=[block])
    (answer,) = sent(Message.assistant([tool_use("1", "see", {})]), Message.user([result]))[1]["content"]
    assert answer == {"type": "tool_result", "tool_use_id": "1", "content": [part]}


def blob(kind: str, data: str = "aGk=") -> EmbeddedResource:
    return EmbeddedResource(resource=BlobResourceContents(uri="file:///a", mime_type=kind, blob=data))


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (Message.user([AudioContent(data="aGk=", mime_type="audio/wav")]), "audio/wav"),
        (Message.user([ImageContent(data="aGk=", mime_type="image/tiff")]), "image/tiff"),
        (Message.user([blob("application/zip")]), "application/zip"),
        (Message.user([blob("text/plain", "/w==")]), "text/plain"),
        (Message.user([ToolUseContent(id="1", name="t", input={})]), "tool_use"),
        (Message.assistant([PNG]), "image"),
    ],
)
def test_content_that_the_api_cannot_carry_is_an_error_that_names_it(message: Message, named: str):
    with pytest.raises(ProviderError) as refused:
        sent(message)

    assert (refused.value.type, refused.value.retryable) == ("UnsupportedContent", False)
    assert f"`{named}`" in refused.value.message


def test_tool_calls_and_their_results_go_back_in_order():
    calls = Message.assistant([TextContent(text="Adding."), tool_use("1", "add", {"a": 1}), tool_use("2", "add", {"a": 2})])
    results = [
        ToolResultContent(tool_use_id="1", content=[TextContent(text="one"), TextContent(text=" "), PNG]),
        ToolResultContent(tool_use_id="2", content=[TextContent(text="no"), PNG], is_error=True),
    ]

    assert sent(Message.user("hi"), calls, Message.user([TextContent(text="go on"), *results]))[1:] == [
        {"role": "assistant", "content": [text("Adding."), call({"a": 1}, "1"), call({"a": 2}, "2")]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": [text("one"), PNG_SENT]},
                {"type": "tool_result", "tool_use_id": "2", "content": [text("no")], "is_error": True},
                PNG_SENT,  # the API takes nothing but text in a failed result
                text("go on"),
            ],
        },
    ]


def test_results_that_come_in_several_messages_are_one_turn():
    calls = Message.assistant([tool_use("1", "add", {}), tool_use("2", "add", {})])
    results = [ToolResultContent(tool_use_id=one, content=[TextContent(text=one)]) for one in ("1", "2")]
    said = sent(calls, Message.user([results[0], TextContent(text="and")]), Message.user([results[1]]))

    assert [part["type"] for part in said[1]["content"]] == ["tool_result", "tool_result", "text"]
    assert len(said) == 2


@pytest.mark.parametrize(("structured", "words"), [({"n": 1}, '{"n":1}'), (None, "(The tool returned nothing.)")])
def test_a_result_without_content_says_what_there_is(structured: Any, words: str):
    result = ToolResultContent(tool_use_id="1", content=[], structured_content=structured)
    (answer,) = sent(Message.assistant([tool_use("1", "see", {})]), Message.user([result]))[1]["content"]

    assert answer["content"] == [text(words)]


def test_a_tool_call_that_was_never_answered_is_answered_so_that_the_api_goes_on():
    cut = Message.assistant([tool_use("1", "add", {}), tool_use("2", "add", {})])
    one = Message.user([ToolResultContent(tool_use_id="2", content=[TextContent(text="3")]), TextContent(text="and?")])

    assert [part.get("tool_use_id") for part in sent(cut, one)[1]["content"]] == ["1", "2", None]
    for said in (sent(cut), sent(cut, Message.assistant("…"))):
        assert [part["tool_use_id"] for part in said[1]["content"]] == ["1", "2"]


def test_turns_without_a_word_are_no_empty_blocks():
    said = sent(Message.user("hi"), Message.assistant([]), Message.assistant(" "), Message.user(""))

    assert [message["role"] for message in said] == ["user", "user"]
    assert said[1]["content"][0]["text"].strip()


def test_a_tool_call_with_broken_arguments_goes_back_as_an_object():
    broken = Message.assistant([tool_use("1", "add", InvalidInput(raw='{"a', error="cut off"))])

    assert sent(broken)[0]["content"] == [call({}, "1")]


def test_ids_of_other_providers_become_ones_that_the_api_takes():
    calls = Message.assistant([tool_use("call:1/a", "add", {}), tool_use("call:1.a", "add", {})])
    results = [ToolResultContent(tool_use_id=one.id, content=[]) for one in calls.tool_uses]
    said = sent(calls, Message.user(results))
    ids = [block["id"] for block in said[0]["content"]]

    assert ids == [block["tool_use_id"] for block in said[1]["content"]]
    assert len(set(ids)) == 2
    assert all(one.replace("_", "").isalnum() for one in ids)


# ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────────────


def marked(value: Any) -> list[str]:
    """Where marks are, as `system.0` or `messages.2.content.0`."""
    if isinstance(value, dict):
        own = [""] if value.get("cache_control") == CACHED else []
        return own + [f"{name}.{one}".rstrip(".") for name, part in value.items() for one in marked(part)]
    if isinstance(value, list):
        return [f"{number}.{one}".rstrip(".") for number, part in enumerate(value) for one in marked(part)]
    return []


def test_a_long_setup_and_the_last_turns_are_marked_for_the_cache():
    setup = LLMSetup(instruction=LONG, tools=[ToolSpec(name="now")])
    turns = [Message.user("a"), Message.assistant("b"), Message.user("c"), Message.assistant("d"), Message.user("e")]

    assert marked(request(*turns[:1], setup=setup)) == ["system.0", "messages.0.content.0"]
    assert marked(request(*turns, setup=setup)) == ["system.0", "messages.2.content.0", "messages.4.content.0"]


def test_long_tools_alone_are_marked():
    setup = LLMSetup(tools=[ToolSpec(name="now"), ToolSpec(name="add", description=LONG)])

    assert marked(request(Message.user("a"), setup=setup)) == ["tools.1", "messages.0.content.0"]


def test_a_long_conversation_is_marked_without_its_short_setup():
    turns = [Message.user(LONG), Message.assistant("b"), Message.user("c")]

    assert marked(request(*turns, setup=LLMSetup(instruction="x"))) == ["messages.0.content.0", "messages.2.content.0"]


def test_nothing_is_marked_where_it_is_short_or_not_wanted():
    assert marked(request(Message.user("a"), setup=LLMSetup(instruction="x"))) == []
    assert marked(request(Message.user(LONG), setup=LLMSetup(instruction=LONG), prompt_caching=False)) == []


def test_marks_are_the_only_difference_between_a_call_and_the_beginning_of_the_next():
    turns = [Message.user(LONG), Message.assistant([tool_use("1", "now", {})])]
    turns.append(Message.user([ToolResultContent(tool_use_id="1", content=[TextContent(text=LONG)])]))
    later = [*turns, Message.assistant("d"), Message.user("e")]

    first = request(*turns, prompt_caching=False)["messages"]
    assert request(*later, prompt_caching=False)["messages"][: len(first)] == first
    assert marked(request(*later)["messages"])[0] == marked(request(*turns)["messages"])[-1]


# ── responses ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_is_taken_with_usage_and_model():
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 400,
        "cache_creation_input_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    reply = from_response(answered(text("ho"), usage=usage), "asked")

    assert reply.message == Message.assistant("ho")
    assert reply.stop_reason == "end_turn"
    assert reply.usage == Usage(
        input_tokens=440, output_tokens=5, cached_input_tokens=400, cache_write_tokens=30, reasoning_tokens=3
    )
    assert reply.model == "claude-sonnet-5-5-20260928"


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None, "output_tokens_details": None}])
def test_a_server_may_count_nothing_and_not_say_who_it_is(usage: Any):
    reply = from_response(answered(text("ho"), usage=usage, model=None), "asked")

    assert (reply.usage, reply.model) == (Usage(), "asked")


@pytest.mark.parametrize(
    ("blocks", "reason", "stop_reason"),
    [
        ([text("a")], "end_turn", "end_turn"),
        ([text("a")], "stop_sequence", "stop_sequence"),
        ([], "stop_sequence", "stop_sequence"),
        ([text("a")], "max_tokens", "max_tokens"),
        ([THOUGHT], "max_tokens", "max_tokens"),
        ([text("a")], "model_context_window_exceeded", "max_tokens"),
        ([call({})], "max_tokens", "max_tokens"),
        ([text("a")], "refusal", "refusal"),
        ([], "refusal", "refusal"),
        ([call({})], "refusal", "refusal"),
        ([call({})], "tool_use", "tool_use"),
        ([call({})], "end_turn", "tool_use"),
        ([text("a")], "tool_use", "unknown"),
        ([], "end_turn", "empty"),
        ([text(" ")], "end_turn", "empty"),
        ([THOUGHT], "end_turn", "empty"),
        ([text("a")], "pause_turn", "unknown"),
        ([text("a")], "flux", "unknown"),
    ],
)
def test_every_stop_reason_is_mapped_and_none_is_dropped(blocks: list[Any], reason: str, stop_reason: StopReason):
    assert from_response(answered(*blocks, stop_reason=reason), "m").stop_reason == stop_reason


def test_why_an_answer_was_refused_is_its_text():
    details = {"type": "refusal", "category": "bio", "explanation": "Not this."}
    reply = from_response(answered(stop_reason="refusal", stop_details=details), "m")

    assert (reply.message.text, reply.stop_reason) == ("Not this.", "refusal")


def test_a_paused_turn_is_kept_as_it_is_so_that_it_can_go_on():
    blocks = [
        text("Searching."),
        {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []},
    ]
    message = from_response(answered(*blocks, stop_reason="pause_turn"), MODEL).message

    assert message.provider_data is not None
    assert message.provider_data["anthropic"]["stop_reason"] == "pause_turn"
    assert sent(message)[0]["content"] == blocks


NOT_WHOLE: list[Any] = [
    None,
    [],
    "text",
    {},
    {"content": None, "stop_reason": "end_turn"},
    answered(text("half an ans"), stop_reason=None),
    answered(text("half an ans"), stop_reason=""),
]


@pytest.mark.parametrize("body", NOT_WHOLE)
def test_an_answer_that_is_not_whole_is_an_error_that_is_retried(body: Any):
    with pytest.raises(ProviderError) as broken:
        from_response(body, "m")

    assert (broken.value.type, broken.value.retryable) == ("IncompleteResponseError", True)


ERRORS = [
    ("invalid_request_error", "BadRequestError", False),
    ("authentication_error", "AuthenticationError", False),
    ("billing_error", "PaymentRequiredError", False),
    ("rate_limit_error", "RateLimitError", True),
    ("api_error", "InternalServerError", True),
    ("timeout_error", "GatewayTimeoutError", True),
    ("overloaded_error", "OverloadedError", True),
    ("flux_error", "InternalServerError", True),
]


@pytest.mark.parametrize(("kind", "name", "retryable"), ERRORS)
def test_an_error_in_a_stream_or_with_status_200_is_taken_for_what_it_is(kind: str, name: str, retryable: bool):
    error = {"type": "error", "error": {"type": kind, "message": "said the provider"}}
    for take in (lambda: from_response(error, "m"), lambda: StreamedAnswer().add(error)):
        with pytest.raises(ProviderError, match="said the provider") as failed:
            take()

        assert (failed.value.type, failed.value.retryable) == (name, retryable)


@pytest.mark.parametrize(("written", "arguments"), [({"a": 1}, {"a": 1}), ({}, {}), (None, {}), ("", {}), ('{"a": 1}', {"a": 1})])
def test_arguments_of_a_tool_call_are_read(written: Any, arguments: dict[str, Any]):
    (found,) = from_response(answered(call(written), stop_reason="tool_use"), "m").message.tool_uses

    assert (found.name, found.id, found.input, found.meta) == ("add", "toolu_1", arguments, None)


@pytest.mark.parametrize("written", [[1], "[1]", '{"a": ', {"a": float("inf")}, "7"])
def test_arguments_that_are_no_json_object_are_kept_with_what_is_wrong(written: Any):
    (found,) = from_response(answered(call(written), stop_reason="tool_use"), "m").message.tool_uses

    assert invalid_input(found) is not None
    assert found.input == {}


def test_every_tool_call_has_an_id_of_its_own():
    body = answered(call({}, "a"), call({}, "a"), call({}, None), stop_reason="tool_use")

    assert [one.id for one in from_response(body, "m").message.tool_uses] == ["a", "a-2", "call-1"]


@pytest.mark.promise("design: reasoning goes back to the provider unchanged")
def test_thoughts_and_signatures_go_back_unchanged_and_in_place():
    cited = text("Cited.") | {"citations": [{"type": "char_location", "cited_text": "x"}]}
    blocks = [THOUGHT, text("Adding."), HIDDEN, call({"a": 1}, caller={"type": "direct"}), THOUGHT, cited, call({}, "toolu_2")]
    message = from_response(answered(*blocks, stop_reason="tool_use"), MODEL).message
    stored = Message.model_validate_json(to_json(message))

    assert message.text == "Adding.\nCited."
    assert sent(stored)[0]["content"] == blocks


def test_thoughts_of_one_model_are_not_shown_to_another():
    message = from_response(answered(THOUGHT, text("a"), HIDDEN), MODEL).message

    assert sent(message, model="claude-opus-5-5")[0]["content"] == [text("a")]


def conversation(model: str) -> list[Message]:
    """Two rounds with thoughts, as they are stored."""
    said = [Message.user("hi")]
    for number in (1, 2):
        _, prefix = with_prefix(SETUP, said, RequestParams(), model, prompt_caching=True)
        body = answered(THOUGHT, call({"a": number}, f"t{number}"), stop_reason="tool_use")
        said.append(from_response(body, model, prefix).message)
        said.append(Message.user([ToolResultContent(tool_use_id=f"t{number}", content=[TextContent(text=LONG)])]))
    return [Message.model_validate_json(to_json(one)) for one in said]


def thoughts(setup: LLMSetup, said: list[Message], model: str = MODEL, **params: Any) -> int:
    turns = request(*said, setup=setup, params=RequestParams(**params), model=model)["messages"]
    return sum(block["type"] == "thinking" for turn in turns for block in turn["content"])


SETUP = LLMSetup(instruction="Be brief.", tools=[ToolSpec(name="add")])


@pytest.mark.promise("design: reasoning goes back to the provider unchanged")
def test_thoughts_go_back_after_the_conversation_that_they_were_thought_in():
    said = conversation(MODEL)

    assert thoughts(SETUP, said) == 2
    assert thoughts(SETUP, said, reasoning_effort="high", max_tokens=9) == 2
    assert thoughts(SETUP, [*said, Message.assistant("Done."), Message.user("and?")]) == 2


@pytest.mark.promise("issue: a compacted conversation with reasoning is not refused")
def test_thoughts_after_another_beginning_are_left_out():
    said = conversation(MODEL)

    assert thoughts(SETUP.model_copy(update={"instruction": "Be long."}), said) == 0
    assert thoughts(SETUP.model_copy(update={"tools": []}), said) == 0
    assert thoughts(SETUP, [Message.user("Summed up: hi."), *said[1:]]) == 0
    assert thoughts(SETUP, [*said[:2], Message.user("never mind"), *said[3:]]) == 1


def test_older_models_take_thoughts_back_after_any_beginning():
    said = conversation("claude-haiku-4-5")

    assert thoughts(LLMSetup(), [Message.user("Summed up."), *said[1:]], "claude-haiku-4-5") == 2


def test_thoughts_alone_are_no_turn():
    cut = from_response(answered(THOUGHT, stop_reason="max_tokens"), MODEL).message

    assert [turn["role"] for turn in sent(Message.user("hi"), cut, Message.user("go on"))] == ["user", "user"]


def test_data_of_another_provider_is_left_alone():
    message = Message.assistant("hi", {"openai": {"message": {"reasoning_content": "…"}}})

    assert sent(message) == [{"role": "assistant", "content": [text("hi")]}]


def test_half_a_character_does_not_make_an_answer_unstorable():
    message = from_response(answered(THOUGHT, text("a\ud83d"), call({"a": "\ud83d"}), stop_reason="tool_use"), "m").message

    assert Message.model_validate_json(to_json(message)) == message


# ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def events(body: dict[str, Any]) -> list[dict[str, Any]]:
    """How the API streams an answer, in pieces of three characters."""
    first = body | {"content": [], "stop_reason": None, "stop_details": None, "usage": body["usage"] | {"output_tokens": 1}}
    found: list[dict[str, Any]] = [{"type": "message_start", "message": first}, {"type": "ping"}]
    for index, block in enumerate(body["content"]):
        found += block_events(index, block)
    ending = {"stop_reason": body["stop_reason"], "stop_details": body.get("stop_details")}
    counted = {name: body["usage"].get(name) for name in ("output_tokens", "output_tokens_details", "input_tokens")}
    return [*found, {"type": "message_delta", "delta": ending, "usage": counted}, {"type": "message_stop"}]


def block_events(index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {
        "text": ("text_delta", "text", block.get("text")),
        "thinking": ("thinking_delta", "thinking", block.get("thinking")),
        "tool_use": ("input_json_delta", "partial_json", to_json(block.get("input")).decode()),
        "server_tool_use": ("input_json_delta", "partial_json", to_json(block.get("input")).decode()),
    }
    kind, field, whole = kinds.get(block["type"], ("", "", ""))
    empty = {"text": "", "thinking": "", "tool_use": {}, "server_tool_use": {}}.get(block["type"])
    target = "input" if field == "partial_json" else field
    begun = block | ({target: empty} if target else {})
    found = [{"type": "content_block_start", "index": index, "content_block": begun}]
    if "signature" in block:
        begun["signature"] = ""
    if block.get("citations"):
        begun["citations"] = []
    found += [delta(index, kind, **{field: (whole or "")[at : at + 3]}) for at in range(0, len(whole or ""), 3)]
    found += [delta(index, "citations_delta", citation=one) for one in block.get("citations") or []]
    if "signature" in block:
        found.append(delta(index, "signature_delta", signature=block["signature"]))
    return [*found, {"type": "content_block_stop", "index": index}]


USAGE = {
    "input_tokens": 12,
    "output_tokens": 50,
    "cache_read_input_tokens": 7,
    "cache_creation_input_tokens": 5,
    "output_tokens_details": {"thinking_tokens": 20},
}
SEARCH = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "weather"}}
CITED = text("Cited words.") | {"citations": [{"type": "char_location", "cited_text": "x"}, {"type": "page_location"}]}


@pytest.mark.promise("issue: a streamed answer is the answer")
@pytest.mark.parametrize(
    "body",
    [
        answered(text("Hello, wörld 👋!"), usage=USAGE),
        answered(text("One."), text("Two."), usage=USAGE, stop_reason="max_tokens"),
        answered(
            THOUGHT,
            HIDDEN,
            text("Adding."),
            call({"a": 1, "b": ["x", None]}),
            call({}, "t2"),
            usage=USAGE,
            stop_reason="tool_use",
        ),
        answered(SEARCH, CITED, usage=USAGE, stop_reason="pause_turn"),
        answered(usage=USAGE, stop_reason="refusal", stop_details={"type": "refusal", "explanation": "No."}),
        answered(usage=USAGE),
    ],
)
def test_a_streamed_answer_is_the_same_as_one_that_came_at_once(body: dict[str, Any]):
    answer = StreamedAnswer()
    pieces = [answer.add(event) for event in copy.deepcopy(events(body))]

    assert from_response(answer.body(), MODEL) == from_response(body, MODEL)
    assert "".join(pieces) == "".join(block.get("text", "") for block in body["content"])


def test_a_character_in_two_pieces_is_whole_in_the_end():
    answer = StreamedAnswer()
    for event in events(answered(text("ab"))):
        answer.add(event | ({"delta": {"type": "text_delta", "text": "\ud83d"}} if "delta" in event and "index" in event else {}))
    answer.add(delta(0, "text_delta", text="\udc4b"))

    assert from_response(answer.body(), "m").message.text == "👋"


def test_broken_arguments_in_a_stream_are_kept_with_what_is_wrong():
    answer = StreamedAnswer()
    for event in events(answered(call({}), stop_reason="max_tokens")):
        if "delta" in event and "index" in event:
            event["delta"]["partial_json"] = '{"a": '
        answer.add(event)
    (found,) = from_response(answer.body(), "m").message.tool_uses

    problem = invalid_input(found)
    assert problem is not None
    assert problem.raw == '{"a": '


@pytest.mark.parametrize("count", range(7))
def test_a_stream_that_ends_early_is_no_answer_wherever_it_ends(count: int):
    answer = StreamedAnswer()
    whole = events(answered(text("Hi"), usage=USAGE))
    assert len(whole) == 7
    for event in whole[:count]:
        answer.add(event)

    with pytest.raises(ProviderError) as broken:
        from_response(answer.body(), "m")
    assert (broken.value.type, broken.value.retryable) == ("IncompleteResponseError", True)


# ── models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_models_to_choose_from_have_a_price():
    usage = Usage(input_tokens=1000, output_tokens=1000)

    assert AnthropicClient.default_model in AnthropicClient.default_models
    assert all(cost_of("anthropic", model, usage) is not None for model in AnthropicClient.default_models)


def test_the_class_that_agents_attach_asks_this_provider():
    assert AnthropicAugmentedLLM.provider == AnthropicClient.section

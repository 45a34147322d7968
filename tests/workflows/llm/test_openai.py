"""The translator alone; the client is tested over HTTP in `tests/activities/test_llm.py`."""

from __future__ import annotations

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
from mcp_agent.workflows.llm.providers.base import ProviderError
from mcp_agent.workflows.llm.providers.openai.chat import from_response, to_request
from mcp_agent.workflows.llm.providers.openai.content import reasons


def request(
    *messages: Message, setup: LLMSetup | None = None, params: RequestParams | None = None, model: str = "gpt-4.1"
) -> dict[str, Any]:
    return to_request(setup or LLMSetup(), list(messages), params or RequestParams(), model)


def sent(*messages: Message) -> list[dict[str, Any]]:
    return request(*messages)["messages"]


def answered(message: dict[str, Any], finish_reason: Any = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}
    return {"id": "1", "object": "chat.completion", "model": "gpt-4.1-2026", "choices": [choice], **more}


def call(arguments: Any, call_id: Any = "call_1", **more: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "add", "arguments": arguments}, **more}


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_instruction_words_and_tools_become_a_request():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    setup = LLMSetup(instruction="Be brief.", tools=[ToolSpec(name="add", description="Adds.", input_schema=schema)])

    assert request(Message.user("hi"), setup=setup, params=RequestParams(parallel_tool_calls=False)) == {
        "model": "gpt-4.1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": schema}}],
        "parallel_tool_calls": False,
    }


def test_nothing_is_said_of_parallel_tool_calls_without_tools():
    assert "parallel_tool_calls" not in request(Message.user("hi"), params=RequestParams(parallel_tool_calls=True))


def test_a_tool_without_parameters_gets_the_empty_properties_that_openai_wants():
    setup = LLMSetup(tools=[ToolSpec(name="now", input_schema={"type": "object"})])

    (tool,) = request(Message.user("hi"), setup=setup)["tools"]
    assert tool["function"] == {"name": "now", "parameters": {"type": "object", "properties": {}}}


def test_parameters_have_the_names_of_the_api():
    params = RequestParams(max_tokens=9, temperature=0, top_p=0.5, stop_sequences=["END"], provider_options={"seed": 1})
    asked = request(Message.user("hi"), params=params)
    del asked["messages"], asked["model"]

    assert asked == {"max_tokens": 9, "temperature": 0, "top_p": 0.5, "stop": ["END"], "extra_body": {"seed": 1}}


@pytest.mark.parametrize("model", ["o1", "o4-mini", "gpt-5-nano", "gpt-5.4-mini", "gpt-6-sol", "openai/o3", "ft:gpt-5:me"])
def test_reasoning_models_get_their_own_limit_and_no_temperature(model: str):
    params = RequestParams(max_tokens=9, temperature=0.5, top_p=0.5, reasoning_effort="low")
    asked = request(Message.user("hi"), params=params, model=model)
    del asked["messages"], asked["model"]

    assert asked == {"max_completion_tokens": 9, "reasoning_effort": "low"}


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-5-chat-latest", "llama-3.3-70b", "ollama/qwen3", "omni-1"])
def test_other_models_are_not_taken_for_reasoning_ones(model: str):
    assert not reasons(model)


def test_a_response_schema_is_named_by_its_title():
    schema = {"title": "A Brief!", "type": "object"}

    asked = request(Message.user("hi"), setup=LLMSetup(response_schema=schema))
    assert asked["response_format"] == {"type": "json_schema", "json_schema": {"name": "A_Brief_", "schema": schema}}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            ImageContent(data="aGk=", mime_type="image/png"),
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        ),
        (
            AudioContent(data="aGk=", mime_type="audio/mpeg"),
            {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
        ),
        (
            EmbeddedResource(resource=BlobResourceContents(uri="file:///a.png", mime_type="image/png", blob="aGk=")),
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        ),
        (
            EmbeddedResource(resource=BlobResourceContents(uri="file:///x/a.pdf", mime_type="application/pdf", blob="aGk=")),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        ),
    ],
)
def test_what_is_not_text_is_sent_in_parts(block: Block, part: dict[str, Any]):
    (message,) = sent(Message.user([TextContent(text="look"), block]))

    assert message == {"role": "user", "content": [{"type": "text", "text": "look"}, part]}


def test_texts_of_resources_say_where_they_come_from():
    text = EmbeddedResource(resource=TextResourceContents(uri="file:///a.txt", text="words"))
    link = ResourceLink(uri="file:///b.txt", name="b", description="More words.")

    (message,) = sent(Message.user([text, link]))
    assert message["content"] == "Resource `file:///a.txt`:\nwords\nResource `file:///b.txt`: b More words."


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (AudioContent(data="aGk=", mime_type="audio/ogg"), "audio/ogg"),
        (
            EmbeddedResource(resource=BlobResourceContents(uri="file:///a.zip", mime_type="application/zip", blob="aGk=")),
            "application/zip",
        ),
        (ToolUseContent(id="1", name="t", input={}), "tool_use"),
    ],
)
def test_content_that_the_api_cannot_carry_is_an_error_that_names_it(block: Block, named: str):
    with pytest.raises(ProviderError) as refused:
        sent(Message.user([block]))

    assert (refused.value.type, refused.value.retryable) == ("UnsupportedContent", False)
    assert named in refused.value.message


def test_tool_calls_and_their_results_go_back_in_order():
    calls = Message.assistant([TextContent(text="Adding."), tool_use("1", "add", {"a": 1}), tool_use("2", "add", {"a": 2})])
    results = Message.user(
        [
            ToolResultContent(tool_use_id="1", content=[TextContent(text="one"), TextContent(text="uno")]),
            ToolResultContent(tool_use_id="2", content=[TextContent(text="no")], is_error=True),
        ]
    )

    assert sent(Message.user("hi"), calls, results)[1:] == [
        {
            "role": "assistant",
            "content": "Adding.",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
                {"id": "2", "type": "function", "function": {"name": "add", "arguments": '{"a":2}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "one\nuno"},
        {"role": "tool", "tool_call_id": "2", "content": "Error: no"},
    ]


def test_an_image_in_a_tool_result_follows_all_results_as_words_of_the_user():
    calls = Message.assistant([tool_use("1", "see", {}), tool_use("2", "see", {})])
    image = ImageContent(data="aGk=", mime_type="image/png")
    results = Message.user(
        [
            ToolResultContent(tool_use_id="1", content=[image]),
            ToolResultContent(tool_use_id="2", content=[], structured_content={"n": 1}),
            TextContent(text="go on"),
        ]
    )

    first, second, attached = sent(calls, results)[1:]
    assert "1 attachment" in first["content"]
    assert (second["role"], second["content"]) == ("tool", '{"n":1}')
    assert [part["type"] for part in attached["content"]] == ["image_url", "text"]


def test_a_tool_that_returned_nothing_says_so():
    calls = Message.assistant([tool_use("1", "see", {})])

    assert sent(calls, Message.user([ToolResultContent(tool_use_id="1", content=[])]))[1]["content"] != ""


def test_a_tool_call_that_was_never_answered_is_answered_so_that_the_api_goes_on():
    cut = Message.assistant([tool_use("1", "add", {}), tool_use("2", "add", {})])
    one = Message.user([ToolResultContent(tool_use_id="2", content=[TextContent(text="3")]), TextContent(text="and?")])

    roles = [(message["role"], message.get("tool_call_id")) for message in sent(cut, one)]
    assert roles == [("assistant", None), ("tool", "1"), ("tool", "2"), ("user", None)]


def test_an_empty_answer_can_be_part_of_a_conversation():
    assert sent(Message.user("hi"), Message.assistant([]), Message.user("hello?"))[1] == {
        "role": "assistant",
        "content": "",
    }


def test_a_tool_call_with_broken_arguments_goes_back_as_valid_json():
    broken = Message.assistant([tool_use("1", "add", InvalidInput(raw='{"a', error="cut off"))])

    assert sent(broken)[0]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_openai_itself_is_told_what_other_servers_may_refuse():
    schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}}
    setup = LLMSetup(instruction="Be brief.", response_schema=schema)
    params = RequestParams(max_tokens=9, metadata={"team": "x"}, provider_options={"store": True})
    own = to_request(setup, [Message.user("hi")], params, "gpt-4.1", own=True)
    other = to_request(setup, [Message.user("hi")], params, "gpt-4.1")

    assert own["response_format"]["json_schema"] == {
        "name": "response",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    }
    assert other["response_format"]["json_schema"] == {"name": "response", "schema": schema}
    assert (own["max_completion_tokens"], other["max_tokens"]) == (9, 9)
    assert own["metadata"] == {"team": "x"}
    assert own.keys() - other.keys() == {"max_completion_tokens", "metadata", "prompt_cache_key"}


def test_labels_of_what_is_not_stored_are_not_sent():
    params = RequestParams(metadata={"team": "x"})

    assert "metadata" not in to_request(LLMSetup(), [Message.user("hi")], params, "gpt-4.1", own=True)


def test_the_key_of_the_cache_is_the_same_for_the_same_setup_only():
    def key(setup: LLMSetup, *said: str) -> str:
        return to_request(setup, [*map(Message.user, said)], RequestParams(), "gpt-4.1", own=True)["prompt_cache_key"]

    setup = LLMSetup(instruction="Be brief.")
    assert key(setup, "a") == key(setup, "a", "b") != key(LLMSetup(instruction="Be long."), "a")
    assert len(key(setup, "a")) <= 64


def test_a_text_file_is_sent_as_text():
    blob = BlobResourceContents(uri="file:///a.csv", mime_type="text/csv; charset=utf-8", blob="YSxi")
    broken = BlobResourceContents(uri="file:///a.csv", mime_type="text/csv", blob="/w==")

    (message,) = sent(Message.user([EmbeddedResource(resource=blob)]))
    assert message["content"] == "Resource `file:///a.csv`:\na,b"
    with pytest.raises(ProviderError, match="text/csv"):
        sent(Message.user([EmbeddedResource(resource=broken)]))


def test_a_sound_in_a_resource_is_sent_as_sound():
    sound = BlobResourceContents(uri="file:///a.wav", mime_type="audio/wav", blob="aGk=")

    (message,) = sent(Message.user([EmbeddedResource(resource=sound)]))
    assert message["content"] == [{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}]


def test_an_image_that_the_model_made_elsewhere_is_named():
    made = Message.assistant([ImageContent(data="aGk=", mime_type="image/png")])

    assert "`image/png`" in sent(made)[0]["content"]


# ── responses ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_is_taken_with_usage_and_model():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    reply = from_response(answered({"content": "ho"}, usage=usage), "asked")

    assert reply.message == Message.assistant("ho")
    assert reply.stop_reason == "end_turn"
    assert reply.usage == Usage(input_tokens=10, output_tokens=5, cached_input_tokens=4, reasoning_tokens=3)
    assert reply.model == "gpt-4.1-2026"


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "prompt_tokens_details": None}])
def test_a_server_may_count_nothing_and_not_say_who_it_is(usage: Any):
    reply = from_response({**answered({"content": "ho"}, usage=usage), "model": None}, "asked")

    assert (reply.usage, reply.model) == (Usage(), "asked")


@pytest.mark.parametrize(
    ("message", "finish", "stop_reason"),
    [
        ({"content": "a"}, "stop", "end_turn"),
        ({"content": "a"}, "eos", "end_turn"),
        ({"content": "a"}, "length", "max_tokens"),
        ({"content": None}, "length", "max_tokens"),
        ({"content": "a"}, "content_filter", "content_filter"),
        ({"content": None}, "content_filter", "content_filter"),
        ({"content": None, "refusal": "I can't."}, "stop", "refusal"),
        ({"content": None, "tool_calls": [call("{}")]}, "tool_calls", "tool_use"),
        ({"content": None, "tool_calls": [call("{}")]}, "stop", "tool_use"),
        ({"content": None, "tool_calls": [call("{")]}, "length", "max_tokens"),
        ({"content": None, "tool_calls": []}, "tool_calls", "unknown"),
        ({"content": None}, "stop", "empty"),
        ({"content": ""}, "stop", "empty"),
        ({}, "stop", "empty"),
        ({"content": "a"}, "flux", "unknown"),
    ],
)
def test_every_finish_reason_is_mapped_and_none_is_dropped(message: dict[str, Any], finish: str, stop_reason: StopReason):
    assert from_response(answered(message, finish), "m").stop_reason == stop_reason


def test_a_refusal_is_the_text_of_the_answer():
    assert from_response(answered({"content": None, "refusal": "I can't."}), "m").message.text == "I can't."


def test_an_unknown_finish_reason_is_kept():
    data = from_response(answered({"content": "a"}, "flux"), "m").message.provider_data

    assert data == {"openai": {"finish_reason": "flux"}}


NOT_WHOLE: list[Any] = [
    None,
    [],
    "text",
    {},
    {"choices": []},
    {"choices": None},
    {"choices": [{}]},
    answered({"content": "half an ans"}, None),
    {"error": {"message": "upstream went away"}},
]


@pytest.mark.parametrize("body", NOT_WHOLE)
def test_an_answer_that_is_not_whole_is_an_error_that_is_retried(body: Any):
    with pytest.raises(ProviderError) as broken:
        from_response(body, "m")

    assert (broken.value.type, broken.value.retryable) == ("IncompleteResponseError", True)


@pytest.mark.parametrize(("code", "name", "retryable"), [(429, "RateLimitError", True), (401, "AuthenticationError", False)])
def test_an_error_with_status_200_is_taken_for_what_it_is(code: int, name: str, retryable: bool):
    with pytest.raises(ProviderError) as failed:
        from_response({"error": {"message": "no", "code": code}}, "m")

    assert (failed.value.type, failed.value.status, failed.value.retryable) == (name, code, retryable)


@pytest.mark.parametrize(
    ("written", "arguments"),
    [('{"a": 1}', {"a": 1}), ("", {}), (None, {}), ("null", {}), ({"a": 1}, {"a": 1}), ('{"a": null}', {"a": None})],
)
def test_arguments_of_a_tool_call_are_read(written: Any, arguments: dict[str, Any]):
    (found,) = from_response(answered({"tool_calls": [call(written)]}, "tool_calls"), "m").message.tool_uses

    assert (found.name, found.id, found.input, found.meta) == ("add", "call_1", arguments, None)


@pytest.mark.parametrize("written", ['{"a": ', "[1]", '"a"', "7", "{'a': 1}", '{"a": NaN}', '{"a": 1e999}', "x" * 5_000])
def test_arguments_that_are_no_json_object_are_kept_with_what_is_wrong(written: str):
    (found,) = from_response(answered({"tool_calls": [call(written)]}, "tool_calls"), "m").message.tool_uses
    problem = invalid_input(found)

    assert problem is not None
    assert problem.raw == written
    assert written[:100] in problem.error
    assert len(problem.error) < 400
    assert found.input == {}


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (["a", "a", "a"], ["a", "a-2", "a-3"]),
        (["a", "b"], ["a", "b"]),
        (["", None], ["call-1", "call-2"]),
        (["a-2", "a", "a"], ["a-2", "a", "a-3"]),
    ],
)
def test_every_tool_call_has_an_id_of_its_own(given: list[Any], ids: list[str]):
    body = answered({"tool_calls": [call("{}", call_id) for call_id in given]}, "tool_calls")

    assert [one.id for one in from_response(body, "m").message.tool_uses] == ids


def test_calls_in_other_forms_are_not_lost():
    custom = {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    (one,) = from_response(answered({"tool_calls": [custom]}, "tool_calls"), "m").message.tool_uses
    legacy = {"function_call": {"name": "add", "arguments": '{"a":1}'}}
    (other,) = from_response(answered(legacy, "function_call"), "m").message.tool_uses

    problem = invalid_input(one)
    assert one.name == "sql"
    assert problem is not None
    assert problem.raw == "select 1"
    assert (other.name, other.input) == ("add", {"a": 1})


def test_what_the_model_needs_back_goes_back_unchanged():
    details = [{"type": "reasoning.encrypted", "data": "Zm9v", "nothing": None}]
    signature = {"google": {"thought_signature": "c2ln"}}
    said = {
        "content": None,
        "reasoning_content": "Let me see.",
        "reasoning_details": details,
        "reasoning": None,
        "tool_calls": [call("{}", extra_content=signature), call("{}")],
    }
    message = from_response(answered(said, "tool_calls"), "m").message
    (again,) = sent(Message.model_validate_json(to_json(message)))

    assert again["reasoning_content"] == "Let me see."
    assert again["reasoning_details"] == details
    assert "reasoning" not in again
    assert [one.get("extra_content") for one in again["tool_calls"]] == [signature, None]


def test_data_of_another_provider_is_left_alone():
    message = Message.assistant("hi", {"anthropic": {"message": {"thinking": "…"}}})

    assert sent(message) == [{"role": "assistant", "content": "hi"}]


def test_an_answer_in_parts_is_read_and_goes_back_as_it_came():
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "ho"}]
    message = from_response(answered({"content": parts}), "m").message

    assert message.text == "ho"
    assert sent(message)[0]["content"] == parts


def test_half_a_character_does_not_make_an_answer_unstorable():
    message = from_response(answered({"content": "a\ud83d", "tool_calls": [call('{"a\ud83d')]}), "m").message

    assert Message.model_validate_json(to_json(message)) == message


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        ("UklGRg==", "audio/wav"),
        ("SUQzBA==", "audio/mpeg"),
        ("//uQxA==", "audio/mpeg"),
        ("T2dnUw==", "audio/ogg"),
        ("AAAA", "audio/pcm"),
    ],
)
def test_a_spoken_answer_has_its_sound_and_its_words(data: str, mime_type: str):
    said = {"content": None, "audio": {"id": "audio_1", "data": data, "expires_at": 1, "transcript": "ho"}}
    message = from_response(answered(said), "m").message

    assert message.content == [TextContent(text="ho"), AudioContent(data=data, mime_type=mime_type)]
    assert sent(message) == [{"role": "assistant", "content": "ho"}]


@pytest.mark.parametrize(
    ("error", "name", "retryable"),
    [
        ({"code": "server_error", "message": "no"}, "InternalServerError", True),
        ({"code": "429", "message": "no"}, "RateLimitError", True),
        ({"code": "insufficient_quota", "type": "insufficient_quota", "message": "no"}, "RateLimitError", False),
        ({"code": None, "type": "invalid_request_error", "message": "no"}, "BadRequestError", False),
        ({"code": "context_length_exceeded", "type": "invalid_request_error"}, "BadRequestError", False),
        ({"code": "model_not_found", "message": "no"}, "NotFoundError", False),
        ({"type": "overloaded_error", "message": "no"}, "InternalServerError", True),
        ({"code": "who_knows", "message": "no"}, "IncompleteResponseError", True),
        ("upstream went away", "IncompleteResponseError", True),
    ],
)
def test_an_error_is_told_by_the_word_that_names_it(error: Any, name: str, retryable: bool):
    with pytest.raises(ProviderError) as failed:
        from_response({"error": error}, "m")

    assert (failed.value.type, failed.value.retryable) == (name, retryable)

"""The translator of the Responses API and of its streams; the client is tested over HTTP in `tests/activities`."""

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
from mcp_agent.workflows.llm.providers.openai import chat as chat_api
from mcp_agent.workflows.llm.providers.openai.responses import from_response, to_request
from mcp_agent.workflows.llm.providers.openai.responses_stream import ResponsesStream


def request(
    *messages: Message,
    setup: LLMSetup | None = None,
    params: RequestParams | None = None,
    model: str = "gpt-5.4",
    own: bool = False,
) -> dict[str, Any]:
    return to_request(setup or LLMSetup(), list(messages), params or RequestParams(), model, own=own)


def sent(*messages: Message, **more: Any) -> list[dict[str, Any]]:
    return request(*messages, **more)["input"]


def response(*items: dict[str, Any], status: str = "completed", reason: str | None = None, **more: Any) -> dict[str, Any]:
    details = {"reason": reason} if reason else None
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "model": "gpt-5.4-2026",
        "output": list(items),
        "error": None,
        "incomplete_details": details,
        **more,
    }


def says(text: str, item_id: str = "msg_1", **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": item_id, "status": "completed", "role": "assistant", "content": [part], **more}


def refuses(text: str) -> dict[str, Any]:
    return {**says(""), "content": [{"type": "refusal", "refusal": text}]}


def calls(arguments: str, call_id: str = "call_1", **more: Any) -> dict[str, Any]:
    made = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": "add", "arguments": arguments}
    return {**made, "status": "completed", **more}


def thinks(item_id: str = "rs_1", **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": item_id, "summary": [], "encrypted_content": "Zm9v==", **more}


def said(*items: dict[str, Any], **more: Any) -> Message:
    """The message of an answer, as it is after it was stored."""
    return Message.model_validate_json(to_json(from_response(response(*items, **more), "m").message))


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_instruction_words_and_tools_become_a_request_that_leaves_nothing_behind():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    setup = LLMSetup(instruction="Be brief.", tools=[ToolSpec(name="add", description="Adds.", input_schema=schema)])

    assert request(Message.user("hi"), setup=setup, params=RequestParams(parallel_tool_calls=False)) == {
        "model": "gpt-5.4",
        "input": [{"role": "user", "content": "hi"}],
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "add", "description": "Adds.", "parameters": schema, "strict": False}],
        "parallel_tool_calls": False,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }


def test_parameters_have_the_names_of_the_api():
    params = RequestParams(
        max_tokens=16,
        temperature=0,
        top_p=0.5,
        reasoning_effort="low",
        metadata={"team": "x"},
        provider_options={"truncation": "auto"},
    )

    asked = request(Message.user("hi"), params=params, model="gpt-4.1", own=True)
    assert asked.pop("prompt_cache_key") == LLMSetup().hash()
    assert asked == {
        "model": "gpt-4.1",
        "input": [{"role": "user", "content": "hi"}],
        "store": False,
        "max_output_tokens": 16,
        "temperature": 0,
        "top_p": 0.5,
        "reasoning": {"effort": "low"},
        "metadata": {"team": "x"},
        "extra_body": {"truncation": "auto"},
    }


def test_options_of_the_provider_are_added_to_what_is_asked_anyway():
    setup = LLMSetup(tools=[ToolSpec(name="add")], response_schema={"type": "object", "properties": {}})
    options = {
        "reasoning": {"summary": "auto"},
        "text": {"verbosity": "low"},
        "tools": [{"type": "web_search"}],
        "include": ["web_search_call.action.sources"],
        "store": True,
    }
    asked = request(Message.user("hi"), setup=setup, params=RequestParams(reasoning_effort="low", provider_options=options))
    sent = asked | asked["extra_body"]

    assert sent["reasoning"] == {"effort": "low", "summary": "auto"}
    assert sent["text"].keys() == {"format", "verbosity"}
    assert [tool["type"] for tool in sent["tools"]] == ["function", "web_search"]
    assert sent["include"] == ["reasoning.encrypted_content", "web_search_call.action.sources"]
    assert sent["store"] is True


@pytest.mark.parametrize("model", ["o4-mini", "gpt-5.4-mini", "gpt-6-sol", "ft:gpt-5:me"])
def test_reasoning_models_get_no_temperature(model: str):
    asked = request(Message.user("hi"), params=RequestParams(temperature=0.5, top_p=0.5), model=model)

    assert asked.keys().isdisjoint({"temperature", "top_p"})


@pytest.mark.parametrize(
    ("model", "asked_for"),
    [("gpt-4.1", False), ("gpt-4o-mini", False), ("gpt-5-chat-latest", False), ("o4-mini", True), ("my-deployment", True)],
)
def test_encrypted_reasoning_is_asked_of_every_model_that_may_reason(model: str, asked_for: bool):
    assert ("include" in request(Message.user("hi"), model=model)) is asked_for


def test_stop_sequences_which_the_api_does_not_have_are_not_ignored():
    with pytest.raises(ProviderError) as refused:
        request(Message.user("hi"), params=RequestParams(stop_sequences=["END"]))

    assert (refused.value.type, refused.value.retryable) == ("UnsupportedParameter", False)
    assert "`END`" in refused.value.message


def test_a_response_schema_is_strict_where_openai_can_hold_the_model_to_it():
    schema = {"title": "A Brief!", "type": "object", "properties": {"a": {"type": "string"}}}
    free = {"type": "object", "additionalProperties": True}

    def form(schema: dict[str, Any], *, own: bool) -> dict[str, Any]:
        return request(Message.user("hi"), setup=LLMSetup(response_schema=schema), own=own)["text"]["format"]

    strict = form(schema, own=True)
    assert (strict["type"], strict["name"], strict["strict"]) == ("json_schema", "A_Brief_", True)
    assert (strict["schema"]["required"], strict["schema"]["additionalProperties"]) == (["a"], False)
    assert form(schema, own=False) == {"type": "json_schema", "name": "A_Brief_", "strict": False, "schema": schema}
    assert form(free, own=True) == {"type": "json_schema", "name": "response", "strict": False, "schema": free}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            ImageContent(data="aGk=", mime_type="image/png"),
            {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"},
        ),
        (
            EmbeddedResource(resource=BlobResourceContents(uri="file:///x/a.pdf", mime_type="application/pdf", blob="aGk=")),
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        ),
        (
            EmbeddedResource(resource=TextResourceContents(uri="file:///a.txt", text="words")),
            {"type": "input_text", "text": "Resource `file:///a.txt`:\nwords"},
        ),
        (
            ResourceLink(uri="file:///b.txt", name="b"),
            {"type": "input_text", "text": "Resource `file:///b.txt`: b"},
        ),
    ],
)
def test_content_is_sent_in_parts(block: Block, part: dict[str, Any]):
    image = ImageContent(data="eA==", mime_type="image/jpeg")

    (message,) = sent(Message.user([image, block]))
    assert message["content"][1] == part


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (AudioContent(data="aGk=", mime_type="audio/wav"), "audio/wav"),
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


def test_results_of_tools_are_sent_with_what_they_show():
    image = ImageContent(data="aGk=", mime_type="image/png")
    part = {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"}
    results = Message.user(
        [
            ToolResultContent(tool_use_id="1", content=[TextContent(text="no")], is_error=True),
            ToolResultContent(tool_use_id="2", content=[TextContent(text="look"), image]),
            ToolResultContent(tool_use_id="3", content=[image]),
            ToolResultContent(tool_use_id="4", content=[image], is_error=True),
            ToolResultContent(tool_use_id="5", content=[], structured_content={"n": 1}),
            ToolResultContent(tool_use_id="6", content=[]),
            TextContent(text="go on"),
        ]
    )

    *outputs, message = sent(results)
    assert [(one["type"], one["call_id"]) for one in outputs] == [("function_call_output", str(n)) for n in range(1, 7)]
    assert outputs[0]["output"] == "Error: no"
    assert outputs[1]["output"] == [{"type": "input_text", "text": "look"}, part]
    assert outputs[2]["output"] == [part]
    assert outputs[3]["output"][0]["text"].startswith("Error:")
    assert outputs[4]["output"] == '{"n":1}'
    assert outputs[5]["output"]
    assert message == {"role": "user", "content": "go on"}


def test_a_tool_call_that_was_never_answered_is_answered_so_that_the_api_goes_on():
    cut = Message.assistant([tool_use("1", "add", {}), tool_use("2", "add", {})])
    one = Message.user([ToolResultContent(tool_use_id="2", content=[TextContent(text="3")]), TextContent(text="and?")])

    kinds = [(item.get("type"), item.get("call_id")) for item in sent(cut, one)]
    assert kinds == [
        ("function_call", "1"),
        ("function_call", "2"),
        ("function_call_output", "1"),
        ("function_call_output", "2"),
        (None, None),
    ]


# ── what goes back ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.promise("issue: reasoning items and signatures go back unchanged")
@pytest.mark.parametrize(
    "items",
    [
        pytest.param([says("ho")], id="a text"),
        pytest.param([thinks(), says("ho", phase="final_answer")], id="reasoning and a text"),
        pytest.param([thinks(), calls('{"a": 1}'), thinks("rs_2"), calls('{"a":2}', "call_2")], id="reasoning between calls"),
        pytest.param([says("Adding.", phase="commentary"), calls("{}"), calls("", "call_2")], id="words before calls"),
        pytest.param([says("a"), says("", "msg_2"), says("b", "msg_3")], id="several messages, one without a word"),
        pytest.param([refuses("I can't.")], id="a refusal"),
        pytest.param([thinks(encrypted_content=None, content=[{"type": "reasoning_text", "text": "hm"}]), says("ho")], id="open"),
        pytest.param([{"type": "web_search_call", "id": "ws_1", "action": {"query": "x"}}, says("ho")], id="a built-in tool"),
        pytest.param(
            [{"type": "image_generation_call", "id": "ig_1", "result": "aGk=", "output_format": "webp"}, says("ho")],
            id="an image",
        ),
        pytest.param(
            [{"type": "custom_tool_call", "id": "ct_1", "call_id": "call_1", "name": "sql", "input": "select 1"}], id="free words"
        ),
    ],
)
def test_all_items_of_an_answer_go_back_as_they_came_and_in_order(items: list[dict[str, Any]]):
    assert sent(said(*items))[: len(items)] == items


def test_a_message_that_was_stored_by_this_version_can_be_read_for_ever():
    stored = {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Adding."},
            {"type": "tool_use", "id": "call_1", "name": "add", "input": {"a": 1}},
            {"type": "tool_use", "id": "call_2", "name": "add", "input": {"a": 2}},
        ],
        "provider_data": {
            "openai_responses": {
                "items": [
                    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "Zm9v=="},
                    {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text"}]},
                    {"type": "function_call", "id": "fc_1"},
                    {"type": "function_call", "id": "fc_2", "arguments": '{"a": 2}'},
                ]
            }
        },
    }

    assert sent(Message.model_validate(stored)) == [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "Zm9v=="},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Adding."}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call", "id": "fc_2", "call_id": "call_2", "name": "add", "arguments": '{"a": 2}'},
    ]


def test_texts_arguments_and_images_are_kept_once():
    long = "word " * 1_000
    image = {"type": "image_generation_call", "id": "ig_1", "result": "aGk=" * 1_000}
    message = said(says(long), calls(f'{{"text":"{long}"}}'), image)

    assert len(to_json(message)) < 1.1 * (2 * len(long) + 4_000) + 1_000
    assert message.content[2] == ImageContent(data="aGk=" * 1_000, mime_type="image/png")


def test_a_result_of_a_tool_that_takes_free_words_has_its_own_kind():
    made = said({"type": "custom_tool_call", "id": "ct_1", "call_id": "call_1", "name": "sql", "input": "select 1"})
    result = Message.user([ToolResultContent(tool_use_id="call_1", content=[TextContent(text="1")])])

    assert sent(made, result)[1] == {"type": "custom_tool_call_output", "call_id": "call_1", "output": "1"}


def test_calls_with_the_same_id_are_told_apart_in_both_directions():
    made = said(calls('{"a":1}'), calls('{"a":2}'))

    assert [one.id for one in made.tool_uses] == ["call_1", "call_1-2"]
    assert [item["call_id"] for item in sent(made)] == ["call_1", "call_1-2"]


def test_broken_arguments_are_kept_and_go_back_as_valid_json():
    made = said(calls('{"a'))
    problem = invalid_input(made.tool_uses[0])

    assert problem is not None
    assert problem.raw == '{"a'
    assert sent(made)[0]["arguments"] == "{}"


@pytest.mark.parametrize(
    "changed",
    [
        [TextContent(text="shortened")],
        [TextContent(text="Adding."), tool_use("call_1", "add", {"a": 2})],
        [TextContent(text="Adding."), tool_use("call_1", "add", {"a": 1}), TextContent(text="more")],
        [tool_use("call_1", "add", {"a": 1}), TextContent(text="Adding.")],
    ],
)
def test_a_message_that_was_changed_since_goes_back_as_it_is_now(changed: list[Block]):
    message = said(thinks(), says("Adding."), calls('{"a": 1}')).model_copy(update={"content": changed})

    assert sent(message) == sent(Message.assistant(changed))


def test_reasoning_that_nothing_follows_is_not_sent_because_the_api_refuses_it():
    cut = said(thinks(), status="incomplete", reason="max_output_tokens")
    after = said(thinks(), says("ho"), thinks("rs_2"), status="incomplete", reason="max_output_tokens")

    assert sent(cut, Message.user("go on")) == [{"role": "assistant", "content": ""}, {"role": "user", "content": "go on"}]
    assert [item["id"] for item in sent(after)] == ["rs_1", "msg_1"]


def test_reasoning_that_openai_would_have_to_look_up_is_sent_only_where_it_is_stored():
    message = said(thinks(encrypted_content=None), calls("{}"))

    assert sent(message) == [{key: value for key, value in calls("{}").items() if key != "id"}]
    assert len(sent(message, params=RequestParams(provider_options={"store": True}))) == 2


def test_a_conversation_goes_on_when_the_api_is_switched():
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    chat = {"message": {"content": "Adding.", "tool_calls": [call], "reasoning_content": "hm"}, "finish_reason": "tool_calls"}
    by_chat = chat_api.from_response({"choices": [chat]}, "m").message
    by_responses = said(thinks(), says("Adding."), calls('{"a":1}', "1"))
    result = Message.user([ToolResultContent(tool_use_id="1", content=[TextContent(text="2")])])

    assert sent(by_chat, result) == [
        {"role": "assistant", "content": "Adding."},
        {"type": "function_call", "call_id": "1", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call_output", "call_id": "1", "output": "2"},
    ]
    asked = chat_api.to_request(LLMSetup(), [by_responses, result], RequestParams(), "m")["messages"]
    assert asked == [
        {"role": "assistant", "content": "Adding.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "2"},
    ]


def test_data_of_another_provider_is_left_alone():
    assert sent(Message.assistant("hi", {"anthropic": {"items": [thinks()]}})) == [{"role": "assistant", "content": "hi"}]


def test_an_empty_answer_can_be_part_of_a_conversation():
    assert sent(Message.assistant([])) == [{"role": "assistant", "content": ""}]


# ── responses ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_is_taken_with_usage_and_model():
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    reply = from_response(response(says("ho"), usage=usage), "asked")

    assert (reply.message.text, reply.stop_reason, reply.model) == ("ho", "end_turn", "gpt-5.4-2026")
    assert reply.usage == Usage(input_tokens=10, output_tokens=5, cached_input_tokens=4, cache_write_tokens=3, reasoning_tokens=2)


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None, "input_tokens_details": None}])
def test_a_server_may_count_nothing_and_not_say_who_it_is(usage: Any):
    reply = from_response({**response(says("ho"), usage=usage), "model": None}, "asked")

    assert (reply.usage, reply.model) == (Usage(), "asked")


@pytest.mark.parametrize(
    ("items", "status", "reason", "stop_reason"),
    [
        ([says("a")], "completed", None, "end_turn"),
        ([thinks(), calls("{}")], "completed", None, "tool_use"),
        ([says("a"), calls("{}")], "completed", None, "tool_use"),
        ([refuses("No.")], "completed", None, "refusal"),
        ([], "completed", None, "empty"),
        ([says("")], "completed", None, "empty"),
        ([thinks()], "completed", None, "empty"),
        ([says("half")], "incomplete", "max_output_tokens", "max_tokens"),
        ([calls('{"a')], "incomplete", "max_output_tokens", "max_tokens"),
        ([], "incomplete", "content_filter", "content_filter"),
        ([says("a")], "incomplete", "steered", "unknown"),
        ([says("a")], "incomplete", None, "unknown"),
    ],
)
def test_every_end_is_mapped_and_none_is_dropped(
    items: list[dict[str, Any]], status: str, reason: str | None, stop_reason: StopReason
):
    assert from_response(response(*items, status=status, reason=reason), "m").stop_reason == stop_reason


def test_an_unknown_reason_is_kept():
    data = from_response(response(says("a"), status="incomplete", reason="steered"), "m").message.provider_data

    assert data is not None
    assert data["openai_responses"]["reason"] == "steered"


def test_a_refusal_is_the_text_of_the_answer():
    assert from_response(response(refuses("I can't.")), "m").message.text == "I can't."


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {},
        {"status": "completed"},
        {**response(), "output": None},
        response(says("half"), status="in_progress"),
        response(says("half"), status="cancelled"),
        {"error": {"message": "upstream went away"}},
        response(status="failed", error={"code": "who_knows", "message": "?"}),
        response(status="failed"),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error_that_is_retried(body: Any):
    with pytest.raises(ProviderError) as broken:
        from_response(body, "m")

    assert (broken.value.type, broken.value.retryable) == ("IncompleteResponseError", True)


@pytest.mark.parametrize(
    ("code", "name", "retryable"),
    [
        ("server_error", "InternalServerError", True),
        ("rate_limit_exceeded", "RateLimitError", True),
        ("vector_store_timeout", "InternalServerError", True),
        ("insufficient_quota", "RateLimitError", False),
        ("invalid_prompt", "BadRequestError", False),
        ("image_content_policy_violation", "BadRequestError", False),
        ("bio_policy", "BadRequestError", False),
        ("context_length_exceeded", "BadRequestError", False),
    ],
)
def test_a_response_that_failed_is_taken_for_what_it_is(code: str, name: str, retryable: bool):
    with pytest.raises(ProviderError) as failed:
        from_response(response(status="failed", error={"code": code, "message": "said the API"}), "m")

    assert (failed.value.type, failed.value.retryable) == (name, retryable)
    assert "said the API" in failed.value.message


def test_half_a_character_does_not_make_an_answer_unstorable():
    message = from_response(response(says("a\ud83d"), calls('{"a\ud83d')), "m").message

    assert Message.model_validate_json(to_json(message)) == message


# ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def streamed(*events: Any) -> tuple[Any, list[str]]:
    stream = ResponsesStream()
    texts = [stream.add(event) for event in events]
    return stream.whole(), [text for text in texts if text]


def test_the_last_event_is_the_answer_and_the_others_are_its_text():
    whole = response(thinks(), says("Hello"))
    answer, texts = streamed(
        {"type": "response.created", "response": response(status="in_progress")},
        {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
        {"type": "response.output_text.delta", "delta": "Hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
        {"type": "response.output_text.done", "text": "Hello"},
        {"type": "response.completed", "response": whole},
    )

    assert answer == whole
    assert texts == ["Hel", "lo"]


def test_a_refusal_is_told_while_it_is_written():
    assert streamed({"type": "response.refusal.delta", "delta": "No"}, {"type": "response.completed", "response": {}})[1] == [
        "No"
    ]


def test_items_that_the_last_event_leaves_out_are_taken_from_those_before():
    answer, _ = streamed(
        {"type": "response.output_item.done", "output_index": 1, "item": calls("{}")},
        {"type": "response.output_item.done", "output_index": 0, "item": thinks()},
        {"type": "response.completed", "response": response()},
    )

    assert answer["output"] == [thinks(), calls("{}")]


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"type": "error", "code": "server_error", "message": "no", "param": None}, "InternalServerError"),
        ({"type": "error", "error": {"code": "invalid_prompt", "message": "no"}}, "BadRequestError"),
        (
            {"type": "response.failed", "response": response(status="failed", error={"code": "server_error"})},
            "InternalServerError",
        ),
        ({"type": "response.incomplete", "response": {"status": "queued"}}, "IncompleteResponseError"),
    ],
)
def test_an_error_in_a_stream_is_the_error_of_the_answer(event: dict[str, Any], name: str):
    answer, _ = streamed({"type": "response.output_text.delta", "delta": "half"}, event)

    with pytest.raises(ProviderError) as failed:
        from_response(answer, "m")
    assert failed.value.type == name


def test_a_stream_without_its_last_event_is_an_error_that_is_retried():
    with pytest.raises(ProviderError) as broken:
        streamed(
            {"type": "response.output_text.delta", "delta": "half"}, {"type": "response.output_item.done", "item": says("half")}
        )

    assert (broken.value.type, broken.value.retryable) == ("IncompleteResponseError", True)

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys

import pytest
from dirty_equals import IsStr
from mcp_types import ImageContent, TextContent, ToolResultContent, ToolUseContent
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from mcp_agent.workflows.llm.messages import (
    LLM_GENERATE,
    InvalidInput,
    LLMRequest,
    LLMResponse,
    LLMSetup,
    Message,
    RequestParams,
    ToolSpec,
    Usage,
    head_hash,
    invalid_input,
    record_of,
    recorded,
    said_in_words,
    setup_hash,
    tool_use,
)

SETUP = LLMSetup(instruction="Be brief.", tools=[ToolSpec(name="add", description="Adds.")])


def name_of(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).decode().rstrip("=")


def round_trip(message: Message) -> Message:
    return TypeAdapter(Message).validate_json(to_json(message))


def test_the_name_of_the_step_is_pinned_because_histories_hold_it():
    assert LLM_GENERATE == "mcp_agent.llm.generate"


def test_a_message_is_stored_without_what_it_does_not_say():
    message = Message.user([TextContent(text="hi"), ToolResultContent(tool_use_id="1", content=[TextContent(text="3")])])

    assert from_json(to_json(message)) == {
        "role": "user",
        "content": [
            {"type": "text", "text": "hi"},
            {"type": "tool_result", "toolUseId": "1", "content": [{"type": "text", "text": "3"}]},
        ],
    }


@pytest.mark.parametrize(
    "message",
    [
        Message.user("ü 😀 \x00"),
        Message.user([ImageContent(data="aGk=", mime_type="image/png")]),
        Message.assistant([ToolUseContent(id="1", name="t", input={"none": None, "float": 1.0, "big": 2**70})]),
        Message.assistant([tool_use("1", "t", InvalidInput(raw="{", error="cut off"))]),
        Message.user([ToolResultContent(tool_use_id="1", content=[], structured_content={"a": None}, is_error=True)]),
        Message.assistant("a", {"openai": {"message": {"reasoning": "x", "null": None}}}),
    ],
)
def test_a_message_survives_storage_and_keeps_its_hash(message: Message):
    again = round_trip(message)

    assert again == message
    assert head_hash(None, "s", [again], again) == head_hash(None, "s", [message], message)


def test_hashes_are_pinned_because_histories_hold_them():
    head = head_hash("parent", "setup", [Message.user("hí")], Message.assistant("ho"))

    assert (
        setup_hash(SETUP) == SETUP.hash() == name_of('{"instruction":"Be brief.","tools":[{"description":"Adds.","name":"add"}]}')
    )
    assert head == name_of(
        '{"message":{"content":[{"text":"ho","type":"text"}],"role":"assistant"},'
        '"new":[{"content":[{"text":"hí","type":"text"}],"role":"user"}],"parent":"parent","setup":"setup"}'
    )


def test_hashes_are_the_same_in_another_process():
    code = (
        "from mcp_agent.workflows.llm.messages import *\n"
        "print(LLMSetup(instruction='Be brief.', tools=[ToolSpec(name='add', description='Adds.')]).hash())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == SETUP.hash()


@pytest.mark.parametrize(
    "other",
    [
        head_hash("q", "s", [Message.user("a")], Message.assistant("b")),
        head_hash("p", "t", [Message.user("a")], Message.assistant("b")),
        head_hash("p", "s", [Message.user("x")], Message.assistant("b")),
        head_hash("p", "s", [Message.user("a")], Message.assistant("x")),
        head_hash("p", "s", [Message.user("a")], Message.assistant("b", {"openai": {}})),
        head_hash(None, "s", [Message.user("a")], Message.assistant("b")),
    ],
)
def test_a_head_stands_for_everything_that_was_said(other: str):
    assert other != head_hash("p", "s", [Message.user("a")], Message.assistant("b"))


def test_the_order_of_keys_does_not_change_a_hash():
    one, other = ({"type": "object", "title": "T"}, {"title": "T", "type": "object"})

    assert LLMSetup(response_schema=one).hash() == LLMSetup(response_schema=other).hash()


def test_a_request_and_its_response_survive_storage():
    request = LLMRequest(
        conversation="writer#2",
        agent="writer",
        provider="openai",
        parent="abc",
        new=[Message.user("hi")],
        setup_hash=SETUP.hash(),
        setup=SETUP,
        params=RequestParams(temperature=0, max_tokens=5),
    )
    response = LLMResponse(
        message=Message.assistant("ho"), head="h", stop_reason="end_turn", usage=Usage(input_tokens=1), model="m"
    )

    assert LLMRequest.model_validate_json(to_json(request)) == request
    assert LLMResponse.model_validate_json(to_json(response)) == response
    assert from_json(to_json(request))["params"] == {"temperature": 0.0, "max_tokens": 5}


def test_forty_turns_of_five_kilobytes_take_little_more_than_their_words():
    stored, words, head = 0, 0, None
    for turn in range(40):
        new = [Message.user(f"{turn} " + "u" * 5_000)]
        request = LLMRequest(
            conversation="researcher",
            agent="researcher",
            provider="openai",
            parent=head,
            new=new,
            setup_hash=SETUP.hash(),
            setup=SETUP if turn == 0 else None,
            params=RequestParams(model="gpt-5.4-mini").for_call(),
        )
        answer = Message.assistant(f"{turn} " + "a" * 300)
        head = head_hash(head, request.setup_hash, new, answer)
        usage = Usage(input_tokens=1_000_000, output_tokens=100, cached_input_tokens=900_000)
        response = LLMResponse(message=answer, head=head, stop_reason="end_turn", usage=usage, model="gpt-5.4-mini")
        stored += len(to_json(request)) + len(to_json(response))
        words += sum(len(to_json(message)) for message in (*new, answer))

    assert stored < 1.12 * words


def test_usage_adds_up():
    one = Usage(input_tokens=1, output_tokens=2, cached_input_tokens=3, reasoning_tokens=4)

    assert sum([one, one], Usage()) == Usage(input_tokens=2, output_tokens=4, cached_input_tokens=6, reasoning_tokens=8)


def test_parameters_of_a_call_win_over_defaults():
    defaults = RequestParams(model="a", temperature=1, stop_sequences=["x"])

    assert RequestParams(temperature=0, max_tokens=9).over(defaults) == RequestParams(
        model="a", temperature=0, max_tokens=9, stop_sequences=["x"]
    )
    assert RequestParams(stop_sequences=[]).over(defaults).stop_sequences == []
    assert RequestParams(model="b").over(None) == RequestParams(model="b")


def test_what_is_the_agents_business_does_not_travel_with_a_call():
    params = RequestParams(model="a", system_prompt="Be brief.", max_turns=3, use_history=False)

    assert params.for_call() == RequestParams(model="a")


def test_an_unknown_parameter_is_refused():
    with pytest.raises(ValidationError) as refused:
        RequestParams.model_validate({"temprature": 1})

    assert [error["loc"] for error in refused.value.errors()] == [("temprature",)]


def test_a_message_gives_its_text_and_its_tool_calls():
    call = ToolUseContent(id="1", name="t", input={})
    message = Message.assistant([TextContent(text="one"), call, TextContent(text="two")])

    assert message.text == "one\ntwo"
    assert message.tool_uses == [call]


def test_a_tool_call_with_broken_arguments_says_so():
    broken = tool_use("1", "t", InvalidInput(raw='{"a', error="cut off"))

    assert broken.input == {}
    assert invalid_input(broken) == InvalidInput(raw='{"a', error="cut off")
    assert invalid_input(tool_use("1", "t", {"a": 1})) is None


def test_a_block_of_unknown_type_is_refused():
    with pytest.raises(ValidationError, match="video"):
        Message.model_validate({"role": "user", "content": [{"type": "video", "data": ""}]})


def test_the_model_of_messages_brings_no_provider_sdk_along():
    code = "import sys, mcp_agent.workflows.llm.messages; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"openai", "anthropic", "temporalio", "httpx2", "mcp", "yaml"} & set(modules)
    assert SETUP.hash() == IsStr(regex="[0-9A-Za-z_-]{22}")


def test_what_a_model_cannot_be_shown_of_a_result_is_said_in_words():
    call = tool_use("c", "draw", {})
    picture = ImageContent(data="aGk=", mime_type="image/bmp")
    drawn = Message.user([recorded(call, [TextContent(text="look: " * 300), picture], is_error=False)])

    (block,) = said_in_words(drawn).content

    assert isinstance(block, ToolResultContent)
    assert block.content[1] == TextContent(text="(The tool gave `image/bmp`, which this model cannot be shown.)")
    assert record_of(block) is None, "the record holds something else"
    plain = Message.user([recorded(call, [TextContent(text="words")], is_error=False)])
    assert said_in_words(plain) == plain


@pytest.mark.parametrize(
    ("made_up", "name"), [("w eird/ñ", "w_eird__"), ("", "unnamed"), ("x" * 99, "x" * 64), ("shelf_read", "shelf_read")]
)
def test_a_name_that_no_tool_can_have_is_made_one_that_providers_take_back(made_up: str, name: str):
    assert tool_use("c", made_up, {}).name == name

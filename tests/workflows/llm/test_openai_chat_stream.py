"""Streams of chat completions are put together into what the same server answers unstreamed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_agent.workflows.llm.messages import Usage, invalid_input
from mcp_agent.workflows.llm.providers.base import ProviderError, ProviderReply
from mcp_agent.workflows.llm.providers.openai.chat import from_response
from mcp_agent.workflows.llm.providers.openai.chat_stream import ChatStream

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "completion_tokens_details": {"reasoning_tokens": 2}}


def chunk(delta: dict[str, Any] | None = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion.chunk", "model": "m-1", "choices": choices, **more}


def call(index: Any, arguments: Any, call_id: str | None = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    whole = {"index": index, "id": call_id, "type": "function" if call_id else None, "function": function, **more}
    return {"tool_calls": [{key: value for key, value in whole.items() if value is not None}]}


def streamed(*chunks: Any) -> tuple[ProviderReply, list[str]]:
    stream = ChatStream()
    texts = [stream.add(one) for one in chunks]
    return from_response(stream.whole(), "asked"), [text for text in texts if text]


def unstreamed(message: dict[str, Any], finish: str = "stop", **more: Any) -> ProviderReply:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return from_response({"id": "c", "model": "m-1", "choices": [choice], **more}, "asked")


def test_a_text_with_its_usage_is_what_the_unstreamed_answer_is():
    reply, texts = streamed(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        chunk(usage=USAGE),
    )

    assert reply == unstreamed({"content": "Hello"}, usage=USAGE)
    assert reply.usage == Usage(input_tokens=9, output_tokens=4, reasoning_tokens=2)
    assert texts == ["Hel", "lo"]


def test_parallel_tool_calls_are_put_together_by_their_index():
    reply, _ = streamed(
        chunk({"role": "assistant", "content": None}),
        chunk(call(0, "", "a", "add")),
        chunk(call(0, '{"a"')),
        chunk(call(1, "", "b", "sub")),
        chunk(call(1, '{"b":2}')),
        chunk(call(0, ":1}")),
        chunk({}, "tool_calls"),
    )
    calls = [("a", "add", '{"a":1}'), ("b", "sub", '{"b":2}')]
    whole = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in calls]

    assert reply == unstreamed({"content": None, "tool_calls": whole}, "tool_calls")


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param([call(None, '{"a":1}', "a", "add"), call(None, '{"b":2}', "b", "sub")], id="no index"),
        pytest.param([call(0, '{"a":1}', "a", "add"), call(0, '{"b":2}', "b", "sub")], id="the same index for all"),
        pytest.param([call(0, {"a": 1}, "a", "add"), call(1, {"b": 2}, "b", "sub")], id="arguments as objects"),
        pytest.param(
            [call(0, '{"a":', "a", "add"), call(0, "1}", "other"), call(1, '{"b":2}', "b", "sub")], id="another id in each piece"
        ),
        pytest.param(
            [call(0, '{"a":', "a", "add"), call(0, "1}", "a", "add"), call(1, '{"b":2}', "b", "sub")], id="the name in each piece"
        ),
        pytest.param(
            [{"tool_calls": [*call(0, '{"a":1}', "a", "add")["tool_calls"], *call(1, '{"b":2}', "b", "sub")["tool_calls"]]}],
            id="all in one chunk",
        ),
    ],
)
def test_servers_number_their_tool_calls_in_their_own_ways(deltas: list[dict[str, Any]]):
    reply, _ = streamed(*map(chunk, deltas), chunk({}, "tool_calls"))

    assert [(one.id, one.name, one.input) for one in reply.message.tool_uses] == [
        ("a", "add", {"a": 1}),
        ("b", "sub", {"b": 2}),
    ]


def test_calls_in_other_forms_are_not_lost():
    legacy, _ = streamed(
        chunk({"function_call": {"name": "add", "arguments": '{"a"'}}), chunk({"function_call": {"arguments": ":1}"}}, "stop")
    )
    pieces = [
        {"index": 0, "id": "c", "type": "custom", "custom": {"name": "sql", "input": "sel"}},
        {"index": 0, "custom": {"input": "ect"}},
    ]
    custom, _ = streamed(*(chunk({"tool_calls": [one]}) for one in pieces), chunk({}, "tool_calls"))

    assert [(one.name, one.input) for one in legacy.message.tool_uses] == [("add", {"a": 1})]
    problem = invalid_input(custom.message.tool_uses[0])
    assert custom.message.tool_uses[0].name == "sql"
    assert problem is not None
    assert problem.raw == "select"


def test_reasoning_and_signatures_grow_into_what_goes_back():
    details = [
        {"type": "reasoning.text", "text": "Let", "index": 0, "format": "x"},
        {"type": "reasoning.text", "text": " me", "index": 0, "signature": "c2ln"},
        {"type": "reasoning.encrypted", "data": "Zm9v", "index": 1},
    ]
    signature = {"google": {"thought_signature": "c2ln"}}
    reply, texts = streamed(
        *(chunk({"reasoning_content": text, "reasoning_details": [one]}) for text, one in zip("abc", details, strict=True)),
        chunk({"content": "x"}),
        chunk(call(0, "{}", "a", "add", extra_content=signature), "tool_calls"),
    )
    whole = [{"type": "reasoning.text", "text": "Let me", "index": 0, "format": "x", "signature": "c2ln"}, details[2]]
    calls = [
        {
            "id": "a",
            "type": "function",
            "function": {"name": "add", "arguments": "{}"},
            "extra_content": signature,
        }
    ]

    assert reply == unstreamed(
        {"content": "x", "reasoning_content": "abc", "reasoning_details": whole, "tool_calls": calls}, "tool_calls"
    )
    assert texts == ["x"]


def test_reasoning_that_is_whole_when_it_comes_is_not_joined():
    pieces = [{"type": "reasoning.encrypted", "data": "YQ=="}, {"type": "reasoning.encrypted", "data": "Yg=="}]
    reply, _ = streamed(*(chunk({"reasoning_details": [one]}) for one in pieces), chunk({"content": "x"}, "stop"))

    assert reply == unstreamed({"content": "x", "reasoning_details": pieces})


def test_an_answer_in_parts_is_put_together():
    def thinking(text: str) -> dict[str, Any]:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    reply, texts = streamed(
        chunk({"content": [thinking("h")]}),
        chunk({"content": [thinking("m")]}),
        chunk({"content": [{"type": "text", "text": "h"}]}),
        chunk({"content": "o"}, "stop"),
    )

    assert reply == unstreamed({"content": [thinking("hm"), {"type": "text", "text": "ho"}]})
    assert texts == ["h", "o"]


def test_a_refusal_is_the_text_of_the_answer():
    reply, texts = streamed(chunk({"refusal": "I "}), chunk({"refusal": "can't."}), chunk({}, "stop"))

    assert reply == unstreamed({"content": None, "refusal": "I can't."})
    assert texts == ["I ", "can't."]


def test_sound_is_put_together_from_its_pieces():
    reply, _ = streamed(
        chunk({"audio": {"id": "s", "transcript": "Hel"}}),
        chunk({"audio": {"data": "UklG", "transcript": "lo"}}),
        chunk({"audio": {"data": "Rg=="}}, "stop"),
    )

    assert reply == unstreamed({"content": None, "audio": {"id": "s", "data": "UklGRg==", "transcript": "Hello"}})
    assert reply.message.text == "Hello"


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([chunk({"content": "ho"}, "stop")], id="with the last words"),
        pytest.param([chunk({"content": "ho"}), chunk({}, "stop"), chunk({}, None)], id="before the end"),
        pytest.param(
            [chunk({"content": "h"}, ""), chunk({"content": "o"}, "stop"), chunk({}, "")], id="empty where there is none"
        ),
        pytest.param(
            [chunk(None, prompt_filter_results=[]), chunk({"content": "ho"}), chunk({}, "stop")], id="no choices at first"
        ),
        pytest.param([chunk({"content": "ho"}), {"choices": [{"delta": {}, "finish_reason": "stop"}]}], id="no index"),
        pytest.param([{"model": "m-1", "choices": [{"message": {"content": "ho"}, "finish_reason": "stop"}]}], id="a message"),
        pytest.param([chunk({"content": "ho"}), {"choices": [{"index": 0, "finish_reason": "stop"}]}], id="no delta"),
    ],
)
def test_the_finish_reason_may_come_anywhere(chunks: list[Any]):
    reply, _ = streamed(*chunks)

    assert (reply.message.text, reply.stop_reason, reply.model) == ("ho", "end_turn", "m-1")


def test_usage_is_the_last_that_was_told():
    reply, _ = streamed(
        chunk({"content": "ho"}, usage={"prompt_tokens": 9, "completion_tokens": 1}), chunk({}, "stop", usage=USAGE)
    )

    assert reply.usage.output_tokens == 4


@pytest.mark.parametrize("chunks", [[], [chunk()], [chunk({"content": "half an ans"})], [chunk(usage=USAGE)], ["text", None, 7]])
def test_a_stream_that_ends_early_is_an_error_that_is_retried(chunks: list[Any]):
    with pytest.raises(ProviderError) as broken:
        streamed(*chunks)

    assert (broken.value.type, broken.value.retryable) == ("IncompleteResponseError", True)


def test_an_error_in_a_choice_is_taken_for_what_it_is():
    failed = {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 502, "message": "upstream"}}]}
    with pytest.raises(ProviderError) as broken:
        streamed(chunk({"content": "half"}), failed)

    assert (broken.value.type, broken.value.status, broken.value.retryable) == ("InternalServerError", 502, True)


@settings(max_examples=50)
@given(text=st.text(max_size=40), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_however_a_text_is_cut_it_is_the_same(text: str, cuts: list[int]):
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    reply, texts = streamed(*(chunk({"content": one}) for one in pieces), chunk({}, "stop"))

    assert "".join(texts) == text
    assert reply == unstreamed({"content": text})

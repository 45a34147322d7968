from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp_types import TextContent, ToolResultContent

from mcp_agent.testing.scripted import Script, ScriptedClient
from mcp_agent.workflows.llm.messages import LLMSetup, Message, RequestParams, Usage, invalid_input
from mcp_agent.workflows.llm.providers.base import CallContext, ProviderError, ProviderReply

pytestmark = pytest.mark.anyio


def tool_result(text: str) -> Message:
    return Message.user([ToolResultContent(tool_use_id="1", content=[TextContent(text=text)])])


async def ask(script: Any, *messages: Message, agent: str = "writer", attempt: int = 1) -> ProviderReply:
    """The reply of a model that was never asked before, as after a restart of the worker."""
    client = ScriptedClient(Script.model_validate({"agents": script}))
    said = list(messages) or [Message.user("hi")]
    return await client.generate(LLMSetup(), said, RequestParams(), CallContext(agent=agent, attempt=attempt))


async def test_the_reply_follows_from_the_number_of_answers_so_far():
    script = {"writer": [{"text": "first"}, {"text": "second"}]}

    assert (await ask(script, Message.user("a"))).message.text == "first"
    talk = [Message.user("a"), Message.assistant("first"), Message.user("b")]
    assert (await ask(script, *talk)).message.text == "second"
    assert (await ask(script, *talk)).message.text == "second"


async def test_the_reply_follows_from_the_agents_name():
    script = {"writer": [{"text": "of the writer"}], "*": [{"text": "of anyone"}]}

    assert (await ask(script, agent="writer")).message.text == "of the writer"
    assert (await ask(script, agent="editor")).message.text == "of anyone"


async def test_a_reply_that_matches_the_last_message_wins_over_one_by_place():
    script = {"*": [{"text": "by place"}, {"match": "(?i)HELLO \\w+", "text": "matched"}]}

    assert (await ask(script, Message.user("well, hello world"))).message.text == "matched"
    assert (
        await ask(script, Message.user("hello world"), Message.assistant("x"), tool_result("hello you"))
    ).message.text == "matched"
    assert (await ask(script, Message.user("bye"))).message.text == "by place"


async def test_a_reply_may_be_for_one_turn_or_for_any():
    script = {"*": [{"turn": 1, "text": "second"}, {"any_turn": True, "text": "else"}]}
    talk = [Message.user("a"), Message.assistant("x"), Message.user("b"), Message.assistant("y"), Message.user("c")]

    assert [(await ask(script, *talk[:count])).message.text for count in (1, 3, 5)] == ["else", "second", "else"]


async def test_tool_calls_have_ids_of_their_own_in_every_turn():
    calls = [{"name": "add", "arguments": {"a": 1}}, {"name": "add", "arguments": {"a": 2}}]
    script = {"*": [{"text": "Adding.", "tool_calls": calls}, {"tool_calls": calls}]}
    first = await ask(script)
    second = await ask(script, Message.user("hi"), first.message, tool_result("3"))

    assert first.stop_reason == second.stop_reason == "tool_use"
    assert [(call.name, call.input) for call in first.message.tool_uses] == [("add", {"a": 1}), ("add", {"a": 2})]
    assert len({call.id for reply in (first, second) for call in reply.message.tool_uses}) == 4


async def test_a_tool_call_may_have_broken_arguments_and_a_given_id():
    reply = await ask({"*": [{"tool_calls": [{"name": "add", "arguments": '{"a": ', "id": "x"}]}]})
    (call,) = reply.message.tool_uses

    assert (call.id, call.input) == ("x", {})
    problem = invalid_input(call)
    assert problem is not None
    assert problem.raw == '{"a": '


async def test_texts_and_arguments_may_quote_the_conversation():
    script = {
        "*": [
            {"tool_calls": [{"name": "find", "arguments": {"deep": [{"query": "{last_user}"}], "n": 1}}]},
            {"text": 'turn {turn}: {last_tool_result} for {last_user} {"json": {}}'},
        ]
    }
    first = await ask(script, Message.user("cats {turn}"))
    second = await ask(script, Message.user("cats"), first.message, tool_result("3 {last_user}"))

    assert first.message.tool_uses[0].input == {"deep": [{"query": "cats {turn}"}], "n": 1}
    assert second.message.text == 'turn 1: 3 {last_user} for cats {"json": {}}'


async def test_a_structured_tool_result_can_be_quoted():
    result = Message.user([ToolResultContent(tool_use_id="1", content=[], structured_content={"n": 3})])

    assert (await ask({"*": [{"text": "{last_tool_result}"}]}, result)).message.text == '{"n":3}'


async def test_attempts_fail_as_the_script_says_and_then_succeed():
    errors = [{"status": 429, "retry_after": 0.5, "times": 2}, {"message": "reset"}, {"status": 401}]
    script = {"*": [{"errors": errors, "text": "at last"}]}
    seen: list[tuple[str, int | None, bool, float | None]] = []
    for attempt in (1, 2, 3, 4):
        with pytest.raises(ProviderError) as failed:
            await ask(script, attempt=attempt)
        wait = failed.value.retry_after
        seconds = None if wait is None else wait.total_seconds()
        seen.append((failed.value.type, failed.value.status, failed.value.retryable, seconds))

    assert seen == [
        ("RateLimitError", 429, True, 0.5),
        ("RateLimitError", 429, True, 0.5),
        ("APIConnectionError", None, True, None),
        ("AuthenticationError", 401, False, None),
    ]
    assert (await ask(script, attempt=5)).message.text == "at last"


async def test_an_empty_answer_and_an_answer_cut_off_say_so():
    assert (await ask({"*": [{}]})).stop_reason == "empty"
    assert (await ask({"*": [{"text": "and th", "finish_reason": "max_tokens"}]})).stop_reason == "max_tokens"


async def test_usage_is_counted_the_same_each_time_or_given():
    counted = [(await ask({"*": [{"text": "four" * 10}]}, Message.user("word" * 10))).usage for _ in range(2)]
    given = await ask({"*": [{"text": "a", "usage": {"input_tokens": 7, "output_tokens": 8}}]})

    assert counted[0] == counted[1]
    assert counted[0].input_tokens == 10
    assert counted[0].output_tokens > 0
    assert given.usage == Usage(input_tokens=7, output_tokens=8)


@pytest.mark.parametrize("script", [{"writer": [{"text": "only one"}]}, {"other": [{"text": "x"}]}])
async def test_a_script_without_a_fitting_reply_names_agent_and_turn(script: Any):
    with pytest.raises(ProviderError) as missing:
        await ask(script, Message.user("a"), Message.assistant("b"), Message.user("what now?"))

    assert (missing.value.type, missing.value.retryable) == ("ScriptError", False)
    assert all(part in missing.value.message for part in ("`writer`", "turn 1", "`what now?`"))


@pytest.mark.parametrize("suffix", ["yaml", "json"])
async def test_a_script_is_a_yaml_or_json_file(tmp_path: Path, suffix: str):
    path = tmp_path / f"script.{suffix}"
    yaml = "agents:\n  '*':\n    - match: ^h\n      text: Hello from {turn}!\n"
    path.write_text(yaml if suffix == "yaml" else json.dumps({"agents": {"*": [{"text": "Hello from {turn}!"}]}}))

    reply = await ScriptedClient(path).generate(LLMSetup(), [Message.user("hi")], RequestParams(), CallContext("a"))

    assert reply.message.text == "Hello from 0!"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("agents: [", "script.yaml"),
        ("agents: {a: [{txt: hi}]}", "agents.a.0.txt"),
        ("agents: {a: [{match: '('}]}", "agents.a.0.match"),
        ("agents: {a: [{turn: 1, any_turn: true}]}", "agents.a.0"),
        ("agents: {}", "agents"),
        ("just words", "script.yaml"),
        ("\udcff", "script.yaml"),
    ],
)
async def test_a_file_that_is_no_script_is_an_error_that_names_file_and_place(tmp_path: Path, content: str, part: str):
    path = tmp_path / "script.yaml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))

    with pytest.raises(ProviderError) as wrong:
        Script.load(path)

    assert (wrong.value.type, wrong.value.retryable) == ("ScriptError", False)
    assert str(path) in wrong.value.message
    assert part in wrong.value.message


async def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(ProviderError, match=r"scripted\.file"):
        Script.load(tmp_path / "none.yaml")

from typing import Any

import pytest
from mcp_types import TextContent, ToolResultContent

from mcp_agent.errors import InvalidArguments
from mcp_agent.workflows.llm.compaction import Compaction, dropped
from mcp_agent.workflows.llm.messages import Message, tool_use

CALLS = Message.assistant([tool_use("1", "look", {})])
RESULT = Message.user([ToolResultContent(tool_use_id="1", content=[TextContent(text="seen")])])
FIRST, SECOND, ANSWER = Message.user("first"), Message.user("second"), Message.assistant("answer")


def left(messages: list[Message], keep: int) -> list[Message]:
    tail = Compaction(at_tokens=1, how="drop", keep_messages=keep).tail(messages)
    return [*dropped(messages, tail), *tail]


def test_the_question_that_is_being_answered_is_kept():
    messages = [FIRST, ANSWER, SECOND, CALLS, RESULT, CALLS, RESULT, CALLS]
    short = left(messages, 2)
    assert (short[0], short[2:]) == (FIRST, [SECOND, CALLS, RESULT, CALLS])
    assert left([*short, RESULT, CALLS], 1) == [*short[:3], CALLS]


def test_a_question_that_was_answered_goes():
    messages = [FIRST, ANSWER, SECOND, ANSWER, Message.user("third"), ANSWER]
    assert [message.text for message in left(messages, 2)][2:] == ["third", "answer"]


def test_the_first_message_is_kept_once():
    assert [message.text for message in left([FIRST, CALLS, RESULT, CALLS], 1)].count("first") == 1


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"keep_messages": 0}, "`keep_messages` is `0`"),
        ({"at_tokens": -1}, "`at_tokens` is `-1`"),
        ({"how": "shorten"}, "`how` is `shorten`: use `summarise` or `drop`"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(wrong: dict[str, Any], text: str):
    with pytest.raises(InvalidArguments, match=text):
        Compaction(**{"at_tokens": 10, **wrong})

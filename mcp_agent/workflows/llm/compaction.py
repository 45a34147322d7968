"""Long conversations made shorter. Pure: what is kept follows from the messages alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mcp_types import ToolResultContent

from mcp_agent.errors import InvalidArguments
from mcp_agent.workflows.llm.messages import Message

SUMMARISE = (
    "Sum up our conversation so far for somebody who continues it without having seen it: the task, what was found and "
    "decided, names, numbers and ids that matter, and what remains to be done. Answer with the summary alone; call no tools."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """Makes a conversation shorter when it has become long.

    Attributes:
        at_tokens: When the last call has read and written this many tokens.
        how: `summarise`: the model sums up what was said, which is a call of its own. `drop`: only the first message is
            kept of what goes.
        keep_messages: How many of the last messages stay as they are, about: a tool result stays with its call.
        instruction: What the model is told to do for a summary.

    Raises:
        InvalidArguments: A value is wrong.
    """

    at_tokens: int
    how: Literal["summarise", "drop"] = "summarise"
    keep_messages: int = 8
    instruction: str = SUMMARISE

    def __post_init__(self) -> None:
        if self.how not in ("summarise", "drop"):
            raise InvalidArguments(f"`how` is `{self.how}`: use `summarise` or `drop`.")
        for name, least in (("at_tokens", 1), ("keep_messages", 0)):
            if getattr(self, name) < least:
                raise InvalidArguments(f"`{name}` is `{getattr(self, name)}`: give a number from {least} on.")

    def tail(self, messages: Sequence[Message]) -> list[Message]:
        """What stays; all of it where there is nothing to gain."""
        start = max(len(messages) - self.keep_messages, 0)
        while start > 0 and _answers_a_call(messages[start]):
            start -= 1
        return list(messages[start:])


def dropped(first: Message) -> list[Message]:
    """What stands for messages that were dropped."""
    return [first, Message.user("(What was said after this was left out, up to the messages that follow.)")]


def summarised(summary: str) -> list[Message]:
    """What stands for messages that were summed up."""
    return [Message.user(f"What was said before, summed up:\n\n{summary}")]


def _answers_a_call(message: Message) -> bool:
    return any(isinstance(block, ToolResultContent) for block in message.content)

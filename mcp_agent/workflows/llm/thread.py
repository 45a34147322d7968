"""A conversation as workflow code holds it: what was said, and the name under which the worker knows it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from mcp_agent.workflows.llm.messages import LLMResponse, Message, referring, unrecorded


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation up to some answer.

    Attributes:
        messages: All that was said.
        head: The name of it in the run's history; `None` where nothing of it is there, and the next call carries all.
        tokens: What the last call has read and written.
        setup_hash: The setup of the last call.
        kept: How many messages were left when it was made shorter last.
    """

    messages: tuple[Message, ...] = ()
    head: str | None = None
    tokens: int = 0
    setup_hash: str = ""
    kept: int = 0

    def to_send(self, new: list[Message]) -> list[Message]:
        """What the next call carries."""
        carried = map(unrecorded, self.messages) if self.head is None else ()
        return [*carried, *map(referring, new)]

    def after(self, new: list[Message], reply: LLMResponse, setup_hash: str) -> Thread:
        """The conversation with what was said now, and the answer."""
        tokens = reply.usage.input_tokens + reply.usage.output_tokens
        return Thread((*self.messages, *new, reply.message), reply.head, tokens, setup_hash, self.kept)


@dataclass(slots=True)
class Dialogue:
    """A conversation that goes on.

    Attributes:
        thread: What was said, up to the last answer.
        unsent: Results of tools that no model call has carried yet, where one has failed.
        turn: Held by the answer that is under way: one comes after the other.
    """

    thread: Thread = Thread()
    unsent: list[Message] = field(default_factory=list[Message])
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

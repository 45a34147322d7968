"""`Generation`: what `AugmentedLLM.generate` gives."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_agent.workflows.llm.messages import LLMResponse, Message, StopReason, Usage

COMPLETE: frozenset[StopReason] = frozenset({"end_turn", "stop_sequence"})
"""Reasons to stop that leave a full answer."""


class Generation(list[Message]):
    """The model's messages of one `generate`, in order.

    Attributes:
        stop_reason: Why the last one ended; anything but `end_turn` and `stop_sequence` is no full answer.
        usage: Tokens of all of them.
        cost_usd: What they cost, in US dollars; `None` where a price is not known.
    """

    def __init__(self, replies: Sequence[LLMResponse]) -> None:
        super().__init__(reply.message for reply in replies)
        self.stop_reason: StopReason = replies[-1].stop_reason
        self.usage = sum((reply.usage for reply in replies), Usage())
        costs = [reply.cost_usd for reply in replies if reply.cost_usd is not None]
        self.cost_usd: float | None = sum(costs) if len(costs) == len(replies) else None

    @property
    def text(self) -> str:
        """The text of the last message."""
        return self[-1].text

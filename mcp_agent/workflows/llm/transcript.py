"""What was said by the agents of a run, read from its recorded steps."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

from mcp_types import ContentBlock, ToolResultContent

from mcp_agent.executor.records import StepTold, TranscriptEntry
from mcp_agent.mcp.definitions import MCP_ANSWER_REQUEST, MCP_CALL_TOOL
from mcp_agent.workflows.llm.functions import CALL_FUNCTION
from mcp_agent.workflows.llm.messages import (
    LLM_GENERATE,
    RECORDED,
    Block,
    LLMRequest,
    LLMResponse,
    Message,
    RecordedResult,
    record_of,
    result_digest,
    wire_form,
)

RESULT_STEPS = (MCP_CALL_TOOL, MCP_ANSWER_REQUEST, CALL_FUNCTION)
"""The steps whose results model calls name instead of carrying them."""
RESULT_BYTES_HELD = 32 * 1024 * 1024
"""Of the results of tools so many bytes are held while a transcript is read: each is named soon after it was given."""


class _Results:
    """What steps have given, by digest. They are read only when a model call names one."""

    def __init__(self) -> None:
        self._unread: deque[bytes] = deque()
        self._read: deque[tuple[str | None, list[ContentBlock], int]] = deque()
        self._size = 0

    def add(self, result: bytes) -> None:
        self._unread.append(result)
        self._size += len(result)
        while self._size > RESULT_BYTES_HELD:
            self._size -= self._read.popleft()[2] if self._read else len(self._unread.popleft())

    def find(self, digest: str) -> list[ContentBlock] | None:
        while self._unread:
            data = self._unread.popleft()
            content = RecordedResult.model_validate_json(data).content
            self._read.append((result_digest(content), content, len(data)))
        return next((content for name, content, _ in reversed(self._read) if name == digest), None)


class Transcript:
    """Turns what the record tells into messages, in the order in which they were said.

    Args:
        result_steps: The steps whose results model calls name instead of carrying them.
    """

    def __init__(self, result_steps: tuple[str, ...]) -> None:
        self._results = _Results()
        self._result_steps = result_steps

    @property
    def steps(self) -> frozenset[str]:
        """The names of the steps that are to be told."""
        return frozenset({LLM_GENERATE, *self._result_steps})

    async def entries(self, told: AsyncIterator[StepTold]) -> AsyncIterator[TranscriptEntry]:
        """All messages; those of a model call that has not been answered too."""
        async for one in told:
            if one.step == LLM_GENERATE:
                for entry in self._said(one):
                    yield entry
            elif one.result is not None:
                self._results.add(one.result)

    def _said(self, told: StepTold) -> Iterator[TranscriptEntry]:
        asked = LLMRequest.model_validate_json(told.argument)
        if told.result is None:
            for message in asked.new:
                yield self._entry(told.at, asked, message)
            return
        answered = LLMResponse.model_validate_json(told.result)
        yield self._entry(told.at, asked, answered.message).model_copy(
            update={
                "model": answered.model or None,
                "stop_reason": answered.stop_reason,
                "usage": answered.usage.model_dump(),
                "cost_usd": answered.cost_usd,
            }
        )

    def _entry(self, at: datetime, asked: LLMRequest, message: Message) -> TranscriptEntry:
        return TranscriptEntry(
            at=at,
            conversation=asked.conversation or asked.agent,
            agent=asked.agent,
            role=message.role,
            content=[self._wire_form(block) for block in message.content],
        )

    def _wire_form(self, block: Block) -> dict[str, Any]:
        """With the content of a result that the call has only named."""
        digest = record_of(block)
        if digest is None or not isinstance(block, ToolResultContent):
            return wire_form(block)
        content = block.content or self._results.find(digest)
        if content is None:  # beyond what is held: the name stays, to be looked up in the run's history
            return wire_form(block)
        meta = {name: value for name, value in (block.meta or {}).items() if name != RECORDED}
        return wire_form(block.model_copy(update={"content": content, "meta": meta or None}))

"""What an engine has recorded of a run: what happened in it, and what was said by its agents. Read page by page."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from mcp_agent.errors import InvalidArguments
from mcp_agent.executor.runs import Answer, PublicState, RunStatus

PAGE_BYTES = 200_000
"""About how much one page holds, as JSON; an entry that is larger has a page of its own."""

Happened = Literal[
    "started",
    "continued",
    "ended",
    "step_scheduled",
    "step_attempt_failed",
    "step_completed",
    "step_failed",
    "step_timed_out",
    "step_cancelled",
    "timer_started",
    "timer_fired",
    "timer_cancelled",
    "child_started",
    "child_ended",
    "signal_received",
    "signal_sent",
    "update_received",
    "asked",
    "answered",
    "settled",
    "progress",
    "cancel_requested",
    "code_failed",
    "line",
]
"""What an entry of a log tells.

`continued`: the run goes on with an empty history (`continue_as_new`). `asked`, `answered`, `settled`: a question to a person, an
answer to it, and its end (answered, withdrawn or out of time). `code_failed`: the workflow's code cannot go on; it is tried
again. `line`: the workflow's code has written it with `app.context.logger` or `workflow.logger`.
"""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)


class LogEntry(_Record):
    """One thing that happened.

    Attributes:
        at: When.
        what: What kind of thing.
        name: Of the workflow, step, signal, update, question or child's workflow.
        id: What tells it from others of its name: of a step, timer, question or child run.
        attempt: Of a step: the attempt that ended like this; 1 for the first.
        seconds: How long it took (a step's last attempt, a run), or is to take (a timer).
        status: How a run or a child ended.
        level: Of a line: `debug`, `info`, `warning`, `error` or `critical`.
        message: A line, a question, an error or a progress in words.
    """

    at: datetime
    what: Happened
    name: str | None = None
    id: str | None = None
    attempt: int | None = None
    seconds: float | None = None
    status: RunStatus | None = None
    level: str | None = None
    message: str | None = None


class TranscriptEntry(_Record):
    """One message of a conversation.

    Attributes:
        at: When it was put to the model, or came from it.
        conversation: Whose turn this is: unique in the run.
        agent: The agent's name.
        role: Who speaks; results of tools are blocks of a user message.
        content: MCP content blocks, as JSON data.
        model: Of an answer: who answered, in the provider's words.
        stop_reason: Of an answer: why it ends there.
        usage: Of an answer: tokens, as the provider counted them.
        cost_usd: Of an answer: in US dollars, where a price is known.
    """

    at: datetime
    conversation: str
    agent: str
    role: Literal["user", "assistant"]
    content: list[dict[str, Any]]
    model: str | None = None
    stop_reason: str | None = None
    usage: dict[str, int] | None = None
    cost_usd: float | None = None


E = TypeVar("E", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class RecordPage(Generic[E]):
    """A page of a run's record, oldest first.

    Attributes:
        entries: What it holds.
        cursor: Reads the next page; `None` for the last one.
        note: What is missing, and why.
    """

    entries: tuple[E, ...]
    cursor: str | None = None
    note: str | None = None


LogPage = RecordPage[LogEntry]
TranscriptPage = RecordPage[TranscriptEntry]

_CURSOR = re.compile(r"([0-9a-f]{8})\.(\d{1,9})\.(\d{1,9})\.([A-Za-z0-9-]{0,64})")


@dataclass(frozen=True, slots=True)
class Position:
    """How much of a record has been read.

    Attributes:
        events: How many entries of the engine's own, in this part.
        lines: Up to which line.
        part: Which run of the chain, where a run is one.
    """

    events: int = 0
    lines: int = 0
    part: str = ""

    def cursor(self, run_id: str) -> str:
        """A text for it that means nothing for another run."""
        told = f"{self.events}.{self.lines}.{self.part}"
        return base64.urlsafe_b64encode(f"{_mark(run_id, told)}.{told}".encode()).decode().rstrip("=")

    @classmethod
    def read(cls, run_id: str, cursor: str | None) -> Position:
        """The position that a cursor stands for. Raises InvalidArguments for one that no page of this run has named."""
        if cursor is None:
            return cls()
        try:
            text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        except ValueError:
            text = ""
        found = _CURSOR.fullmatch(text)
        if found is None or found[1] != _mark(run_id, text.partition(".")[2]):
            raise InvalidArguments(f"`cursor`: `{cursor[:40]}` is not one that a page of this run has named: begin without it.")
        return cls(int(found[2]), int(found[3]), found[4])


def _mark(run_id: str, told: str) -> str:
    return hashlib.sha256(f"{run_id} {told}".encode("utf-8", "surrogatepass")).hexdigest()[:8]


async def page_of(run_id: str, entries: AsyncIterator[tuple[E, Position]], note: str | None = None) -> RecordPage[E]:
    """As many entries as a page holds. `entries` come with the position behind each of them."""
    taken: list[E] = []
    size, behind = 0, Position()
    async for entry, position in entries:
        size += len(entry.model_dump_json(exclude_none=True))
        if taken and size > PAGE_BYTES:
            return RecordPage(tuple(taken), behind.cursor(run_id), note)
        taken.append(entry)
        behind = position
    return RecordPage(tuple(taken), None, note)


@dataclass(frozen=True, slots=True)
class StepTold:
    """A step as its run's record tells it: once when it was asked for, and once more when it had a result.

    Attributes:
        at: When.
        step: The step's name.
        argument: The JSON of its argument.
        result: The JSON of its result; `None` when it was asked for.
    """

    at: datetime
    step: str
    argument: bytes
    result: bytes | None = None


async def counted(entries: AsyncIterator[E], begin: Position) -> AsyncIterator[tuple[E, Position]]:
    """The entries of one part behind `begin`, each with the position behind it."""
    number = 0
    async for entry in entries:
        number += 1
        if number > begin.events:
            yield entry, Position(number, begin.lines, begin.part)


def changes(before: PublicState, after: PublicState, at: datetime) -> Iterator[LogEntry]:
    """What a run has told the outside between two of its states: questions that it asks and no longer asks, and progress."""
    asked = {request.request_id for request in before.pending_inputs}
    for request in after.pending_inputs:
        if request.request_id not in asked:
            yield LogEntry(at=at, what="asked", name=request.name, id=request.request_id, message=request.message)
    open_now = {request.request_id for request in after.pending_inputs}
    for request in before.pending_inputs:
        if request.request_id not in open_now:
            yield LogEntry(at=at, what="settled", name=request.name, id=request.request_id)
    progress = after.progress
    if progress is not None and progress != before.progress:
        total = "" if progress.total is None else f" of {progress.total:g}"
        told = "" if progress.message is None else f": {progress.message}"
        yield LogEntry(at=at, what="progress", message=f"{progress.done:g}{total}{told}")


def answered(answer: Answer, at: datetime) -> LogEntry:
    """That a question was answered; what was answered may be a secret."""
    name = answer.name or (answer.request_id or "").rpartition("#")[0] or None
    return LogEntry(at=at, what="answered", name=name, id=answer.request_id)

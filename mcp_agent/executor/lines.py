"""The lines that workflow code writes: kept in the run's own state, so that they cost no history and are there after a replay."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from mcp_agent.executor.failures import MESSAGE_LIMIT, error_text
from mcp_agent.executor.records import LogEntry, Position
from mcp_agent.executor.runtime import current_or_none
from mcp_agent.executor.step_context import current_step

LINES_KEPT = 1_000
CHARACTERS_KEPT = 200_000
LINE = "mcp_agent_line"
"""The attribute of a record that holds what was written, where a logger adds to it."""
_FRAMES = 2  # between the code that writes a line and Python's logging: this logger, and the one that finds the run


class Line(BaseModel):
    """A line; `number` counts from 1."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    number: int
    at: datetime
    level: str
    message: str

    def entry(self) -> LogEntry:
        return LogEntry(at=self.at, what="line", level=self.level, message=self.message)


@dataclass(slots=True)
class KeptLines:
    """The last lines of a run: at most 1,000, of together 200,000 characters."""

    _lines: deque[Line] = field(default_factory=deque[Line])
    _number: int = 0
    _size: int = 0

    def add(self, at: datetime, level: str, message: str) -> None:
        """Keeps a line, of a long one the beginning, and forgets the oldest where there are too many."""
        self._number += 1
        line = Line(number=self._number, at=at, level=level, message=message[:MESSAGE_LIMIT])
        self._lines.append(line)
        self._size += len(line.message)
        while len(self._lines) > LINES_KEPT or self._size > CHARACTERS_KEPT:
            self._size -= len(self._lines.popleft().message)

    @property
    def all(self) -> list[Line]:
        """Oldest first."""
        return list(self._lines)


class KeepingLogger(logging.LoggerAdapter[Any]):
    """Hands on what is written, and has it kept whatever the level is and also where it is not written again.

    Args:
        target: Where it goes.
        keep: Told the level's name and the text.
    """

    def __init__(self, target: Any, keep: Callable[[str, str], None]) -> None:
        super().__init__(target)
        self._keep = keep

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        text = text_of(logging.LogRecord("", level, "", 0, msg, args, kwargs.get("exc_info")))
        self._keep(logging.getLevelName(level).lower(), text)
        kwargs["extra"] = {**(kwargs.get("extra") or {}), LINE: text}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + _FRAMES
        self.logger.log(level, msg, *args, **kwargs)


def run_of(record: logging.LogRecord) -> str | None:
    """The run that has written it, itself or in a step; `None` also for what a run repeats on replay."""
    own = getattr(record, "run_id", None)
    if isinstance(own, str):
        return own
    for name in ("temporal_workflow", "temporal_activity"):
        details = getattr(record, name, None)
        if isinstance(details, dict):
            return cast("dict[str, Any]", details).get("workflow_id")
    step = current_step()
    if step is not None:
        return step.run_id
    run = current_or_none()
    return None if run is None or run.is_replaying() else run.info.run_id


def text_of(record: logging.LogRecord) -> str:
    """What a record says, in characters that can be sent; with the error that it tells, if it does."""
    try:
        text = record.getMessage()
    except Exception as problem:  # logging too goes on where a line cannot be written
        text = f"(a line that cannot be written: {type(problem).__name__})"
    told: Any = record.exc_info[1] if isinstance(record.exc_info, tuple) else record.exc_info
    error = told if isinstance(told, BaseException) else sys.exc_info()[1] if told else None
    if error is not None:
        text = f"{text} ({type(error).__name__}: {error_text(error)})"
    return text.encode("utf-8", "backslashreplace").decode()


async def with_lines(
    events: AsyncIterator[tuple[LogEntry, Position]], lines: Sequence[Line], begin: Position
) -> AsyncIterator[tuple[LogEntry, Position]]:
    """The engine's entries of one part of a run from `begin` on, with that part's lines among them by their time."""
    waiting = deque(line for line in lines if line.number > begin.lines)
    behind = begin
    async for entry, position in events:
        while waiting and waiting[0].at < entry.at:
            behind = Position(behind.events, waiting[0].number, begin.part)
            yield waiting.popleft().entry(), behind
        behind = Position(position.events, behind.lines, begin.part)
        yield entry, behind
    for line in waiting:
        behind = Position(behind.events, line.number, begin.part)
        yield line.entry(), behind

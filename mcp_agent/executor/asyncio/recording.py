"""What happened in a run of this process, kept with it: what Temporal's history would tell."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from mcp_agent.executor.lines import KeptLines, with_lines
from mcp_agent.executor.records import Happened, LogEntry, LogPage, Position, changes, page_of
from mcp_agent.executor.runs import PublicState, RunState

ENTRIES_KEPT = 10_000
ENTRY_SIZE = 500
"""Bytes that an entry takes, about."""
NO_LONGER_KEPT = "What happened in this run is no longer kept: the records of newer runs have taken its place."
_BEGINNING_GONE = f"What happened first is no longer kept, only the last {ENTRIES_KEPT:,} things."


class Recording:
    """The log of one run: at most the last 10,000 things that happened, and its last lines."""

    def __init__(self) -> None:
        self.lines = KeptLines()
        self._entries: deque[LogEntry] = deque()
        self._dropped = 0
        self._timers = 0
        self._state = PublicState()
        self._begun = datetime.now(UTC)
        self._closed = self._forgotten = False

    def note(self, what: Happened, **about: Any) -> None:
        """Something happens now. After the run's end nothing does."""
        self.add(LogEntry(at=datetime.now(UTC), what=what, **about))

    def add(self, entry: LogEntry) -> None:
        """As `note`."""
        if self._closed:
            return
        self._entries.append(entry)
        if len(self._entries) > ENTRIES_KEPT:
            self._entries.popleft()
            self._dropped += 1

    def line(self, level: str, text: str) -> None:
        """The run's code writes a line."""
        self.lines.add(datetime.now(UTC), level, text)

    def published(self, state: PublicState) -> None:
        """The run tells the outside how it is."""
        before, self._state = self._state, state
        for entry in changes(before, state, datetime.now(UTC)):
            self.add(entry)

    def ended(self, state: RunState) -> None:
        """The run ends."""
        seconds = (datetime.now(UTC) - self._begun).total_seconds()
        error = state.error
        told = None if error is None else error.message if error.code == "workflow_error" else f"{error.code}: {error.message}"
        self.note("ended", status=state.status, seconds=seconds, message=told)
        self._closed = True

    @contextmanager
    def timer(self, duration: timedelta) -> Generator[None, None, None]:
        """The run sleeps in the block."""
        self._timers += 1
        number = str(self._timers)
        self.note("timer_started", id=number, seconds=duration.total_seconds())
        try:
            yield
        except asyncio.CancelledError:
            self.note("timer_cancelled", id=number)
            raise
        self.note("timer_fired", id=number)

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return ENTRY_SIZE * len(self._entries) + sum(len(line.message) for line in self.lines.all)

    def forget(self) -> None:
        """Makes room for others."""
        self._forgotten = True
        self._entries.clear()
        self.lines = KeptLines()

    @property
    def missing(self) -> str | None:
        """Why there is nothing of it."""
        return NO_LONGER_KEPT if self._forgotten else None

    async def page(self, run_id: str, cursor: str | None) -> LogPage:
        """A page of the log. Raises InvalidArguments."""
        begin = Position.read(run_id, cursor)
        note = self.missing or (_BEGINNING_GONE if self._dropped > begin.events else None)
        return await page_of(run_id, with_lines(self._behind(begin), self.lines.all, begin), note)

    async def _behind(self, begin: Position) -> AsyncIterator[tuple[LogEntry, Position]]:
        for number, entry in enumerate(list(self._entries), self._dropped + 1):
            if number > begin.events:
                yield entry, Position(number)

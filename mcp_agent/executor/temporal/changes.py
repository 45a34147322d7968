"""Tells waiters in this process that a run's public state is about to change.

Only a hint, which spares them a poll: what they then read comes from Temporal.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager


class Changes:
    """Hints by run id, from any thread to the loop that made this."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)

    def hint(self, run_id: str) -> None:
        """Called by the worker's threads."""
        self._loop.call_soon_threadsafe(self._wake, run_id)

    @property
    def watched(self) -> int:
        """How many runs are watched."""
        return len(self._watchers)

    def _wake(self, run_id: str) -> None:
        for event in self._watchers.get(run_id, ()):
            event.set()

    @contextmanager
    def watch(self, run_id: str) -> Generator[asyncio.Event, None, None]:
        """An event that is set at each hint for the run."""
        event = asyncio.Event()
        self._watchers[run_id].add(event)
        try:
            yield event
        finally:
            self._watchers[run_id].discard(event)
            if not self._watchers[run_id]:
                del self._watchers[run_id]

"""What an HTTP client of the time before 2026-07-28 has missed: it comes back with the id of the last event that it saw."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import JSONRPCMessage

MOST_EVENTS = 100
"""Of a session. A client that has missed more asks for the status of its runs."""
RETRY_MS = 1_000
"""When a client whose stream was closed is asked to come back."""


class _Event(NamedTuple):
    number: int
    stream: str
    message: JSONRPCMessage | None


class RecentEvents(EventStore):
    """The newest events of one session. Streams are named by the ids of requests, so sessions must not share a store."""

    def __init__(self) -> None:
        self._events: deque[_Event] = deque(maxlen=MOST_EVENTS)
        self._count = 0

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._count += 1
        self._events.append(_Event(self._count, stream_id, message))
        return str(self._count)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Sends what came on the stream of that event after it. `None` if the event is not known any more."""
        last = next((event for event in self._events if str(event.number) == last_event_id), None)
        if last is None:
            return None
        for event in tuple(self._events):
            if event.number > last.number and event.stream == last.stream and event.message is not None:
                await send_callback(EventMessage(event.message, str(event.number)))
        return last.stream


class ResumableSessions(StreamableHTTPSessionManager):
    """Gives each session a store of its own: the SDK's manager would share one, and so the events, among all."""

    @property
    def open_sessions(self) -> int:
        """How many there are now."""
        return len(self._server_instances)

    @property
    def event_store(self) -> EventStore:
        return RecentEvents()

    @event_store.setter
    def event_store(self, _: Any) -> None:
        """The manager's constructor sets what it was given: nothing."""

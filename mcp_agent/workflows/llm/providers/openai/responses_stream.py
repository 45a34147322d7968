"""The events of a streamed response. Pure: the last event holds the whole answer."""

from __future__ import annotations

from typing import Any

from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, incomplete

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_TEXT = frozenset({"response.output_text.delta", "response.refusal.delta"})


class ResponsesStream:
    """Takes events with `add`; `whole` is the answer, once its last event has come."""

    def __init__(self) -> None:
        self._items: dict[int, Any] = {}
        self._last: JSON | None = None

    def add(self, event: Any) -> str:
        """Takes the next event, as parsed JSON, and returns the text that it adds."""
        found = as_dict(event)
        kind = found.get("type")
        if kind in _TEXT:
            return str(found.get("delta") or "")
        if kind == "response.output_item.done":
            self._items[int(found.get("output_index") or 0)] = found.get("item")
        elif kind in _LAST:
            self._last = as_dict(found.get("response"))
        elif kind == "error":
            self._last = {"error": found.get("error") or {"code": found.get("code"), "message": found.get("message")}}
        return ""

    def whole(self) -> JSON:
        """The answer as `from_response` reads it.

        Raises:
            ProviderError: Its last event is missing.
        """
        if self._last is None:
            raise incomplete("its last event is missing, so it was cut off")
        if self._items and not self._last.get("output"):  # some servers leave them out at the end
            return {**self._last, "output": [self._items[index] for index in sorted(self._items)]}
        return self._last

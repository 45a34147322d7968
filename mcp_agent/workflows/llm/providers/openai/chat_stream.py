"""A streamed chat completion, put together into what the API answers when it is not streamed. Pure.

Servers that speak this API stream in their own ways: fields of their own in a delta, calls without an index or all with the
same one, whole arguments as an object, the finish reason before, with or after the last words, no count of tokens.
"""

from __future__ import annotations

import json
from typing import Any

from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, as_list

_HANDLED = frozenset({"role", "content", "refusal", "tool_calls", "function_call"})
_SAID_ONCE = frozenset({"id", "type", "index", "role", "name", "format"})
"""Fields that do not grow from piece to piece."""
_GROWING = frozenset({"text", "thinking", "reasoning.text", "reasoning.summary"})
"""Types of parts that grow; a part of another type is whole when it comes."""


class ChatStream:
    """Takes chunks with `add`; `whole` is the answer so far, with a finish reason if one came."""

    def __init__(self) -> None:
        self._answer: JSON = {}
        self._finish: str | None = None
        self._error: Any = None
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._parts: list[Any] = []
        self._calls: list[_Call] = []
        self._legacy: _Call | None = None
        self._more: JSON = {}
        self._begun = False

    def add(self, event: Any) -> str:
        """Takes the next chunk, as parsed JSON, and returns the text that it adds."""
        found = as_dict(event)
        for name in ("id", "model", "usage", "error"):
            if found.get(name):
                self._answer[name] = found[name]
        first = (as_dict(one) for one in as_list(found.get("choices")) if as_dict(one).get("index") in (0, None))
        return "".join([self._choice(choice) for choice in first])

    def whole(self) -> JSON:
        """The answer as `from_response` reads it."""
        if not self._begun:
            return self._answer
        message: JSON = {"role": "assistant", "content": self._content(), **self._more}
        if self._refusal:
            message["refusal"] = "".join(self._refusal)
        if self._calls:
            message["tool_calls"] = [call.whole() for call in self._calls]
        if self._legacy is not None:
            message["function_call"] = self._legacy.whole()["function"]
        choice = {"index": 0, "message": message, "finish_reason": self._finish, "error": self._error}
        return {**self._answer, "choices": [choice]}

    def _choice(self, choice: JSON) -> str:
        self._begun = True
        self._finish = choice.get("finish_reason") or self._finish
        self._error = choice.get("error") or self._error
        delta = as_dict(choice.get("delta") or choice.get("message"))
        for one in as_list(delta.get("tool_calls")):
            self._tool_call(as_dict(one))
        if delta.get("function_call"):
            self._legacy = self._legacy or _Call()
            self._legacy.add({"function": delta["function_call"]})
        merge(self._more, {name: value for name, value in delta.items() if name not in _HANDLED})
        return self._words(delta.get("content")) + self._refused(delta.get("refusal"))

    def _words(self, content: Any) -> str:
        if isinstance(content, str):
            self._text.append(content)
            if self._parts and content:
                extend(self._parts, [{"type": "text", "text": content}])
            return content
        if not isinstance(content, list):
            return ""
        if not self._parts and any(self._text):
            self._parts = [{"type": "text", "text": "".join(self._text)}]
        pieces = as_list(content)
        extend(self._parts, pieces)
        text = "".join(str(one.get("text") or "") for one in map(as_dict, pieces) if one.get("type") == "text")
        self._text.append(text)
        return text

    def _refused(self, refusal: Any) -> str:
        if not isinstance(refusal, str) or not refusal:
            return ""
        self._refusal.append(refusal)
        return refusal

    def _content(self) -> str | list[Any]:
        return self._parts or "".join(self._text)

    def _tool_call(self, piece: JSON) -> None:
        call = next((one for one in reversed(self._calls) if one.goes_on_with(piece)), None)
        if call is None:
            call = _Call()
            self._calls.append(call)
        call.add(piece)


class _Call:
    """One tool call."""

    def __init__(self) -> None:
        self._fields: JSON = {}
        self._name = ""
        self._arguments: list[str] = []

    def goes_on_with(self, piece: JSON) -> bool:
        """Whether `piece` is a part of this call: the same index, and not the beginning of another call."""
        index, call_id = piece.get("index"), piece.get("id")
        if index is not None and index != self._fields.get("index"):
            return False
        return not call_id or call_id == self._fields.get("id") or not as_dict(piece.get("function")).get("name")

    def add(self, piece: JSON) -> None:
        function = as_dict(piece.get("function"))
        self._name = self._name or str(function.get("name") or "")
        written = function.get("arguments")
        if written is not None:
            self._arguments.append(written if isinstance(written, str) else json.dumps(written))
        merge(self._fields, {name: value for name, value in piece.items() if name != "function"})

    def whole(self) -> JSON:
        if "custom" in self._fields:
            return self._fields
        return {**self._fields, "function": {"name": self._name, "arguments": "".join(self._arguments)}}


def merge(into: JSON, piece: JSON) -> None:
    """Adds a piece of an object to what came before: texts grow, objects and lists are merged."""
    for name, value in piece.items():
        before = into.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            merge(into[name], as_dict(value))
        elif isinstance(before, list) and isinstance(value, list):
            extend(into[name], as_list(value))
        elif isinstance(before, str) and isinstance(value, str):
            into[name] = before if name in _SAID_ONCE and before else before + value
        elif value is not None or name not in into:
            into[name] = value


def extend(into: list[Any], pieces: list[Any]) -> None:
    """Adds pieces of a list to what came before: parts with the same index are one, and so are texts in a row."""
    for piece in pieces:
        part = _part_of(into, as_dict(piece))
        if part is None:
            into.append(piece)
        else:
            merge(part, as_dict(piece))


def _part_of(parts: list[Any], piece: JSON) -> JSON | None:
    if piece.get("index") is not None:
        same = [one for one in map(as_dict, parts) if one.get("index") == piece["index"] and one.get("type") == piece.get("type")]
        return same[-1] if same else None
    last = as_dict(parts[-1]) if parts else {}
    return last if piece.get("type") in _GROWING and last.get("type") == piece.get("type") else None

"""What Gemini answers: a message from the answers of `models.generateContent`. See `google` for what is kept of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from mcp_types import AudioContent, ImageContent, TextContent, ToolUseContent

from mcp_agent.workflows.llm.messages import Block, InvalidInput, Message, StopReason, Usage, tool_use
from mcp_agent.workflows.llm.providers.base import ProviderError, ProviderReply, clean, tool_arguments, unique_id
from mcp_agent.workflows.llm.providers.google.problems import NAMESPACE, class_name, error_in
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, as_list, count, incomplete

_FILTERED: StopReason = "content_filter"
_STOP_REASONS: dict[str, StopReason] = {
    "STOP": "end_turn",
    "MAX_TOKENS": "max_tokens",
    "CONTINUATION": "max_tokens",
    "SAFETY": _FILTERED,
    "RECITATION": _FILTERED,
    "LANGUAGE": _FILTERED,
    "BLOCKLIST": _FILTERED,
    "PROHIBITED_CONTENT": _FILTERED,
    "SPII": _FILTERED,
    "MODEL_ARMOR": _FILTERED,
    "IMAGE_SAFETY": _FILTERED,
    "IMAGE_PROHIBITED_CONTENT": _FILTERED,
    "IMAGE_RECITATION": _FILTERED,
}
_GOES_ON = "FINISH_REASON_UNSPECIFIED"
_MALFORMED = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"})


def from_response(requests: list[list[Any]], model: str, taken: Iterable[str] = ()) -> ProviderReply:
    """The answer to one request, or to several where each goes on from the one before (`continuation`).

    Args:
        requests: For each, the JSON objects of its stream, or the only one of an answer in one piece.
        model: What was asked for, where the answer does not say.
        taken: The ids of the calls so far in the conversation, which Gemini may use again.

    Raises:
        ProviderError: It is not a whole answer.
    """
    answers = [_joined(chunks) for chunks in requests]
    last = answers[-1]
    finish = last.finish
    if finish is None and last.blocked is None:
        raise incomplete("it has no finish reason, so it was cut off")
    if finish in _MALFORMED:
        raise ProviderError(
            f"The model wrote what cannot be read ({finish}): {str(last.finish_message or 'no details')[:300]}.",
            type=class_name(finish),
            retryable=True,
        )
    reading = _Reading(set(taken))
    for part in _texts_joined([part for answer in answers for part in answer.parts]):
        reading.add(part)
    stop_reason = _FILTERED if finish is None else _stop_reason(finish, reading.content)
    data = reading.data()
    if finish not in ("STOP", "MAX_TOKENS"):
        data["finish_reason"] = finish or last.blocked
    message = Message.assistant(reading.content, {NAMESPACE: data} if data else None)
    usage = sum((_usage(answer.counts) for answer in answers), Usage())
    return ProviderReply(message, stop_reason, usage, last.model or model)


def continuation(chunks: list[Any]) -> str | None:
    """What the next request has to name, where Google has split a long answer; `None` where the answer has ended."""
    last = _joined(chunks)
    return last.token if last.finish == "CONTINUATION" else None


@dataclass
class _Answer:
    parts: list[JSON] = field(default_factory=list[JSON])
    finish: str | None = None
    finish_message: str | None = None
    blocked: str | None = None
    counts: JSON = field(default_factory=dict[str, Any])
    model: str = ""
    token: str | None = None

    def add(self, said: JSON) -> None:
        self.model = str(said.get("modelVersion") or self.model)
        self.blocked = as_dict(said.get("promptFeedback")).get("blockReason") or self.blocked
        self.counts |= as_dict(said.get("usageMetadata"))  # each counts all so far, some not everything
        candidate = candidate_of(said)
        self.parts += [as_dict(part) for part in as_list(as_dict(candidate.get("content")).get("parts"))]
        finish = candidate.get("finishReason")
        self.finish = finish if finish and finish != _GOES_ON else self.finish
        self.finish_message = candidate.get("finishMessage") or self.finish_message
        self.token = candidate.get("continuationToken") or self.token


def _joined(chunks: list[Any]) -> _Answer:
    answer = _Answer()
    for chunk in chunks:
        one = next(iter(as_list(chunk)), chunk)  # without `alt=sse`, errors come in a list
        if not isinstance(one, dict):
            raise incomplete("it is no JSON object")
        said = cast("JSON", clean(one))
        if "error" in said:
            raise error_in(as_dict(said["error"]))
        answer.add(said)
    return answer


def candidate_of(said: JSON) -> JSON:
    """The first one, should several have been asked for; each has its own chunks in a stream."""
    candidates = [as_dict(one) for one in as_list(said.get("candidates"))]
    return next((one for one in candidates if not one.get("index")), as_dict(None))


def _texts_joined(parts: list[JSON]) -> list[JSON]:
    """Pieces of one text become one part; a part with anything else, such as a signature, stays by itself."""
    found: list[JSON] = []
    for part in parts:
        last = found[-1] if found else {}
        if _is_bare_text(part) and _is_bare_text(last) and bool(part.get("thought")) == bool(last.get("thought")):
            found[-1] = {**last, "text": last["text"] + part["text"]}
        else:
            found.append(part)
    return found


def _is_bare_text(part: JSON) -> bool:
    return isinstance(part.get("text"), str) and part.keys() <= {"text", "thought"}


@dataclass
class _Reading:
    """Blocks of a message from the parts of an answer, and what the parts hold beside that."""

    taken: set[str]
    content: list[Block] = field(default_factory=list[Block])
    entries: list[JSON] = field(default_factory=list[JSON])

    def add(self, part: JSON) -> None:
        media = as_dict(part.get("inlineData"))
        if isinstance(part.get("functionCall"), dict):
            self._call(as_dict(part["functionCall"]), _without(part, "functionCall"))
        elif part.get("thought"):
            self.entries.append({"whole": part})
        elif part.get("text") and isinstance(part["text"], str):
            self._text(part["text"], _without(part, "text"))
        elif str(media.get("mimeType")).startswith(("image/", "audio/")):
            self._media(media, _without(part, "inlineData"))
        elif part != {"text": ""}:
            self.entries.append({"whole": part})

    def data(self) -> JSON:
        """For `provider_data`; empty where the blocks say it all."""
        if all(entry.keys() <= {"block", "length"} for entry in self.entries):
            return {}
        return {"parts": self.entries}

    def _text(self, text: str, extra: JSON) -> None:
        last = self.content[-1] if self.content else None
        if isinstance(last, TextContent):
            self.content[-1] = TextContent(text=last.text + text)
        else:
            self.content.append(TextContent(text=text))
        self._entry({"length": len(text)}, extra)

    def _call(self, call: JSON, extra: JSON) -> None:
        given = call.get("id")
        call_id = unique_id(given if isinstance(given, str) and given else None, self.taken)
        self.taken.add(call_id)
        self.content.append(tool_use(call_id, str(call.get("name") or ""), _arguments(call)))
        kept = {name: value for name, value in call.items() if name not in ("name", "args")}
        self._entry({}, {**extra, "functionCall": kept} if kept else extra)

    def _media(self, media: JSON, extra: JSON) -> None:
        kind, data = str(media["mimeType"]), str(media.get("data") or "")
        made = ImageContent(mime_type=kind, data=data) if kind.startswith("image/") else AudioContent(mime_type=kind, data=data)
        self.content.append(made)
        self._entry({}, extra)

    def _entry(self, what: JSON, extra: JSON) -> None:
        self.entries.append({"block": len(self.content) - 1, **what, **({"extra": extra} if extra else {})})


def _without(part: JSON, name: str) -> JSON:
    return {key: value for key, value in part.items() if key != name}


def _arguments(call: JSON) -> JSON | InvalidInput:
    if call.get("partialArgs") or call.get("willContinue"):
        raw = json.dumps(call.get("partialArgs"))
        return InvalidInput(raw=raw, error="in pieces, which is not supported (`streamFunctionCallArguments`)")
    args = call.get("args")
    return tool_arguments(None if args is None else json.dumps(args))


def _stop_reason(finish: str, content: list[Block]) -> StopReason:
    known = _STOP_REASONS.get(finish, "unknown")
    if known in ("max_tokens", "content_filter"):
        return known
    if any(isinstance(block, ToolUseContent) for block in content):
        return "tool_use"
    return "empty" if known == "end_turn" and not content else known


def _usage(usage: JSON) -> Usage:
    thoughts = count(usage.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount")),
        output_tokens=count(usage.get("candidatesTokenCount")) + thoughts,
        cached_input_tokens=count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )

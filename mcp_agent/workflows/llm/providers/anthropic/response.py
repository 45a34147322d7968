"""From what the Messages API answers, at once or as a stream, to an answer or an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from mcp_types import TextContent, ToolUseContent

from mcp_agent.workflows.llm.messages import Block, Message, StopReason, Usage, tool_use
from mcp_agent.workflows.llm.providers.anthropic.data import NAMESPACE, THOUGHTS
from mcp_agent.workflows.llm.providers.base import (
    ProviderError,
    ProviderReply,
    clean,
    error_type,
    retry_after,
    tool_arguments,
    unique_id,
)
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, count, incomplete

_STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
}
_OWN_FIELDS = {"text": frozenset({"type", "text"}), "tool_use": frozenset({"type", "id", "name", "input"})}
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_TYPES = {
    402: "PaymentRequiredError",
    408: "RequestTimeoutError",
    412: "PreconditionFailedError",
    413: "ContentTooLargeError",
    431: "RequestHeaderFieldsTooLargeError",
    499: "ClientClosedRequestError",
    501: "HTTPNotImplementedError",
    503: "ServiceUnavailableError",
    504: "GatewayTimeoutError",
    529: "OverloadedError",
}
_UNREPEATABLE_429 = frozenset({"contract_spend_limit_reached", "enforced_spend_limit_reached"})
_HINTS = {
    401: "Check `anthropic.api_key` (environment: `ANTHROPIC_API_KEY`).",
    402: "Check the account that the key of `anthropic.api_key` belongs to.",
    403: "Check what the key of `anthropic.api_key` may use.",
    404: "Check the model's name and `anthropic.base_url`, which ends before `/v1`.",
}


def from_response(body: Any, model: str, prefix: str | None = None) -> ProviderReply:
    """The answer in a message of the API.

    Args:
        body: Parsed JSON.
        model: What was asked for.
        prefix: The hash of what the model had read; see `with_prefix`.

    Raises:
        ProviderError: It is not a whole answer, or an error.
    """
    if not isinstance(body, dict):
        raise incomplete("it is no JSON object")
    answer = cast("JSON", clean(body))
    if answer.get("type") == "error":
        raise error_in(answer)
    blocks, reason = answer.get("content"), answer.get("stop_reason")
    if not isinstance(blocks, list):
        raise incomplete("it holds no content")
    if not isinstance(reason, str) or not reason:
        raise incomplete("it has no stop reason, so it was cut off")
    content, data = _content([as_dict(block) for block in cast("list[Any]", blocks)])
    if any(block.get("type") in THOUGHTS for _, block in data.get("blocks", [])):
        data |= {"model": model} | ({"prefix": prefix} if prefix else {})
    refused = as_dict(answer.get("stop_details")).get("explanation")
    if refused and not content:
        content.append(TextContent(text=str(refused)))
    stop_reason = _stop_reason(reason, content)
    if stop_reason == "unknown":
        data["stop_reason"] = reason
    message = Message.assistant(content, {NAMESPACE: data} if data else None)
    return ProviderReply(message, stop_reason, _usage(as_dict(answer.get("usage"))), str(answer.get("model") or model))


def _content(blocks: list[JSON]) -> tuple[list[Block], JSON]:
    content: list[Block] = []
    kept: list[list[Any]] = []
    extra: JSON = {}
    for block in blocks:
        kind = str(block.get("type"))
        if kind not in _OWN_FIELDS:
            kept.append([len(content), block])
            continue
        if kind == "text" and not str(block.get("text") or "").strip():
            continue
        further = {name: value for name, value in block.items() if name not in _OWN_FIELDS[kind] and value}
        if further:
            extra[str(len(content))] = further
        content.append(TextContent(text=str(block["text"])) if kind == "text" else _called(block, content))
    return content, {name: value for name, value in (("blocks", kept), ("extra", extra)) if value}


def _called(block: JSON, before: list[Block]) -> ToolUseContent:
    written = block.get("input")
    raw = written if isinstance(written, str) or written is None else json.dumps(written)
    taken = [one.id for one in before if isinstance(one, ToolUseContent)]
    return tool_use(unique_id(str(block.get("id") or ""), taken), str(block.get("name") or ""), tool_arguments(raw))


def _stop_reason(reason: str, content: list[Block]) -> StopReason:
    known = _STOP_REASONS.get(reason, "unknown")
    if known in ("max_tokens", "refusal"):
        return known
    if any(isinstance(block, ToolUseContent) for block in content):
        return "tool_use"
    if known == "tool_use":
        return "unknown"
    return "empty" if known == "end_turn" and not content else known


def _usage(usage: JSON) -> Usage:
    cached, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")) + cached + written,
        output_tokens=count(usage.get("output_tokens")),
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=count(as_dict(usage.get("output_tokens_details")).get("thinking_tokens")),
    )


class StreamedAnswer:
    """Puts the events of a stream together into what the API would have answered at once.

    Attributes:
        ended: Whether the last event was there; what some servers send after it is none of the answer.
    """

    def __init__(self) -> None:
        self._message: JSON = {}
        self._blocks: dict[Any, JSON] = {}
        self._pieces: dict[tuple[Any, str], list[str]] = {}
        self.ended = False

    def add(self, event: JSON) -> str:
        """Takes the next event.

        Returns:
            The text in it; mostly nothing.

        Raises:
            ProviderError: It is an error.
        """
        match event.get("type"):
            case "message_start":
                self._message = as_dict(event.get("message"))
            case "content_block_start":
                self._blocks[event.get("index")] = as_dict(event.get("content_block"))
            case "content_block_delta":
                return self._extend(event.get("index"), as_dict(event.get("delta")))
            case "message_delta":
                counted = {name: value for name, value in as_dict(event.get("usage")).items() if value is not None}
                usage = as_dict(self._message.get("usage")) | counted
                self._message = self._message | as_dict(event.get("delta")) | {"usage": usage}
            case "message_stop":
                self.ended = True
            case "error":
                raise error_in(event)
            case _:  # pings, and what later versions add
                pass
        return ""

    def body(self) -> JSON:
        """The whole answer.

        Raises:
            ProviderError: The stream ended before the answer did.
        """
        if not self.ended:
            raise incomplete("its stream ended early")
        for (index, field), pieces in self._pieces.items():
            block = self._blocks.setdefault(index, {})
            begun = block.get(field)
            whole = (begun if isinstance(begun, str) else "") + "".join(pieces)
            block[field] = _provider_input(whole) if field == "input" and block.get("type") != "tool_use" else whole
        return self._message | {"content": list(self._blocks.values())}

    def _extend(self, index: Any, delta: JSON) -> str:
        match delta.get("type"):
            case "text_delta":
                return self._append(index, "text", delta.get("text"))
            case "input_json_delta":
                self._append(index, "input", delta.get("partial_json"))
            case "thinking_delta":
                self._append(index, "thinking", delta.get("thinking"))
            case "signature_delta":
                self._append(index, "signature", delta.get("signature"))
            case "citations_delta":
                block = self._blocks.setdefault(index, {})
                block["citations"] = [*(block.get("citations") or []), delta.get("citation")]
            case _:
                pass
        return ""

    def _append(self, index: Any, field: str, piece: Any) -> str:
        text = piece if isinstance(piece, str) else ""
        self._pieces.setdefault((index, field), []).append(text)
        return text


def _provider_input(written: str) -> JSON:
    """What the provider's own tools were called with: read by nobody here, and an object when it goes back."""
    arguments = tool_arguments(written)
    return arguments if isinstance(arguments, dict) else {}


def error_in(body: JSON) -> ProviderError:
    """The error that an event of a stream, or an answer with status 200, holds."""
    error = as_dict(body.get("error"))
    return failed(_STATUS.get(str(error.get("type")), 500), body, {})


def failed(status: int, body: Any, headers: Mapping[str, str]) -> ProviderError:
    """What an HTTP status other than success means."""
    error = as_dict(as_dict(body).get("error"))
    code = as_dict(error.get("details")).get("error_code")
    words = error.get("message") or (str(body) if body else "no reason given")[:300]
    hint = _HINTS.get(status, "")
    return ProviderError(
        f"status {status}: {str(words).rstrip('. ')}. {hint}".rstrip(),
        type=_TYPES.get(status) or error_type(status),
        status=status,
        retryable=False if code in _UNREPEATABLE_429 or headers.get("x-should-retry") == "false" else None,
        retry_after=retry_after(headers),
    )

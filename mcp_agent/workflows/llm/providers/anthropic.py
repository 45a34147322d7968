"""Anthropic's Messages API.

`to_request` and `from_response` are pure, as is `StreamedAnswer`; `AnthropicClient` holds the connections.

What the model must get back unchanged is kept under `provider_data["anthropic"]`: `blocks` holds the blocks that have no
form of their own here (thinking, its signatures, the provider's own tools), each with the number of the block that it
stood before; `extra` holds further fields of the others, by their number; `model` and `prefix` name who thought, and after
what. The API refuses thoughts of another model, and of the newest models those after another beginning, such as one that
was summed up since: they are left out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import aclosing
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, cast

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolResultContent,
    ToolUseContent,
)
from pydantic_core import to_json

from mcp_agent.workflows.llm.messages import (
    Block,
    LLMSetup,
    Message,
    RequestParams,
    StopReason,
    ToolSpec,
    Usage,
    tool_use,
)
from mcp_agent.workflows.llm.providers.base import (
    CallContext,
    ProviderError,
    ProviderReply,
    clean,
    error_type,
    retry_after,
    tool_arguments,
    unique_id,
)
from mcp_agent.workflows.llm.providers.claude import Claude
from mcp_agent.workflows.llm.providers.claude_schema import Inexpressible, accepted_schema
from mcp_agent.workflows.llm.providers.client import SDKClient
from mcp_agent.workflows.llm.providers.models import ModelTraits, Traits

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

_NAMESPACE = "anthropic"
_STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "refusal": "refusal",
}
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_OWN_FIELDS = {"text": frozenset({"type", "text"}), "tool_use": frozenset({"type", "id", "name", "input"})}
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TOOL_ID = re.compile(r"[A-Za-z0-9_-]+")
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
_SAMPLING_VERSION = "2023-06-01"
"""The last version of the API that knows temperatures; for the models that still take one."""

_WORTH_CACHING = 4_096
"""Bytes from which a beginning is marked for the cache; the shortest that is kept has 512 tokens, or more."""
_CACHED: dict[str, str] = {"type": "ephemeral"}

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

JSON = dict[str, Any]


# ── to the provider ──────────────────────────────────────────────────────────────────────────────────────────────────


def to_request(
    setup: LLMSetup, messages: list[Message], params: RequestParams, model: str, *, prompt_caching: bool = True
) -> JSON:
    """The arguments of `messages.create`.

    Raises:
        ProviderError: Type `UnsupportedContent`: a block that the Messages API cannot carry; `BadRequestError`: a
            reasoning effort that the model does not have.
    """
    return with_prefix(setup, messages, params, model, prompt_caching=prompt_caching)[0]


def with_prefix(
    setup: LLMSetup, messages: list[Message], params: RequestParams, model: str, *, prompt_caching: bool
) -> tuple[JSON, str]:
    """As `to_request`, with the hash of all that the model reads: its thoughts are bound to that."""
    claude = Claude.named(model)
    request: JSON = {"model": model, "max_tokens": params.max_tokens or claude.default_max_tokens}
    if setup.tools:
        request["tools"] = [_tool(tool) for tool in setup.tools]
        if params.parallel_tool_calls is False:
            request["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    _instruct(request, setup, params, claude)
    _add_options(request, params, claude)
    read = request | request.get("extra_body", {})
    turns = _Turns(model, [read.get("system"), read.get("tools")])
    turns.add(messages)
    request["messages"] = turns.sent
    if prompt_caching:
        _mark(request, turns)
    return request, turns.prefix


def _instruct(request: JSON, setup: LLMSetup, params: RequestParams, claude: Claude) -> None:
    """The system prompt, and how the answer is bound to a schema: by the API if it can, else in words."""
    texts = [params.system_prompt or setup.instruction or ""]
    if setup.response_schema is not None:
        try:
            bound = accepted_schema(setup.response_schema) if claude.takes_schemas else None
        except Inexpressible:
            bound = None
        if bound is not None:
            request["output_config"] = {"format": {"type": "json_schema", "schema": bound}}
        else:
            schema = to_json(setup.response_schema).decode()
            texts.append(f"Answer with nothing but JSON, without a code fence, that follows this JSON schema:\n{schema}")
    system = [_text(text) for text in texts if text.strip()]
    if system:
        request["system"] = system


def _add_options(request: JSON, params: RequestParams, claude: Claude) -> None:
    if params.stop_sequences:
        request["stop_sequences"] = params.stop_sequences
    if "user_id" in params.metadata:
        request["metadata"] = {"user_id": params.metadata["user_id"]}
    if params.reasoning_effort is not None:
        for name, fields in claude.thinking(params.reasoning_effort, request["max_tokens"]).items():
            request[name] = request.get(name, {}) | fields
    extra = _sampling(params) if claude.takes_sampling and not _thinks(request) else {}
    extra |= {name: _combined(request, name, value) for name, value in params.provider_options.items()}
    if extra:
        request["extra_body"] = extra
    if extra.keys() & _SAMPLING:
        request["extra_headers"] = {"anthropic-version": _SAMPLING_VERSION}


def _thinks(request: JSON) -> bool:
    return request.get("thinking", {}).get("type") in ("enabled", "adaptive")


def _sampling(params: RequestParams) -> JSON:
    """One of the two: the models that still take them refuse both at once."""
    if params.temperature is not None:
        return {"temperature": min(params.temperature, 1.0)}
    return {} if params.top_p is None else {"top_p": params.top_p}


def _combined(request: JSON, name: str, value: Any) -> Any:
    """The provider's own tools come beside the agent's, and the fields of an object beside those of the request."""
    present = request.get(name)
    if name == "tools" and isinstance(value, list):
        return [*cast("list[Any]", present or []), *cast("list[Any]", value)]
    return _dict(present) | cast("JSON", value) if isinstance(value, dict) else value


def _tool(tool: ToolSpec) -> JSON:
    found: JSON = {"name": tool.name, "input_schema": {"type": "object", **tool.input_schema}}
    if tool.description:
        found["description"] = tool.description
    return found


class _Turns:
    """The conversation as the API wants it, and the hash and the length, in bytes, of what was sent so far."""

    def __init__(self, model: str, setup: Any) -> None:
        begin = to_json(setup)
        self.sent: list[JSON] = []
        self.length = self.setup_length = len(begin)
        self._model = model
        self._binds = Claude.named(model).binds_thoughts
        self._hash = hashlib.sha256(begin)
        self._called: list[str] = []

    @property
    def prefix(self) -> str:
        return self._hash.hexdigest()

    def add(self, messages: list[Message]) -> None:
        """Turns of the user that follow each other are one, so that all results of a turn's calls stand together."""
        for role, turns in groupby(messages, key=lambda message: message.role):
            if role == "user":
                self._say([block for turn in turns for block in turn.content])
                continue
            for turn in turns:
                self._answer_calls()
                self._append("assistant", _assistant(turn, self._may_think(turn)))
                self._called = [call.id for call in turn.tool_uses]
        self._answer_calls()

    def _answer_calls(self) -> None:
        if self._called:
            self._say([])

    def _say(self, blocks: list[Block]) -> None:
        self._append("user", _user(blocks, self._called))
        self._called = []

    def _append(self, role: str, content: list[JSON]) -> None:
        if content:
            turn: JSON = {"role": role, "content": content}
            written = to_json(turn)
            self.length += len(written)
            self._hash.update(written)
            self.sent.append(turn)

    def _may_think(self, turn: Message) -> bool:
        data = _own_data(turn)
        return data.get("model") == self._model and (not self._binds or data.get("prefix") in (None, self.prefix))


def _assistant(message: Message, may_think: bool) -> list[JSON]:
    """The blocks as they came, thoughts in their places. Empty for a turn without a word, which the API refuses."""
    data = _own_data(message)
    own = [_said(block) for block in message.content if not _is_blank(block)]
    extra = _dict(data.get("extra"))
    kept = [
        (at, block)
        for at, block in cast("list[tuple[int, JSON]]", data.get("blocks") or [])
        if may_think or block.get("type") not in _THOUGHTS
    ]
    content: list[JSON] = []
    for number, block in enumerate(own):
        content += [one for at, one in kept if at == number]
        content.append(block | _dict(extra.get(str(number))))
    content += [one for at, one in kept if at >= len(own)]
    return content if any(block.get("type") not in _THOUGHTS for block in content) else []


def _said(block: Block) -> JSON:
    match block:
        case ToolUseContent():
            return {"type": "tool_use", "id": _tool_id(block.id), "name": block.name, "input": block.input}
        case TextContent() | ResourceLink():
            return _part(block)
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return _text(f"Resource `{resource.uri}`:\n{resource.text}")
        case _:
            raise _unsupported(f"A block of type `{block.type}` in an answer")


def _user(blocks: list[Block], called: list[str]) -> list[JSON]:
    """Results first, as the API wants them, and one for every call; what a failed tool attached follows as words."""
    answers = [block for block in blocks if isinstance(block, ToolResultContent)]
    answered = {answer.tool_use_id for answer in answers}
    results = [_not_carried_out(call_id) for call_id in called if call_id not in answered]
    results += [_result(answer) for answer in answers]
    attached = [_part(one) for answer in answers if answer.is_error for one in answer.content if not _is_text(one)]
    others = [block for block in blocks if not isinstance(block, ToolResultContent)]
    content = results + attached + [_part(block) for block in others if not _is_blank(block)]
    return content or [_text("(The user said nothing.)")]


def _not_carried_out(call_id: str) -> JSON:
    """The API refuses a conversation in which a tool call has no answer, such as one that was cut off."""
    return _tool_result(call_id, [_text("(This call was not carried out.)")])


def _result(block: ToolResultContent) -> JSON:
    said = [one for one in block.content if not _is_blank(one) and not (block.is_error and not _is_text(one))]
    content = [_part(one) for one in said]
    if not block.content and block.structured_content is not None:
        content.append(_text(to_json(block.structured_content).decode()))
    result = _tool_result(block.tool_use_id, content or [_text("(The tool returned nothing.)")])
    if block.is_error:
        result["is_error"] = True
    return result


def _tool_result(call_id: str, content: list[JSON]) -> JSON:
    return {"type": "tool_result", "tool_use_id": _tool_id(call_id), "content": content}


def _tool_id(call_id: str) -> str:
    """The id, or one derived from it where another provider's has characters that this one refuses."""
    if _TOOL_ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:32]}"


def _is_text(block: Block) -> bool:
    return isinstance(block, TextContent | ResourceLink)


def _is_blank(block: Block) -> bool:
    return isinstance(block, TextContent) and (not block.text or block.text.isspace())


def _part(block: Block) -> JSON:
    match block:
        case TextContent():
            return _text(block.text)
        case ImageContent():
            return _image(block.mime_type, block.data)
        case ResourceLink():
            return _text(" ".join(filter(None, [f"Resource `{block.uri}`:", block.title or block.name, block.description])))
        case EmbeddedResource():
            return _resource(block.resource)
        case AudioContent():
            raise _unsupported(f"Audio of type `{block.mime_type}`")
        case _:
            raise _unsupported(f"A block of type `{block.type}` in a user message")


def _text(text: str) -> JSON:
    return {"type": "text", "text": text}


def _image(mime_type: str, data: str) -> JSON:
    if mime_type not in _IMAGES:
        raise _unsupported(f"An image of type `{mime_type}`")
    return {"type": "image", "source": {"type": "base64", "media_type": mime_type, "data": data}}


def _resource(resource: TextResourceContents | BlobResourceContents) -> JSON:
    if isinstance(resource, TextResourceContents):
        return _text_document(resource.uri, resource.text)
    kind = resource.mime_type or "application/octet-stream"
    if kind.startswith("image/"):
        return _image(kind, resource.blob)
    if kind.startswith("text/"):
        return _text_document(resource.uri, _decoded(resource))
    if kind != "application/pdf":
        raise _unsupported(f"The resource `{resource.uri}` of type `{kind}`")
    source = {"type": "base64", "media_type": kind, "data": resource.blob}
    return {"type": "document", "source": source, "title": str(resource.uri)}


def _text_document(uri: str, text: str) -> JSON:
    if not text.strip():
        return _text(f"Resource `{uri}`: (empty)")
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}, "title": uri}


def _decoded(resource: BlobResourceContents) -> str:
    try:
        return base64.b64decode(resource.blob, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise _unsupported(f"The resource `{resource.uri}` of type `{resource.mime_type}`, which is no UTF-8,")


def _unsupported(what: str) -> ProviderError:
    return ProviderError(
        f"{what} cannot be sent to the Messages API: give it as text, PDF, or a jpeg, png, gif or webp image.",
        type="UnsupportedContent",
        retryable=False,
    )


# ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _mark(request: JSON, turns: _Turns) -> None:
    """Marks the setup, and the last two turns of the user: where this call writes and where the one before wrote."""
    setup = [*request.get("tools", []), *request.get("system", [])]
    if setup and turns.setup_length >= _WORTH_CACHING:
        setup[-1]["cache_control"] = _CACHED
    if turns.length >= _WORTH_CACHING:
        for turn in [turn for turn in turns.sent if turn["role"] == "user"][-2:]:
            turn["content"][-1]["cache_control"] = _CACHED


# ── from the provider ────────────────────────────────────────────────────────────────────────────────────────────────


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
        raise _incomplete("it is no JSON object")
    answer = cast("JSON", clean(body))
    if answer.get("type") == "error":
        raise error_in(answer)
    blocks, reason = answer.get("content"), answer.get("stop_reason")
    if not isinstance(blocks, list):
        raise _incomplete("it holds no content")
    if not isinstance(reason, str) or not reason:
        raise _incomplete("it has no stop reason, so it was cut off")
    content, data = _content([_dict(block) for block in cast("list[Any]", blocks)])
    if any(block.get("type") in _THOUGHTS for _, block in data.get("blocks", [])):
        data |= {"model": model} | ({"prefix": prefix} if prefix else {})
    refused = _dict(answer.get("stop_details")).get("explanation")
    if refused and not content:
        content.append(TextContent(text=str(refused)))
    stop_reason = _stop_reason(reason, content)
    if stop_reason == "unknown":
        data["stop_reason"] = reason
    message = Message.assistant(content, {_NAMESPACE: data} if data else None)
    return ProviderReply(message, stop_reason, _usage(_dict(answer.get("usage"))), str(answer.get("model") or model))


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
    return tool_use(unique_id(block.get("id"), taken), str(block.get("name") or ""), tool_arguments(raw))


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
    cached, written = _count(usage.get("cache_read_input_tokens")), _count(usage.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=_count(usage.get("input_tokens")) + cached + written,
        output_tokens=_count(usage.get("output_tokens")),
        cached_input_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=_count(_dict(usage.get("output_tokens_details")).get("thinking_tokens")),
    )


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def _dict(value: Any) -> JSON:
    return cast("JSON", value) if isinstance(value, dict) else {}


def _own_data(message: Message) -> JSON:
    return _dict((message.provider_data or {}).get(_NAMESPACE))


def _incomplete(why: str) -> ProviderError:
    return ProviderError(f"The answer is not whole: {why}.", type="IncompleteResponseError", retryable=True)


class StreamedAnswer:
    """Puts the events of a stream together into what the API would have answered at once."""

    def __init__(self) -> None:
        self._message: JSON = {}
        self._blocks: dict[Any, JSON] = {}
        self._pieces: dict[tuple[Any, str], list[str]] = {}
        self._ended = False

    def add(self, event: JSON) -> str:
        """Takes the next event.

        Returns:
            The text in it; mostly nothing.

        Raises:
            ProviderError: It is an error.
        """
        match event.get("type"):
            case "message_start":
                self._message = _dict(event.get("message"))
            case "content_block_start":
                self._blocks[event.get("index")] = _dict(event.get("content_block"))
            case "content_block_delta":
                return self._extend(event.get("index"), _dict(event.get("delta")))
            case "message_delta":
                counted = {name: value for name, value in _dict(event.get("usage")).items() if value is not None}
                usage = _dict(self._message.get("usage")) | counted
                self._message = self._message | _dict(event.get("delta")) | {"usage": usage}
            case "message_stop":
                self._ended = True
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
        if not self._ended:
            raise _incomplete("its stream ended early")
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


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def error_in(body: JSON) -> ProviderError:
    """The error that an event of a stream, or an answer with status 200, holds."""
    error = _dict(body.get("error"))
    return _failed(_STATUS.get(str(error.get("type")), 500), body, {})


def _failed(status: int, body: Any, headers: Mapping[str, str]) -> ProviderError:
    error = _dict(_dict(body).get("error"))
    code = _dict(error.get("details")).get("error_code")
    words = error.get("message") or (str(body) if body else "no reason given")[:300]
    hint = _HINTS.get(status, "")
    return ProviderError(
        f"status {status}: {str(words).rstrip('. ')}. {hint}".rstrip(),
        type=_TYPES.get(status) or error_type(status),
        status=status,
        retryable=False if code in _UNREPEATABLE_429 or headers.get("x-should-retry") == "false" else None,
        retry_after=retry_after(headers),
    )


# ── the client ───────────────────────────────────────────────────────────────────────────────────────────────────────


class AnthropicClient(SDKClient):
    """Asks the Messages API."""

    section = "anthropic"
    key_variable = "ANTHROPIC_API_KEY"
    default_base_url = "https://api.anthropic.com"
    default_model = "claude-sonnet-5-5"
    default_models: ClassVar[Mapping[str, ModelTraits]] = {
        "claude-opus-5-5": Traits(intelligence=0.95, speed=0.5),
        "claude-sonnet-5-5": Traits(intelligence=0.85, speed=0.8),
        "claude-haiku-5-5": Traits(intelligence=0.6, speed=1.0),
    }

    def _import(self) -> None:
        importlib.import_module("anthropic")

    def _connect(self) -> AsyncAnthropic:
        sdk = importlib.import_module("anthropic")
        made: AsyncAnthropic = sdk.AsyncAnthropic(
            api_key=self._checked_key(), base_url=self._checked_url(), timeout=self._timeout(), max_retries=0
        )
        return made

    async def _close(self, client: AsyncAnthropic) -> None:
        await client.close()

    async def _ask(
        self,
        client: AsyncAnthropic,
        setup: LLMSetup,
        messages: list[Message],
        params: RequestParams,
        model: str,
        context: CallContext,
    ) -> ProviderReply:
        request, prefix = with_prefix(setup, messages, params, model, prompt_caching=self._settings.prompt_caching)
        if context.on_text is not None:
            return from_response(await _streamed(client, request, context.on_text), model, prefix)
        create: Any = client.messages.with_raw_response.create
        raw = await create(**request)
        return from_response(_parsed(cast("bytes", raw.http_response.content)), model, prefix)

    def _failure(self, error: Exception) -> ProviderError | None:
        sdk, http = importlib.import_module("anthropic"), importlib.import_module("httpx2")
        match error:
            case sdk.APIStatusError():
                status_error: Any = error
                return _failed(status_error.status_code, status_error.body, status_error.response.headers)
            case sdk.APITimeoutError() | http.TimeoutException():
                return self._no_answer(error, timeout=True)
            case sdk.APIConnectionError() | http.HTTPError():
                return self._no_answer(error)
            case sdk.AnthropicError():
                return ProviderError(str(error), type=type(error).__name__, retryable=False)
            case _:
                return None


async def _streamed(client: AsyncAnthropic, request: JSON, on_text: Callable[[str], None]) -> Any:
    """Reads the events themselves: the SDK's own models of them cost more than the rest of the call."""
    sdk = importlib.import_module("anthropic")
    answer = StreamedAnswer()
    async with client.messages.with_streaming_response.create(**request, stream=True) as response:
        http_response: Any = response.http_response
        if "json" in http_response.headers.get("content-type", ""):
            return _parsed(await http_response.aread())
        try:
            async with aclosing(sdk.AsyncStream.raw_events(http_response)) as events:
                async for event in events:
                    piece = answer.add(_dict(json.loads(event.data))) if event.data else ""
                    if piece:
                        on_text(clean(piece))
        except ValueError:
            raise _incomplete("an event of its stream is not JSON") from None
    return answer.body()


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        pass
    raise ProviderError(
        "The answer is not JSON: it was cut off, or `anthropic.base_url` is not the address of an API.",
        type="APIResponseValidationError",
        retryable=True,
    )

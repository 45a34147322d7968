"""From a conversation to the arguments of `messages.create`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from itertools import groupby
from typing import Any, cast

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

from mcp_agent.workflows.llm.messages import Block, LLMSetup, Message, RequestParams, ToolSpec
from mcp_agent.workflows.llm.providers.anthropic.data import THOUGHTS, own_data
from mcp_agent.workflows.llm.providers.anthropic.models import Claude
from mcp_agent.workflows.llm.providers.anthropic.schema import Inexpressible, accepted_schema
from mcp_agent.workflows.llm.providers.base import ProviderError
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict
from mcp_agent.workflows.llm.providers.wording import NOT_CARRIED_OUT, NOTHING_RETURNED, embedded_text, link_text

_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_TOOL_ID = re.compile(r"[A-Za-z0-9_-]+")
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
_SAMPLING_VERSION = "2023-06-01"
"""The last version of the API that knows temperatures; for the models that still take one."""

_WORTH_CACHING = 4_096
"""Bytes from which a beginning is marked for the cache; the shortest that is kept has 512 tokens, or more."""
_CACHED: dict[str, str] = {"type": "ephemeral"}


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
        return {"temperature": params.temperature}
    return {} if params.top_p is None else {"top_p": params.top_p}


def _combined(request: JSON, name: str, value: Any) -> Any:
    """The provider's own tools come beside the agent's, and the fields of an object beside those of the request."""
    present = request.get(name)
    if name == "tools" and isinstance(value, list):
        return [*cast("list[Any]", present or []), *cast("list[Any]", value)]
    return as_dict(present) | cast("JSON", value) if isinstance(value, dict) else value


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
        data = own_data(turn)
        return data.get("model") == self._model and (not self._binds or data.get("prefix") in (None, self.prefix))


def _assistant(message: Message, may_think: bool) -> list[JSON]:
    """The blocks as they came, thoughts in their places. Empty for a turn without a word, which the API refuses."""
    data = own_data(message)
    own = [_said(block) for block in message.content if not _is_blank(block)]
    extra = as_dict(data.get("extra"))
    kept = [
        (at, block)
        for at, block in cast("list[tuple[int, JSON]]", data.get("blocks") or [])
        if may_think or block.get("type") not in THOUGHTS
    ]
    content: list[JSON] = []
    for number, block in enumerate(own):
        content += [one for at, one in kept if at == number]
        content.append(block | as_dict(extra.get(str(number))))
    content += [one for at, one in kept if at >= len(own)]
    return content if any(block.get("type") not in THOUGHTS for block in content) else []


def _said(block: Block) -> JSON:
    match block:
        case ToolUseContent():
            return {"type": "tool_use", "id": _tool_id(block.id), "name": block.name, "input": block.input}
        case TextContent() | ResourceLink():
            return _part(block)
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return _text(embedded_text(resource))
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
    return _tool_result(call_id, [_text(NOT_CARRIED_OUT)])


def _result(block: ToolResultContent) -> JSON:
    said = [one for one in block.content if not _is_blank(one) and not (block.is_error and not _is_text(one))]
    content = [_part(one) for one in said]
    if not block.content and block.structured_content is not None:
        content.append(_text(to_json(block.structured_content).decode()))
    result = _tool_result(block.tool_use_id, content or [_text(NOTHING_RETURNED)])
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
            return _text(link_text(block))
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


def _mark(request: JSON, turns: _Turns) -> None:
    """Marks the setup, and the last two turns of the user: where this call writes and where the one before wrote."""
    setup = [*request.get("tools", []), *request.get("system", [])]
    if setup and turns.setup_length >= _WORTH_CACHING:
        setup[-1]["cache_control"] = _CACHED
    if turns.length >= _WORTH_CACHING:
        for turn in [turn for turn in turns.sent if turn["role"] == "user"][-2:]:
            turn["content"][-1]["cache_control"] = _CACHED

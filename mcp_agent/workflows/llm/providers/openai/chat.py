"""OpenAI's chat completions, as every server speaks them that is called compatible. Pure.

A tool call whose arguments are not a JSON object is kept with an empty input and marked (`messages.invalid_input`). It
goes back to the model with `{}`, because many servers refuse history that is not JSON; `InvalidInput.error`, which the
agent gives as the result of the call, quotes what was written.

What the model must get back unchanged (reasoning, thought signatures) is kept under `provider_data["openai"]`:
`message` holds unknown fields of the message, `tool_calls` those of each call by its id, `content` an answer in parts.
"""

from __future__ import annotations

import json
from typing import Any

from mcp_types import AudioContent, TextContent, ToolResultContent, ToolUseContent
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
from mcp_agent.workflows.llm.providers.base import ProviderReply, clean, tool_arguments, unique_id
from mcp_agent.workflows.llm.providers.openai.content import (
    Media,
    assistant_text,
    extra_body,
    media_in,
    named_schema,
    parameters,
    reasons,
    result_text,
    text_in,
    unsupported,
)
from mcp_agent.workflows.llm.providers.openai.problems import error_in
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, as_list, count, incomplete
from mcp_agent.workflows.llm.providers.wording import NOT_CARRIED_OUT

NAMESPACE = "openai"

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "end_turn",
    "eos": "end_turn",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filter",
}
_MESSAGE_FIELDS = frozenset({"role", "content", "refusal", "tool_calls", "function_call", "annotations", "audio"})
_CALL_FIELDS = frozenset({"id", "type", "function", "custom", "index"})
_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
_AUDIO_BEGINNINGS = {"UklG": "audio/wav", "T2dn": "audio/ogg", "ZkxhQ": "audio/flac", "SUQz": "audio/mpeg", "//": "audio/mpeg"}


# ── to the provider ──────────────────────────────────────────────────────────────────────────────────────────────────


def to_request(setup: LLMSetup, messages: list[Message], params: RequestParams, model: str, *, own: bool = False) -> JSON:
    """The arguments of `chat.completions.create`.

    Args:
        setup: Instruction, tools and response schema.
        messages: The conversation.
        params: How to ask.
        model: Whom to ask.
        own: Whether it goes to OpenAI itself or to Azure: other servers may refuse what is new or OpenAI's only.

    Raises:
        ProviderError: Type `UnsupportedContent`: a block that chat completions cannot carry.
    """
    request: JSON = {"model": model, "messages": _messages(setup, messages, params)}
    if setup.tools:
        request["tools"] = [_tool(tool) for tool in setup.tools]
        if params.parallel_tool_calls is not None:
            request["parallel_tool_calls"] = params.parallel_tool_calls
    if setup.response_schema is not None:
        request["response_format"] = {"type": "json_schema", "json_schema": named_schema(setup.response_schema, own=own)}
    request |= _limits(params, model, own=own)
    if own:
        request["prompt_cache_key"] = setup.hash()
        if params.metadata and params.provider_options.get("store"):  # it labels what is stored, and is refused without
            request["metadata"] = params.metadata
    if params.provider_options:
        request["extra_body"] = extra_body(request, params.provider_options)
    return request


def _limits(params: RequestParams, model: str, *, own: bool) -> JSON:
    found: JSON = {}
    if params.max_tokens is not None:
        found["max_completion_tokens" if own or reasons(model) else "max_tokens"] = params.max_tokens
    if params.temperature is not None and not reasons(model):
        found["temperature"] = params.temperature
    if params.top_p is not None and not reasons(model):
        found["top_p"] = params.top_p
    if params.stop_sequences:
        found["stop"] = params.stop_sequences
    if params.reasoning_effort is not None:
        found["reasoning_effort"] = params.reasoning_effort
    return found


def _tool(tool: ToolSpec) -> JSON:
    function: JSON = {"name": tool.name, "parameters": parameters(tool)}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _messages(setup: LLMSetup, messages: list[Message], params: RequestParams) -> list[JSON]:
    instruction = params.system_prompt or setup.instruction
    found: list[JSON] = [{"role": "system", "content": instruction}] if instruction else []
    called: list[str] = []
    for message in messages:
        answered = {block.tool_use_id for block in message.content if isinstance(block, ToolResultContent)}
        found += [_result(call_id, NOT_CARRIED_OUT) for call_id in called if call_id not in answered]
        found += [_assistant(message)] if message.role == "assistant" else _user(message)
        called = [call.id for call in message.tool_uses]
    return found


def _result(call_id: str, text: str) -> JSON:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def _assistant(message: Message) -> JSON:
    data = as_dict((message.provider_data or {}).get(NAMESPACE))
    calls = [_call(block, data) for block in message.tool_uses]
    said: JSON = {"role": "assistant", **as_dict(data.get("message"))}
    text = assistant_text(message)
    if data.get("content") is not None:
        said["content"] = data["content"]
    elif text or not calls:
        said["content"] = text
    if calls:
        said["tool_calls"] = calls
    return said


def _call(block: ToolUseContent, data: JSON) -> JSON:
    kept = as_dict(as_dict(data.get("tool_calls")).get(block.id))
    function = {"name": block.name, "arguments": to_json(block.input).decode()}
    return {"id": block.id, "type": "function", "function": function, **kept}


def _user(message: Message) -> list[JSON]:
    """Tool results first, as the API wants them; what they hold beside text follows as words of the user."""
    results: list[JSON] = []
    parts: list[JSON] = []
    for block in message.content:
        if isinstance(block, ToolResultContent):
            attached = [_part(one) for one in block.content if text_in(one) is None]
            results.append(_result(block.tool_use_id, result_text(block, len(attached))))
            parts += attached
        else:
            parts.append(_part(block))
    if parts or not results:
        results.append({"role": "user", "content": _joined(parts)})
    return results


def _joined(parts: list[JSON]) -> str | list[JSON]:
    return "\n".join(part["text"] for part in parts) if all(part["type"] == "text" for part in parts) else parts


def _part(block: Block) -> JSON:
    text = text_in(block)
    if text is not None:
        return {"type": "text", "text": text}
    media = media_in(block)
    part = None if media is None else _media_part(media)
    if part is None:
        raise unsupported(block, "chat completions", "give it as text, an image, wav, mp3 or PDF")
    return part


def _media_part(media: Media) -> JSON | None:
    match media.kind:
        case "image":
            return {"type": "image_url", "image_url": {"url": media.url}}
        case "pdf":
            return {"type": "file", "file": {"filename": media.name, "file_data": media.url}}
        case "audio":
            kind = _AUDIO_FORMATS.get(media.mime_type)
            return None if kind is None else {"type": "input_audio", "input_audio": {"data": media.data, "format": kind}}


# ── from the provider ────────────────────────────────────────────────────────────────────────────────────────────────


def from_response(body: Any, model: str) -> ProviderReply:
    """The answer in a chat completion, as parsed JSON. `model` is what was asked for, where the answer does not say.

    Raises:
        ProviderError: It is not a whole answer.
    """
    if not isinstance(body, dict):
        raise incomplete("it is no JSON object")
    answer: JSON = clean(body)
    choices = as_list(answer.get("choices"))
    if not choices:
        raise error_in(answer)
    choice = as_dict(choices[0])
    finish = choice.get("finish_reason")
    if not isinstance(finish, str) or not finish:
        raise error_in(answer) if answer.get("error") else incomplete("it has no finish reason, so it was cut off")
    if finish == "error":
        raise error_in({"error": choice.get("error") or answer.get("error") or "the model failed"})
    message, stop_reason = _message(as_dict(choice.get("message")), finish)
    return ProviderReply(message, stop_reason, _usage(as_dict(answer.get("usage"))), str(answer.get("model") or model))


def _message(said: JSON, finish: str) -> tuple[Message, StopReason]:
    data: JSON = {}
    refusal, audio = said.get("refusal"), as_dict(said.get("audio"))
    text = _said_text(said, data) or str(refusal or audio.get("transcript") or "")
    content: list[Block] = [TextContent(text=text)] if text else []
    if audio.get("data"):
        content.append(_audio(str(audio["data"])))
    content += _tool_uses(said, data)
    extra = {name: value for name, value in said.items() if name not in _MESSAGE_FIELDS and value is not None}
    if extra:
        data["message"] = extra
    stop_reason = _stop_reason(finish, content, refused=bool(refusal))
    if stop_reason == "unknown":
        data["finish_reason"] = finish
    return Message.assistant(content, {NAMESPACE: data} if data else None), stop_reason


def _said_text(said: JSON, data: JSON) -> str:
    content = said.get("content")
    if isinstance(content, list):  # some compatible servers answer in parts, reasoning among them
        data["content"] = content
        parts = [as_dict(part) for part in as_list(said["content"])]
        return "".join(str(part.get("text") or "") for part in parts if part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _audio(data: str) -> AudioContent:
    """The answer does not say its format: its first bytes do."""
    kind = next((kind for beginning, kind in _AUDIO_BEGINNINGS.items() if data.startswith(beginning)), "audio/pcm")
    return AudioContent(data=data, mime_type=kind)


def _tool_uses(said: JSON, data: JSON) -> list[ToolUseContent]:
    found: list[ToolUseContent] = []
    legacy = said.get("function_call")
    for one in as_list(said.get("tool_calls")) or ([{"function": legacy}] if legacy else []):
        call = as_dict(one)
        function, custom = as_dict(call.get("function")), as_dict(call.get("custom"))
        name = str(function.get("name") or custom.get("name") or "")
        written = function.get("arguments") if function else custom.get("input")
        # Some compatible servers send the arguments as an object.
        raw = written if isinstance(written, str) or written is None else json.dumps(written)
        call_id = unique_id(call.get("id"), (block.id for block in found))
        found.append(tool_use(call_id, name, tool_arguments(raw)))
        extra = {key: value for key, value in call.items() if key not in _CALL_FIELDS and value is not None}
        if extra:
            data.setdefault("tool_calls", {})[call_id] = extra
    return found


def _stop_reason(finish: str, content: list[Block], *, refused: bool) -> StopReason:
    known = _STOP_REASONS.get(finish.lower(), "unknown")
    if known in ("max_tokens", "content_filter"):
        return known
    if refused:
        return "refusal"
    if any(isinstance(block, ToolUseContent) for block in content):
        return "tool_use"  # whatever it says: several servers say `stop`
    if known == "tool_use":
        return "unknown"
    return "empty" if known == "end_turn" and not content else known


def _usage(usage: JSON) -> Usage:
    read, written = as_dict(usage.get("prompt_tokens_details")), as_dict(usage.get("completion_tokens_details"))
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        cached_input_tokens=count(read.get("cached_tokens")),
        cache_write_tokens=count(read.get("cache_write_tokens")),
        reasoning_tokens=count(written.get("reasoning_tokens")),
    )

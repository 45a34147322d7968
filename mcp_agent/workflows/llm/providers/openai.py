"""OpenAI's chat completions, and every server that speaks them.

`to_request` and `from_response` are pure; `OpenAIClient` holds the connections.

A tool call whose arguments are not a JSON object is kept with an empty input and marked (`messages.invalid_input`). It
goes back to the model with `{}`, because many servers refuse history that is not JSON; `InvalidInput.error`, which the
agent gives as the result of the call, quotes what was written.

What the model must get back unchanged (reasoning, thought signatures) is kept under `provider_data["openai"]`:
`message` holds unknown fields of the message, `tool_calls` those of each call by its id.
"""

from __future__ import annotations

import importlib
import json
import re
from typing import TYPE_CHECKING, Any, cast

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
    retry_after,
    tool_arguments,
    unique_id,
)
from mcp_agent.workflows.llm.providers.client import SDKClient

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_NAMESPACE = "openai"
_REASONING = re.compile(r"^(o\d|gpt-([5-9]|\d\d))")
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
_UNREPEATABLE_429 = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_HINTS = {
    401: "Check `openai.api_key` (environment: `OPENAI_API_KEY`).",
    403: "Check what the key of `openai.api_key` may use.",
    404: "Check the model's name and `openai.base_url`.",
}

JSON = dict[str, Any]


# ── to the provider ──────────────────────────────────────────────────────────────────────────────────────────────────


def to_request(setup: LLMSetup, messages: list[Message], params: RequestParams, model: str) -> JSON:
    """The arguments of `chat.completions.create`.

    Raises:
        ProviderError: Type `UnsupportedContent`: a block that chat completions cannot carry.
    """
    request: JSON = {"model": model, "messages": _messages(setup, messages, params)}
    if setup.tools:
        request["tools"] = [_tool(tool) for tool in setup.tools]
        if params.parallel_tool_calls is not None:
            request["parallel_tool_calls"] = params.parallel_tool_calls
    if setup.response_schema is not None:
        request["response_format"] = _response_format(setup.response_schema)
    request |= _limits(params, model)
    if params.provider_options:
        request["extra_body"] = params.provider_options
    return request


def reasons(model: str) -> bool:
    """Whether the model is one of those that take `max_completion_tokens` and no temperature."""
    name = model.rpartition("/")[2].removeprefix("ft:")
    return _REASONING.match(name) is not None and "-chat" not in name


def _limits(params: RequestParams, model: str) -> JSON:
    found: JSON = {}
    if params.max_tokens is not None:
        found["max_completion_tokens" if reasons(model) else "max_tokens"] = params.max_tokens
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
    parameters: JSON = tool.input_schema
    if parameters.get("type") == "object" and "properties" not in parameters:
        parameters = {**parameters, "properties": cast("JSON", {})}  # OpenAI refuses an object schema without it
    function: JSON = {"name": tool.name, "parameters": parameters}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _response_format(schema: JSON) -> JSON:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", str(schema.get("title") or "response"))[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}


def _messages(setup: LLMSetup, messages: list[Message], params: RequestParams) -> list[JSON]:
    instruction = params.system_prompt or setup.instruction
    found: list[JSON] = [{"role": "system", "content": instruction}] if instruction else []
    called: list[str] = []
    for message in messages:
        answered = {block.tool_use_id for block in message.content if isinstance(block, ToolResultContent)}
        found += [_not_carried_out(call_id) for call_id in called if call_id not in answered]
        found += [_assistant(message)] if message.role == "assistant" else _user(message)
        called = [call.id for call in message.tool_uses]
    return found


def _not_carried_out(call_id: str) -> JSON:
    """The API refuses a conversation in which a tool call has no answer, such as one that was cut off."""
    return {"role": "tool", "tool_call_id": call_id, "content": "(This call was not carried out.)"}


def _assistant(message: Message) -> JSON:
    data = _own_data(message)
    calls = [_call(block, data) for block in message.tool_uses]
    said: JSON = {"role": "assistant", **_dict(data.get("message"))}
    if data.get("content") is not None:
        said["content"] = data["content"]
    elif message.text or not calls:
        said["content"] = message.text
    if calls:
        said["tool_calls"] = calls
    return said


def _call(block: ToolUseContent, data: JSON) -> JSON:
    kept = _dict(_dict(data.get("tool_calls")).get(block.id))
    function = {"name": block.name, "arguments": to_json(block.input).decode()}
    return {"id": block.id, "type": "function", "function": function, **kept}


def _user(message: Message) -> list[JSON]:
    """Tool results first, as the API wants them; what they hold beside text follows as words of the user."""
    results: list[JSON] = []
    parts: list[JSON] = []
    for block in message.content:
        if isinstance(block, ToolResultContent):
            attached = [_part(one) for one in block.content if not _is_text(one)]
            results.append({"role": "tool", "tool_call_id": block.tool_use_id, "content": _result_text(block, attached)})
            parts += attached
        else:
            parts.append(_part(block))
    if parts or not results:
        results.append({"role": "user", "content": _joined(parts)})
    return results


def _joined(parts: list[JSON]) -> str | list[JSON]:
    return "\n".join(part["text"] for part in parts) if all(part["type"] == "text" for part in parts) else parts


def _result_text(block: ToolResultContent, attached: list[JSON]) -> str:
    texts = [_part(one)["text"] for one in block.content if _is_text(one)]
    if not block.content and block.structured_content is not None:
        texts.append(to_json(block.structured_content).decode())
    if attached:
        texts.append(f"({len(attached)} attachment(s) follow in the next message.)")
    text = "\n".join(texts) or "(The tool returned nothing.)"
    return f"Error: {text}" if block.is_error else text


def _is_text(block: Block) -> bool:
    if isinstance(block, EmbeddedResource):
        return isinstance(block.resource, TextResourceContents)
    return isinstance(block, TextContent | ResourceLink)


def _part(block: Block) -> JSON:
    match block:
        case TextContent():
            return _text(block.text)
        case ImageContent():
            return _image(block.mime_type, block.data)
        case AudioContent():
            return _audio(block)
        case ResourceLink():
            return _text(" ".join(filter(None, [f"Resource `{block.uri}`:", block.title or block.name, block.description])))
        case EmbeddedResource():
            return _resource(block.resource)
        case _:
            raise _unsupported(f"A block of type `{block.type}` in a user message")


def _text(text: str) -> JSON:
    return {"type": "text", "text": text}


def _image(mime_type: str, data: str) -> JSON:
    return {"type": "image_url", "image_url": {"url": f"data:{mime_type};base64,{data}"}}


def _audio(block: AudioContent) -> JSON:
    kind = _AUDIO_FORMATS.get(block.mime_type)
    if kind is None:
        raise _unsupported(f"Audio of type `{block.mime_type}`")
    return {"type": "input_audio", "input_audio": {"data": block.data, "format": kind}}


def _resource(resource: TextResourceContents | BlobResourceContents) -> JSON:
    if isinstance(resource, TextResourceContents):
        return _text(f"Resource `{resource.uri}`:\n{resource.text}")
    kind = resource.mime_type or "application/octet-stream"
    if kind.startswith("image/"):
        return _image(kind, resource.blob)
    if kind != "application/pdf":
        raise _unsupported(f"The resource `{resource.uri}` of type `{kind}`")
    name = str(resource.uri).rpartition("/")[2] or "document.pdf"
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,{resource.blob}"}}


def _unsupported(what: str) -> ProviderError:
    return ProviderError(
        f"{what} cannot be sent to chat completions: give it as text, an image, wav, mp3 or PDF.",
        type="UnsupportedContent",
        retryable=False,
    )


# ── from the provider ────────────────────────────────────────────────────────────────────────────────────────────────


def from_response(body: Any, model: str) -> ProviderReply:
    """The answer in a chat completion, as parsed JSON. `model` is what was asked for, where the answer does not say.

    Raises:
        ProviderError: It is not a whole answer.
    """
    if not isinstance(body, dict):
        raise _incomplete("it is no JSON object")
    answer = cast("JSON", clean(body))
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise _error_in(answer)
    choice = _dict(cast("list[Any]", choices)[0])
    finish = choice.get("finish_reason")
    if not isinstance(finish, str) or not finish:
        raise _incomplete("it has no finish reason, so it was cut off")
    message, stop_reason = _message(_dict(choice.get("message")), finish)
    return ProviderReply(message, stop_reason, _usage(_dict(answer.get("usage"))), str(answer.get("model") or model))


def _message(said: JSON, finish: str) -> tuple[Message, StopReason]:
    data: JSON = {}
    content: list[Block] = []
    text, refusal = _said_text(said, data), said.get("refusal")
    text = text or (str(refusal) if refusal else "")
    if text:
        content.append(TextContent(text=text))
    content += _tool_uses(said, data)
    extra = {name: value for name, value in said.items() if name not in _MESSAGE_FIELDS and value is not None}
    if extra:
        data["message"] = extra
    stop_reason = _stop_reason(finish, content, refused=bool(refusal))
    if stop_reason == "unknown":
        data["finish_reason"] = finish
    return Message.assistant(content, {_NAMESPACE: data} if data else None), stop_reason


def _said_text(said: JSON, data: JSON) -> str:
    content = said.get("content")
    if isinstance(content, list):  # some compatible servers answer in parts, reasoning among them
        data["content"] = content
        parts = [_dict(part) for part in cast("list[Any]", content)]
        return "".join(str(part.get("text") or "") for part in parts if part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _tool_uses(said: JSON, data: JSON) -> list[ToolUseContent]:
    found: list[ToolUseContent] = []
    legacy = said.get("function_call")
    calls = cast("list[Any]", said.get("tool_calls") or ([{"function": legacy}] if legacy else []))
    for one in calls:
        call = _dict(one)
        function, custom = _dict(call.get("function")), _dict(call.get("custom"))
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
    read, written = _dict(usage.get("prompt_tokens_details")), _dict(usage.get("completion_tokens_details"))
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_input_tokens=_count(read.get("cached_tokens")),
        reasoning_tokens=_count(written.get("reasoning_tokens")),
    )


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def _dict(value: Any) -> JSON:
    return cast("JSON", value) if isinstance(value, dict) else {}


def _own_data(message: Message) -> JSON:
    return _dict((message.provider_data or {}).get(_NAMESPACE))


def _incomplete(why: str) -> ProviderError:
    return ProviderError(f"The answer is not whole: {why}.", type="IncompleteResponseError", retryable=True)


def _error_in(answer: JSON) -> ProviderError:
    """Some servers send an error with status 200."""
    error = _dict(answer.get("error"))
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return ProviderError(f"status {code} in the answer: {error.get('message')}", status=code)
    if error:
        return _incomplete(f"it holds an error: {error.get('message')}")
    return _incomplete("it holds no choices")


# ── the client ───────────────────────────────────────────────────────────────────────────────────────────────────────


class OpenAIClient(SDKClient):
    """Asks chat completions."""

    section = "openai"
    key_variable = "OPENAI_API_KEY"
    default_base_url = "https://api.openai.com/v1"
    default_model = "gpt-5.4-mini"

    def _import(self) -> None:
        importlib.import_module("openai")

    def _connect(self) -> AsyncOpenAI:
        sdk = importlib.import_module("openai")
        made: AsyncOpenAI = sdk.AsyncOpenAI(
            api_key=self._checked_key(), base_url=self._checked_url(), timeout=self._timeout(), max_retries=0
        )
        return made

    async def _close(self, client: AsyncOpenAI) -> None:
        await client.close()

    async def _ask(
        self,
        client: AsyncOpenAI,
        setup: LLMSetup,
        messages: list[Message],
        params: RequestParams,
        model: str,
        context: CallContext,
    ) -> ProviderReply:
        completions: Any = client.chat.completions.with_raw_response
        raw = await completions.create(**to_request(setup, messages, params, model))
        return from_response(_parsed(cast("bytes", raw.http_response.content)), model)

    def _failure(self, error: Exception) -> ProviderError | None:
        sdk, http = importlib.import_module("openai"), importlib.import_module("httpx2")
        match error:
            case sdk.APIStatusError():
                return _status_failure(error)
            case sdk.APITimeoutError() | http.TimeoutException():
                return self._no_answer(error, timeout=True)
            case sdk.APIConnectionError() | http.HTTPError():
                return self._no_answer(error)
            case sdk.OpenAIError():
                return ProviderError(str(error), type=type(error).__name__, retryable=False)
            case _:
                return None


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        pass
    raise ProviderError(
        "The answer is not JSON: it was cut off, or `openai.base_url` is not the address of an API.",
        type="APIResponseValidationError",
        retryable=True,
    )


def _status_failure(error: Any) -> ProviderError:
    status: int = error.status_code
    hint = _HINTS.get(status, "")
    return ProviderError(
        f"status {status}: {_words(error).rstrip('. ')}. {hint}".rstrip(),
        type=type(error).__name__,
        status=status,
        retryable=False if error.code in _UNREPEATABLE_429 else None,
        retry_after=retry_after(error.response.headers),
    )


def _words(error: Any) -> str:
    """The provider's own message; where there is none, the beginning of what it sent."""
    body = error.body
    if isinstance(body, dict):
        return str(cast("JSON", body).get("message") or cast("JSON", body))
    return str(body or "no reason given")[:300]

"""OpenAI's Responses API, without state at OpenAI. Pure.

Nothing is stored there (`store: false`): all items of an answer (reasoning, messages, calls) are kept under
`provider_data["openai_responses"]` and go back as they came, in order. Texts, images and arguments that the message holds
itself are not kept twice. Where a message was changed since, or came from elsewhere, its content goes back instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, cast

from mcp_types import ImageContent, TextContent, ToolResultContent, ToolUseContent
from pydantic_core import to_json

from mcp_agent.workflows.llm.messages import (
    Block,
    LLMSetup,
    Message,
    RequestParams,
    StopReason,
    ToolSpec,
    Usage,
    invalid_input,
    tool_use,
)
from mcp_agent.workflows.llm.providers.base import ProviderError, ProviderReply, clean, tool_arguments, unique_id
from mcp_agent.workflows.llm.providers.openai.content import (
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

NAMESPACE = "openai_responses"

_INCOMPLETE: dict[str, StopReason] = {"max_output_tokens": "max_tokens", "content_filter": "content_filter"}
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Items that are tool calls, and where they hold what the tool is given."""
_PARTS = {"output_text": "text", "refusal": "refusal"}

B = TypeVar("B", TextContent, ImageContent, ToolUseContent)


# ── to the provider ──────────────────────────────────────────────────────────────────────────────────────────────────


def to_request(setup: LLMSetup, messages: list[Message], params: RequestParams, model: str, *, own: bool = False) -> JSON:
    """The arguments of `responses.create`.

    Args:
        setup: Instruction, tools and response schema.
        messages: The conversation.
        params: How to ask.
        model: Whom to ask.
        own: Whether it goes to OpenAI itself or to Azure: other servers may refuse what is new or OpenAI's only.

    Raises:
        ProviderError: Type `UnsupportedContent`: a block that the API cannot carry; or `UnsupportedParameter`.
    """
    stored = params.provider_options.get("store") is True
    request: JSON = {"model": model, "input": _input(messages, stored=stored), "store": False}
    instruction = params.system_prompt or setup.instruction
    if instruction:
        request["instructions"] = instruction
    if setup.tools:
        request["tools"] = [_tool(tool) for tool in setup.tools]
        if params.parallel_tool_calls is not None:
            request["parallel_tool_calls"] = params.parallel_tool_calls
    if setup.response_schema is not None:
        form = {"type": "json_schema", "strict": False, **named_schema(setup.response_schema, own=own)}
        request["text"] = {"format": form}
    request |= _limits(params, model)
    if own:
        request["prompt_cache_key"] = setup.hash()
    if params.provider_options:
        request["extra_body"] = extra_body(request, params.provider_options)
    return request


def _limits(params: RequestParams, model: str) -> JSON:
    if params.stop_sequences:
        raise ProviderError(
            f"The Responses API has no `stop_sequences` (`{params.stop_sequences[0]}`): leave them out, or set `api: chat`.",
            type="UnsupportedParameter",
            retryable=False,
        )
    found: JSON = {}
    if params.max_tokens is not None:
        found["max_output_tokens"] = params.max_tokens
    if params.temperature is not None and not reasons(model):
        found["temperature"] = params.temperature
    if params.top_p is not None and not reasons(model):
        found["top_p"] = params.top_p
    if not _never_reasons(model):  # which would refuse it
        found["include"] = ["reasoning.encrypted_content"]
    if params.reasoning_effort is not None:
        found["reasoning"] = {"effort": params.reasoning_effort}
    if params.metadata:
        found["metadata"] = params.metadata
    return found


def _never_reasons(model: str) -> bool:
    return model.removeprefix("ft:").startswith(("gpt-3", "gpt-4", "chatgpt-")) or "-chat" in model


def _tool(tool: ToolSpec) -> JSON:
    """Not strict, as this API's default is: schemas of MCP servers seldom are."""
    function: JSON = {"type": "function", "name": tool.name, "parameters": parameters(tool), "strict": False}
    if tool.description:
        function["description"] = tool.description
    return function


def _input(messages: list[Message], *, stored: bool) -> list[JSON]:
    found: list[JSON] = []
    called: dict[str, str] = {}
    for message in messages:
        answered = {block.tool_use_id for block in message.content if isinstance(block, ToolResultContent)}
        found += [_output(kind, call_id, NOT_CARRIED_OUT) for call_id, kind in called.items() if call_id not in answered]
        items = _assistant(message, stored=stored) if message.role == "assistant" else _user(message, called)
        called = {item["call_id"]: item["type"] for item in items if item.get("type") in _CALLS}
        found += items
    return found


def _output(kind: str, call_id: str, output: str | list[JSON]) -> JSON:
    return {"type": f"{kind}_output", "call_id": call_id, "output": output}


def _assistant(message: Message, *, stored: bool) -> list[JSON]:
    kept = as_list(as_dict((message.provider_data or {}).get(NAMESPACE)).get("items"))
    items = _restored(kept, message.content)
    if items:
        return items if stored else _stateless(items)
    text = assistant_text(message)
    said: list[JSON] = [{"role": "assistant", "content": text}] if text or not message.tool_uses else []
    return said + [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": _arguments(call)}
        for call in message.tool_uses
    ]


def _stateless(items: list[JSON]) -> list[JSON]:
    """Without reasoning that the API refuses: what it would have to look up, and what nothing follows."""
    usable = [item for item in items if item.get("type") != "reasoning" or item.get("encrypted_content") or item.get("content")]
    if len(usable) < len(items):  # an item with an id would be missed its reasoning
        usable = [{key: value for key, value in item.items() if key != "id"} for item in usable]
    while usable and usable[-1].get("type") == "reasoning":
        usable.pop()
    return usable or [{"role": "assistant", "content": ""}]


def _arguments(call: ToolUseContent) -> str:
    return to_json(call.input).decode()


def _user(message: Message, called: dict[str, str]) -> list[JSON]:
    """Tool results first, then what the user says."""
    results: list[JSON] = []
    parts: list[JSON] = []
    for block in message.content:
        if isinstance(block, ToolResultContent):
            results.append(_output(called.get(block.tool_use_id, "function_call"), block.tool_use_id, _result(block)))
        else:
            parts.append(_part(block))
    if parts or not results:
        only_text = all(part["type"] == "input_text" for part in parts)
        results.append({"role": "user", "content": "\n".join(part["text"] for part in parts) if only_text else parts})
    return results


def _result(block: ToolResultContent) -> str | list[JSON]:
    attached = [_part(one) for one in block.content if text_in(one) is None]
    if not attached:
        return result_text(block)
    texts = [one for one in block.content if text_in(one) is not None]
    if not texts and not block.is_error:
        return attached
    words = result_text(block.model_copy(update={"content": texts}))
    return [{"type": "input_text", "text": words}, *attached]


def _part(block: Block) -> JSON:
    text = text_in(block)
    if text is not None:
        return {"type": "input_text", "text": text}
    media = media_in(block)
    if media is None or media.kind == "audio":
        raise unsupported(block, "the Responses API", "give it as text, an image or PDF; sound is heard with `api: chat`")
    if media.kind == "image":
        return {"type": "input_image", "image_url": media.url, "detail": "auto"}
    return {"type": "input_file", "filename": media.name, "file_data": media.url}


# ── from the provider ────────────────────────────────────────────────────────────────────────────────────────────────


def from_response(body: Any, model: str) -> ProviderReply:
    """The answer in a response, as parsed JSON. `model` is what was asked for, where the answer does not say.

    Raises:
        ProviderError: It is not a whole answer.
    """
    if not isinstance(body, dict):
        raise incomplete("it is no JSON object")
    answer: JSON = clean(body)
    status = answer.get("status")
    if status not in ("completed", "incomplete"):
        raise error_in(answer) if answer.get("error") else incomplete(f"its status is `{status}`")
    if not isinstance(answer.get("output"), list):
        raise incomplete("it holds no output")
    items = [as_dict(item) for item in as_list(answer["output"])]
    content = _content(items)
    data: JSON = {"items": _kept(items, content)}
    reason = as_dict(answer.get("incomplete_details")).get("reason")
    stop_reason = _INCOMPLETE.get(str(reason), "unknown") if status == "incomplete" else _stop_reason(items, content)
    if stop_reason == "unknown":
        data["reason"] = reason
    message = Message.assistant(content, {NAMESPACE: data})
    return ProviderReply(message, stop_reason, _usage(as_dict(answer.get("usage"))), str(answer.get("model") or model))


def _content(items: list[JSON]) -> list[Block]:
    found: list[Block] = []
    for item in items:
        kind = item.get("type")
        if kind == "message":
            parts = [as_dict(part) for part in as_list(item.get("content"))]
            texts = [part.get(_PARTS.get(str(part.get("type")), "")) for part in parts]
            found += [TextContent(text=str(text)) for text in texts if text]
        elif kind in _CALLS:
            call_id = unique_id(item.get("call_id"), (block.id for block in found if isinstance(block, ToolUseContent)))
            found.append(tool_use(call_id, str(item.get("name") or ""), tool_arguments(item.get(_CALLS[str(kind)]))))
        elif kind == "image_generation_call" and item.get("result"):
            found.append(ImageContent(data=str(item["result"]), mime_type=f"image/{item.get('output_format') or 'png'}"))
    return found


def _stop_reason(items: list[JSON], content: list[Block]) -> StopReason:
    if any(part.get("type") == "refusal" for item in items for part in map(as_dict, as_list(item.get("content")))):
        return "refusal"
    if any(isinstance(block, ToolUseContent) for block in content):
        return "tool_use"
    return "end_turn" if content else "empty"


def _usage(usage: JSON) -> Usage:
    read, written = as_dict(usage.get("input_tokens_details")), as_dict(usage.get("output_tokens_details"))
    return Usage(
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cached_input_tokens=count(read.get("cached_tokens")),
        cache_write_tokens=count(read.get("cache_write_tokens")),
        reasoning_tokens=count(written.get("reasoning_tokens")),
    )


# ── items, as they are kept and as they go back ──────────────────────────────────────────────────────────────────────


class _Changed(Exception):
    """The message no longer says what its items said."""


def _kept(items: list[JSON], content: list[Block]) -> list[JSON]:
    """The items without what the content holds."""
    blocks = iter(content)
    return [_shortened(item, blocks) for item in items]


def _restored(kept: list[Any], content: list[Block]) -> list[JSON]:
    """The items as they came; none where the content was changed since."""
    blocks = iter(content)
    try:
        items = [_filled(as_dict(item), blocks) for item in kept]
    except _Changed:
        return []
    return items if next(blocks, None) is None else []


def _shortened(item: JSON, blocks: Iterator[Block]) -> JSON:
    match item.get("type"):
        case "message":
            parts = [_shortened(as_dict(part), blocks) for part in as_list(item.get("content"))]
            return {**item, "content": parts}
        case "output_text" | "refusal" as kind if item.get(_PARTS[kind]):
            next(blocks)
            return _without(item, _PARTS[kind])
        case "image_generation_call" if item.get("result"):
            next(blocks)
            return _without(item, "result")
        case "function_call" | "custom_tool_call" as kind:
            call = cast("ToolUseContent", next(blocks))
            same = item.get(_CALLS[kind]) == _arguments(call)
            return _without(item, "call_id", "name", *([_CALLS[kind]] if same else []))
        case _:
            return item


def _filled(item: JSON, blocks: Iterator[Block]) -> JSON:
    match item.get("type"):
        case "message":
            parts = [_filled(as_dict(part), blocks) for part in as_list(item.get("content"))]
            return {**item, "content": parts}
        case "output_text" | "refusal" as kind if _PARTS[kind] not in item:
            return {**item, _PARTS[kind]: _next(blocks, TextContent).text}
        case "image_generation_call" if "result" not in item:
            return {**item, "result": _next(blocks, ImageContent).data}
        case "function_call" | "custom_tool_call" as kind:
            call = _next(blocks, ToolUseContent)
            return {**item, "call_id": call.id, "name": call.name, _CALLS[kind]: _written(item, kind, call)}
        case _:
            return item


def _written(item: JSON, kind: str, call: ToolUseContent) -> str:
    """What the model wrote as arguments; `{}` where that is no JSON object, which the API may refuse."""
    written = item.get(_CALLS[kind])
    if invalid_input(call) is not None:
        return str(written) if kind == "custom_tool_call" else "{}"
    if written is not None and tool_arguments(written) != call.input:
        raise _Changed
    return _arguments(call) if written is None else str(written)


def _next(blocks: Iterator[Block], kind: type[B]) -> B:
    block = next(blocks, None)
    if not isinstance(block, kind):
        raise _Changed
    return block


def _without(item: JSON, *names: str) -> JSON:
    return {name: value for name, value in item.items() if name not in names}

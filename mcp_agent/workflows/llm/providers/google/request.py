"""What Gemini is asked: the body of `models.generateContent`. See `google` for what is kept from answers."""

from __future__ import annotations

import base64
import re
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
from mcp_agent.workflows.llm.providers.base import ProviderError
from mcp_agent.workflows.llm.providers.google.problems import NAMESPACE, merged
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict
from mcp_agent.workflows.llm.providers.wording import embedded_text, link_text, resource_text

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_NEWEST = (99, 0)
_THINKING_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576}
_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_IN_RESULTS = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf"})
_SAME_TYPES = {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav"}
_OWN_FILES = ("gs://", "https://generativelanguage.googleapis.com/")
_ONE_CALL = "Call at most one function at a time."
# What Google documents for calls that were not made by Gemini, which have no thought signature.
_NO_SIGNATURE = base64.b64encode(b"skip_thought_signature_validator").decode()


def to_request(setup: LLMSetup, messages: list[Message], params: RequestParams, model: str, *, vertexai: bool = False) -> JSON:
    """The body of `models.generateContent`; `provider_options` are merged into it.

    Raises:
        ProviderError: Type `UnsupportedContent`: a block that Gemini cannot take. Type `InvalidArgument`: a
            `reasoning_effort` that it does not know.
    """
    version = generation(model)
    request: JSON = {"contents": _contents(messages, version)}
    instruction = _instruction(setup, params, version)
    if instruction:
        request["systemInstruction"] = {"parts": [{"text": text} for text in instruction]}
    if setup.tools:
        request["tools"] = [{"functionDeclarations": [_tool(tool) for tool in setup.tools]}]
    config = _limits(params, version)
    if setup.response_schema is not None and _native_schema(setup, version):
        config |= {"responseMimeType": "application/json", "responseJsonSchema": adapted_schema(setup.response_schema)}
    if config:
        request["generationConfig"] = config
    if params.metadata and vertexai:  # the Gemini API refuses labels
        request["labels"] = params.metadata
    return merged(request, params.provider_options)


def generation(model: str) -> tuple[int, int]:
    """The version in a model's name, such as `(2, 5)`; the newest for a name without one, `(0, 0)` for other models."""
    name = model.rpartition("/")[2]
    found = _VERSION.match(name)
    if found is None:
        return _NEWEST if name.startswith("gemini-") else (0, 0)
    return int(found[1]), int(found[2] or 0)


def _native_schema(setup: LLMSetup, version: tuple[int, int]) -> bool:
    return not setup.tools or version >= (3, 0)  # before, JSON answers and functions exclude each other


def _instruction(setup: LLMSetup, params: RequestParams, version: tuple[int, int]) -> list[str]:
    texts = [params.system_prompt or setup.instruction or ""]
    if setup.response_schema is not None and not _native_schema(setup, version):
        schema = to_json(setup.response_schema).decode()
        texts.append(f"Give your final answer as nothing but JSON that follows this JSON schema:\n{schema}")
    if setup.tools and params.parallel_tool_calls is False:
        texts.append(_ONE_CALL)
    return [text for text in texts if text]


def _limits(params: RequestParams, version: tuple[int, int]) -> JSON:
    found: JSON = {}
    if params.max_tokens is not None:
        found["maxOutputTokens"] = params.max_tokens
    samples = version < (3, 5) or version == (0, 0)  # later ones refuse these
    if params.temperature is not None and samples:
        found["temperature"] = params.temperature
    if params.top_p is not None and samples:
        found["topP"] = params.top_p
    if params.stop_sequences:
        found["stopSequences"] = params.stop_sequences
    if params.reasoning_effort is not None:
        found["thinkingConfig"] = _thinking(params.reasoning_effort, version)
    return found


def _thinking(effort: str, version: tuple[int, int]) -> JSON:
    if version == (0, 0) or version >= (3, 0):
        return {"thinkingLevel": effort.upper()}
    if effort.lower() in _THINKING_BUDGETS:
        return {"thinkingBudget": _THINKING_BUDGETS[effort.lower()]}
    if effort.isdigit():
        return {"thinkingBudget": int(effort)}
    raise ProviderError(
        f"`reasoning_effort` is `{effort}`: for this model give a number of tokens, or one of"
        f" {', '.join(f'`{name}`' for name in _THINKING_BUDGETS)}.",
        type="InvalidArgument",
        retryable=False,
    )


def _tool(tool: ToolSpec) -> JSON:
    declared: JSON = {"name": tool.name, "description": tool.description or tool.name}
    if tool.input_schema.get("properties") or len(tool.input_schema.keys() - {"type", "properties", "title", "$schema"}):
        declared["parametersJsonSchema"] = adapted_schema(tool.input_schema)
    return declared


def adapted_schema(schema: JSON) -> JSON:
    """The JSON schema in the words that Gemini knows: it takes no `const`, and nothing beside a `$ref`."""
    found: JSON = {name: _adapted(name, value) for name, value in schema.items() if name not in ("$schema", "const")}
    if "const" in schema:
        found["enum"] = [schema["const"]]
    reference = found.pop("$ref", None)
    if reference is None:
        return found
    own = {name: value for name, value in found.items() if name.startswith("$")}
    if len(own) == len(found):
        return {"$ref": reference, **own}
    return {**found, "anyOf": [{"$ref": reference}]}


def _adapted(name: str, value: Any) -> Any:
    if name in ("properties", "$defs", "definitions") and isinstance(value, dict):
        return {key: _schema_or_value(one) for key, one in cast("JSON", value).items()}
    if name in ("enum", "required", "default", "examples"):
        return value
    if isinstance(value, list):
        return [_schema_or_value(one) for one in cast("list[Any]", value)]
    return _schema_or_value(value)


def _schema_or_value(value: Any) -> Any:
    return adapted_schema(cast("JSON", value)) if isinstance(value, dict) else value


_NOTHING: list[JSON] = [{"role": "user", "parts": [{"text": "(Nothing was said.)"}]}]
"""The API refuses a conversation in which the model speaks first."""


def _contents(messages: list[Message], version: tuple[int, int]) -> list[JSON]:
    """Every call is answered in the turn after it, in the order of the calls, as the API wants it."""
    found: list[JSON] = []
    called: JSON = {}
    for message in messages:
        if message.role == "assistant":
            found += _content("user", _results(message, called, version))
            parts = _model_parts(message, version)
            found += _content("model", parts)
            made = [part["functionCall"] for part in parts if "functionCall" in part]
            called = {use.id: call for use, call in zip(message.tool_uses, made, strict=True)}
        else:
            parts = [_part(block) for block in message.content if not isinstance(block, ToolResultContent)]
            found += _content("user", _results(message, called, version) + parts) or _NOTHING
            called = {}
    return found


def _content(role: str, parts: list[JSON]) -> list[JSON]:
    said = [part for part in parts if part != {"text": ""}]  # the API refuses empty texts and empty contents
    return [{"role": role, "parts": said}] if said else []


def _model_parts(message: Message, version: tuple[int, int]) -> list[JSON]:
    entries = as_dict((message.provider_data or {}).get(NAMESPACE)).get("parts")
    parts = _restored(message.content, entries) if entries else [_said(block) for block in message.content]
    if version >= (3, 0) and not any("thoughtSignature" in part for part in parts):
        first = next((part for part in parts if "functionCall" in part), None)
        if first is not None:
            first["thoughtSignature"] = _NO_SIGNATURE
    return parts


def _restored(content: list[Block], entries: list[JSON]) -> list[JSON]:
    parts: list[JSON] = []
    read: dict[int, int] = {}
    for entry in entries:
        if "whole" in entry:
            parts.append(entry["whole"])
            continue
        index: int = entry["block"]
        part = _said(content[index])
        if "length" in entry:
            start = read.get(index, 0)
            read[index] = start + entry["length"]
            part = {"text": part["text"][start : read[index]]}
        parts.append(merged(part, as_dict(entry.get("extra"))))
    return parts


def _results(message: Message, called: JSON, version: tuple[int, int]) -> list[JSON]:
    """The answers to the calls of the turn before; what the API takes no attachments for follows them."""
    given = {block.tool_use_id: block for block in message.content if isinstance(block, ToolResultContent)}
    answers: list[JSON] = []
    following: list[JSON] = []
    for call_id in [*called, *(one for one in given if one not in called)]:
        call = as_dict(called.get(call_id)) or {"name": call_id}
        whose: JSON = {name: call[name] for name in ("id", "name") if name in call}
        block = given.get(call_id)
        if block is None:
            answers.append({"functionResponse": {**whose, "response": {"error": "This call was not carried out."}}})
        else:
            answer, apart = _result(block, version)
            answers.append({"functionResponse": {**whose, **answer}})
            following += apart
    return answers + following


def _result(block: ToolResultContent, version: tuple[int, int]) -> tuple[JSON, list[JSON]]:
    parts = [_part(one) for one in block.content]
    texts = [part["text"] for part in parts if "text" in part]
    attached = [part for part in parts if "text" not in part]
    inside = [part for part in attached if version >= (3, 0) and as_dict(part.get("inlineData")).get("mimeType") in _IN_RESULTS]
    apart = [part for part in attached if part not in inside]
    if apart:
        texts.append(f"({len(apart)} attachment(s) follow.)")
    said: Any = "\n".join(texts) or "The tool returned nothing."
    if not block.content and block.structured_content is not None:
        said = block.structured_content
    answer: JSON = {"response": {"error" if block.is_error else "output": said}}
    if inside:
        answer["parts"] = inside
    return answer, apart


def _said(block: Block) -> JSON:
    if isinstance(block, ToolUseContent):
        return {"functionCall": {"name": block.name, "args": block.input}}
    return _part(block)


def _part(block: Block) -> JSON:
    match block:
        case TextContent():
            return {"text": block.text}
        case ImageContent() | AudioContent():
            return _inline(block.mime_type, block.data, f"Content of type `{block.mime_type}`")
        case ResourceLink():
            return _link(block)
        case EmbeddedResource():
            return _resource(block.resource)
        case _:
            raise _unsupported(f"A block of type `{block.type}`")


def _link(block: ResourceLink) -> JSON:
    uri = str(block.uri)
    if uri.startswith(_OWN_FILES) and block.mime_type:
        return {"fileData": {"fileUri": uri, "mimeType": block.mime_type}}
    return {"text": link_text(block)}


def _resource(resource: TextResourceContents | BlobResourceContents) -> JSON:
    if isinstance(resource, TextResourceContents):
        return {"text": embedded_text(resource)}
    kind = resource.mime_type or "application/octet-stream"
    what = f"The resource `{resource.uri}` of type `{kind}`"
    if not kind.startswith("text/"):
        return _inline(kind, resource.blob, what)
    try:
        text = base64.b64decode(resource.blob).decode()
    except ValueError as error:
        raise _unsupported(f"{what}, which is no UTF-8 in base64,") from error
    return {"text": resource_text(resource.uri, text)}


def _inline(mime_type: str, data: str, what: str) -> JSON:
    kind = _SAME_TYPES.get(mime_type, mime_type)
    if kind in _IMAGES or kind == "application/pdf" or kind.startswith(("audio/", "video/")):
        return {"inlineData": {"mimeType": kind, "data": data}}
    raise _unsupported(what)


def _unsupported(what: str) -> ProviderError:
    return ProviderError(
        f"{what} cannot be sent to Gemini: give it as text, PDF, audio, video, or a png, jpeg, webp, heic or heif image.",
        type="UnsupportedContent",
        retryable=False,
    )

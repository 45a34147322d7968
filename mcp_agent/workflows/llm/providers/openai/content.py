"""How both of OpenAI's APIs write what a conversation holds: texts, media, tool results, schemas, and which models reason."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Literal, NamedTuple, cast

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolResultContent,
)
from pydantic_core import to_json

from mcp_agent.workflows.llm.messages import Block, Message, ToolSpec
from mcp_agent.workflows.llm.providers.base import ProviderError
from mcp_agent.workflows.llm.providers.openai.schema import strict
from mcp_agent.workflows.llm.providers.reading import JSON, as_dict, as_list
from mcp_agent.workflows.llm.providers.wording import NOTHING_RETURNED, embedded_text, link_text, resource_text

_REASONING = re.compile(r"^(o\d|gpt-([5-9]|\d\d))")
_GROWING = frozenset({"tools", "include"})
_TEXTUAL = frozenset({"application/json", "application/xml", "application/yaml"})


class Media(NamedTuple):
    """What is not text. `data` is base64."""

    kind: Literal["image", "audio", "pdf"]
    mime_type: str
    data: str
    name: str

    @property
    def url(self) -> str:
        return f"data:{self.mime_type};base64,{self.data}"


def reasons(model: str) -> bool:
    """Whether the model is one of those that take `max_completion_tokens` and no temperature."""
    name = model.rpartition("/")[2].removeprefix("ft:")
    return _REASONING.match(name) is not None and "-chat" not in name


def parameters(tool: ToolSpec) -> JSON:
    """The schema of a tool's arguments. OpenAI refuses one of an object that does not name its properties."""
    if tool.input_schema.get("type") == "object" and "properties" not in tool.input_schema:
        return {**tool.input_schema, "properties": cast("JSON", {})}
    return tool.input_schema


def extra_body(request: JSON, options: JSON) -> JSON:
    """What the caller wants in the request as it is. Fields of objects, tools and `include` are added to what is there."""
    return {name: _added(request.get(name), value, name) for name, value in options.items()}


def _added(before: Any, value: Any, name: str) -> Any:
    if isinstance(before, dict) and isinstance(value, dict):
        return {**as_dict(before), **as_dict(value)}
    return [*as_list(before), *as_list(value)] if name in _GROWING and isinstance(value, list) else value


def named_schema(schema: JSON, *, own: bool) -> JSON:
    """A response schema with its name, and `strict` where the API can hold the model to it."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", str(schema.get("title") or "response"))[:64]
    strictly = strict(schema) if own else None
    return {"name": name, "schema": schema} if strictly is None else {"name": name, "schema": strictly, "strict": True}


def text_in(block: Block) -> str | None:
    """The words of a block; of a resource with where it comes from. `None` if it is not text."""
    match block:
        case TextContent():
            return block.text
        case ResourceLink():
            return link_text(block)
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return embedded_text(resource)
        case EmbeddedResource(resource=BlobResourceContents() as resource):
            text = _decoded(resource)
            return None if text is None else resource_text(resource.uri, text)
        case _:
            return None


def _decoded(resource: BlobResourceContents) -> str | None:
    kind = (resource.mime_type or "").partition(";")[0]
    if not kind.startswith("text/") and kind not in _TEXTUAL:
        return None
    try:
        return base64.b64decode(resource.blob).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def media_in(block: Block) -> Media | None:
    """The image, sound or PDF of a block; `None` if it is none."""
    match block:
        case ImageContent():
            return Media("image", block.mime_type, block.data, "")
        case AudioContent():
            return Media("audio", block.mime_type, block.data, "")
        case EmbeddedResource(resource=BlobResourceContents() as resource):
            return _resource_media(resource)
        case _:
            return None


def _resource_media(resource: BlobResourceContents) -> Media | None:
    mime_type = resource.mime_type or ""
    name = str(resource.uri).rpartition("/")[2] or "document.pdf"
    if mime_type == "application/pdf":
        return Media("pdf", mime_type, resource.blob, name)
    if mime_type.startswith("image/"):
        return Media("image", mime_type, resource.blob, name)
    return Media("audio", mime_type, resource.blob, name) if mime_type.startswith("audio/") else None


def unsupported(block: Block, api: str, instead: str) -> ProviderError:
    """The error for a block that an API cannot carry."""
    match block:
        case AudioContent() | ImageContent():
            what = f"Content of type `{block.mime_type}`"
        case EmbeddedResource(resource=resource):
            what = f"The resource `{resource.uri}` of type `{resource.mime_type or 'application/octet-stream'}`"
        case _:
            what = f"A block of type `{block.type}` in a user message"
    return ProviderError(f"{what} cannot be sent to {api}: {instead}.", type="UnsupportedContent", retryable=False)


def assistant_text(message: Message) -> str:
    """What the model said, in words; media alone are named, because neither API takes them back."""
    texts = [text for block in message.content if (text := text_in(block)) is not None]
    if texts:
        return "\n".join(texts)
    media = filter(None, map(media_in, message.content))
    return "\n".join(f"(Here was content of type `{one.mime_type}`.)" for one in media)


def result_text(block: ToolResultContent, attached: int = 0) -> str:
    """The words of a tool's result. Errors say so.

    Args:
        block: The result.
        attached: How many of its blocks are sent apart from it.
    """
    texts = [text for one in block.content if (text := text_in(one)) is not None]
    if not block.content and block.structured_content is not None:
        texts.append(to_json(block.structured_content).decode())
    if attached:
        texts.append(f"({attached} attachment(s) follow in the next message.)")
    text = "\n".join(texts) or NOTHING_RETURNED
    return f"Error: {text}" if block.is_error else text

"""A tool as the server holds it, and the results that tools give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from mcp.server import ServerRequestContext
from mcp_types import CallToolResult, ContentBlock, TextContent, Tool
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from mcp_agent.errors import CallError, InvalidArguments
from mcp_agent.executor.problems import describe_problems

Request: TypeAlias = ServerRequestContext[Any]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """A tool, and what a call of it does. The call gets arguments that nobody has looked at."""

    tool: Tool
    call: Callable[[Request, dict[str, Any]], Awaitable[CallToolResult]]


class Arguments(BaseModel):
    """Base of tool arguments: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def parsed(model: type[M], arguments: dict[str, Any]) -> M:
    """Arguments as `model`. Raises InvalidArguments, which names every bad field with its path."""
    try:
        return model.model_validate_json(to_json(arguments), strict=True)
    except ValidationError as error:
        raise InvalidArguments(f"{describe_problems(error)}. Nothing was changed.") from None


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments, without what only repeats the names."""
    schema = model.model_json_schema()
    schema.pop("title", None)
    schema.pop("description", None)
    for described in schema.get("properties", {}).values():
        described.pop("title", None)
    return schema


def answer(text: str, data: dict[str, Any], *, is_error: bool = False) -> CallToolResult:
    """A text for the model, and the same as data."""
    content: list[ContentBlock] = [TextContent(text=text)]
    return CallToolResult(content=content, structured_content=data, is_error=is_error)


def refusal(code: str, message: str, *, retryable: bool = False) -> CallToolResult:
    """A call that was refused: nothing was changed (`contract.md`, "Errors of a call")."""
    message = message.encode("utf-8", "backslashreplace").decode()  # it may quote what cannot be sent
    return answer(f"{code}: {message}", {"code": code, "message": message, "retryable": retryable}, is_error=True)


def refused(error: CallError) -> CallToolResult:
    return refusal(error.code, str(error), retryable=error.retryable)

"""A tool as the server holds it, and the results that tools give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    InputRequiredResult,
    TextContent,
    Tool,
)
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from mcp_agent.errors import CallError, InvalidArguments
from mcp_agent.executor.problems import describe_problems
from mcp_agent.server.callers import Caller
from mcp_agent.server.task_types import CreateTaskResult

Request: TypeAlias = ServerRequestContext[Any]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool, and who makes it. Nobody has looked at its arguments."""

    request: Request
    params: CallToolRequestParams
    caller: Caller

    @property
    def arguments(self) -> dict[str, Any]:
        return self.params.arguments or {}


Outcome: TypeAlias = CallToolResult | InputRequiredResult | CreateTaskResult
"""What a call gives: its result, what a person is asked first, or the task that will have its result."""


@dataclass(frozen=True, slots=True)
class ToolEntry:
    """A tool, and what a call of it does."""

    tool: Tool
    call: Callable[[ToolCall], Awaitable[Outcome]]


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


def or_refusal(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a tool's answers: of what it gives, or of a refusal. There are clients that hold refused calls to it, so
    nothing is required that only one of the two has."""
    kept = {key: value for key, value in schema.items() if key != "required"}
    return {**kept, "properties": {**schema["properties"], **deepcopy(REFUSAL)}}


REFUSAL = {
    "code": {"type": "string", "description": "Of a refused call: why it was refused."},
    "message": {"type": "string", "description": "Of a refused call: what is wrong, and what to do."},
    "retryable": {"type": "boolean", "description": "Of a refused call: whether the same call may be accepted later."},
}


def answer(text: str, data: dict[str, Any], *, is_error: bool = False, meta: dict[str, Any] | None = None) -> CallToolResult:
    """A text for the model, and the same as data; `meta` is for programs."""
    content: list[ContentBlock] = [TextContent(text=text)]
    return CallToolResult(content=content, structured_content=data, is_error=is_error, _meta=meta)


def refusal(code: str, message: str, *, retryable: bool = False, retry_after_seconds: float | None = None) -> CallToolResult:
    """A call that was refused: nothing was changed (`contract.md`, "Errors of a call")."""
    message = message.encode("utf-8", "backslashreplace").decode()  # it may quote what cannot be sent
    data: dict[str, Any] = {"code": code, "message": message, "retryable": retryable}
    if retry_after_seconds is not None:
        data["retry_after_seconds"] = retry_after_seconds
    return answer(f"{code}: {message}", data, is_error=True)


def refused(error: CallError) -> CallToolResult:
    return refusal(error.code, str(error), retryable=error.retryable, retry_after_seconds=error.retry_after_seconds)


def protocol_error(error: CallError, message: str | None = None, **data: Any) -> MCPError:
    """A refused call where there is no result to tell it in; `code` and `retryable` as in a tool's refusal."""
    code = INTERNAL_ERROR if error.retryable else INVALID_PARAMS
    return MCPError(code, message or str(error), {**data, "code": error.code, "retryable": error.retryable})

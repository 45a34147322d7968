"""Local Python functions as tools of an agent: what a model sees of them, and how a step finds and calls them.

A function under `@workflow_task` is a step of its own. Any other is called by the step `mcp_agent.agent.call_function`,
which finds it by its module and name.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any, cast

from mcp_types import ContentBlock, TextContent
from pydantic import BaseModel, ConfigDict, SerializeAsAny, field_serializer
from pydantic_core import from_json, to_json

from mcp_agent.errors import DefinitionError, WorkflowApplicationError
from mcp_agent.executor.definition import arguments_model, bind
from mcp_agent.workflows.llm.messages import LONGEST_TOOL_NAME, ToolSpec, tool_name, wire_form

CALL_FUNCTION = "mcp_agent.agent.call_function"
"""The name of the step that calls a function. Persisted: never change it."""

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_MAIN_IN_SANDBOX = "__temporal_main__"
"""What Temporal's sandbox calls the program's own module, `__main__` to the steps."""


class CallFunction(BaseModel):
    """The argument of `mcp_agent.agent.call_function`. `function`: `module:name`."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    function: str
    arguments: dict[str, Any] = {}


class FunctionResult(BaseModel):
    """What a function gave: MCP content, or the text of its error."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    content: list[SerializeAsAny[ContentBlock]] = []
    is_error: bool = False

    @field_serializer("content")
    def _wire_form(self, content: list[ContentBlock]) -> list[dict[str, Any]]:
        return [wire_form(block) for block in content]


def spec_of(function: Callable[..., Any], *, skip: int = 0) -> ToolSpec:
    """A function as a model sees it: its name, its docstring, and a schema of its parameters.

    Args:
        function: Any function with plain parameters.
        skip: How many of its first parameters are not the model's business (`self`).

    Raises:
        DefinitionError: A model cannot call it.
    """
    name = getattr(function, "__name__", "")
    if tool_name(name) != name:
        raise DefinitionError(
            f"Function `{name}` cannot be a tool: models know names of at most {LONGEST_TOOL_NAME} letters from a to z, digits "
            "and `_`. Rename it."
        )
    odd = [p for p in list(inspect.signature(function).parameters.values())[skip:] if p.kind not in _NAMED]
    if odd:
        raise DefinitionError(f"Function `{name}` takes `{odd[0]}`: a tool has plain parameters with names.")
    schema = arguments_model(function, skip=skip).model_json_schema(by_alias=True)
    return ToolSpec(name=name, description=inspect.cleandoc(function.__doc__ or ""), input_schema=schema)


def path_of(function: Callable[..., Any]) -> str:
    """Where a step finds it: `module:name`.

    Raises:
        DefinitionError: It is not at the top of a module.
    """
    if isinstance(function, FunctionType) and function.__name__ == function.__qualname__ and function.__name__ != "<lambda>":
        module = "__main__" if function.__module__ == _MAIN_IN_SANDBOX else function.__module__
        return f"{module}:{function.__name__}"
    raise DefinitionError(
        f"`{getattr(function, '__qualname__', function)}` cannot be a tool: a step finds functions at the top of a module only. "
        "Define it there with `def`, or make it a method of the workflow class and give `self.method`."
    )


def found(path: str) -> Callable[..., Any]:
    """The function that `path_of` names, with its decorators.

    Raises:
        WorkflowApplicationError: Type `UnknownFunction`: there is none in this process.
    """
    module, _, name = path.partition(":")
    try:
        function: Any = getattr(importlib.import_module(module), name, None)
    except ImportError:
        function = None
    if not isinstance(function, FunctionType):
        raise WorkflowApplicationError(
            f"The worker has no function `{path}`: start it with the module that defines it.",
            type="UnknownFunction",
            non_retryable=True,
        )
    return function


def with_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Callable[[], Any]:
    """The call of a function that a model has asked for. Raises InvalidArguments."""
    args = bind(function, arguments, skip=0)
    parameters = inspect.signature(function).parameters.values()
    named = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    split = len(args) - len(named)
    return partial(function, *args[:split], **dict(zip(named, args[split:], strict=True)))


def _has_content(items: list[Any]) -> bool:
    """Whether a list is MCP content, perhaps with texts among it."""
    return any(isinstance(item, ContentBlock) for item in items) and all(isinstance(i, ContentBlock | str) for i in items)


def content_of(value: Any) -> tuple[list[ContentBlock], dict[str, Any] | None]:
    """A function's value for a client or a model: MCP content as it is, text as text, anything else as JSON.

    Returns:
        The content, and beside it the value itself where it is a JSON object.

    Raises:
        PydanticSerializationError: It has no JSON form.
        UnicodeEncodeError: It holds half a character.
    """
    if isinstance(value, str):
        value.encode()
        return [TextContent(text=value)], None
    if isinstance(value, ContentBlock):
        to_json(value)
        return [value], None
    if isinstance(value, list) and _has_content(cast("list[Any]", value)):
        to_json(value)
        return [TextContent(text=item) if isinstance(item, str) else item for item in cast("list[Any]", value)], None
    data = to_json(value)
    structured: Any = from_json(data)
    return [TextContent(text=data.decode())], cast("dict[str, Any]", structured) if isinstance(structured, dict) else None

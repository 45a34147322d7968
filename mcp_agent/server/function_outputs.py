"""What functions give as tools: content for models, the same as data, and the schema of that data."""

from __future__ import annotations

import asyncio
import typing
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ContentBlock, InputRequiredResult
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from mcp_agent.errors import CallError
from mcp_agent.executor.failures import error_text, failure_type
from mcp_agent.executor.workflow import WorkflowResult
from mcp_agent.server.entries import REFUSAL, refusal
from mcp_agent.workflows.llm.functions import content_of

_ANSWERS = (*typing.get_args(ContentBlock), CallToolResult, InputRequiredResult)
_RUN = {name: {"type": "string"} for name in ("run_id", "status")}
_OTHERWISE = [
    {"type": "object", "properties": _RUN, "required": list(_RUN)},
    {"type": "object", "properties": REFUSAL, "required": list(REFUSAL)},
]


@dataclass(frozen=True)
class FunctionOutput:
    """Args:
    tool: The tool's name.
    adapter: Of the return type; `None` where that tells nothing or has no JSON form.
    schema: Of the data: a value, a run where the caller does not wait long enough, or a refusal; `None` where the function's
        signature does not tell what it gives, or where it gives MCP content.
    wrapped: The value is no JSON object: the data has it as `result`.
    """

    tool: str
    adapter: TypeAdapter[Any] | None
    schema: dict[str, Any] | None
    wrapped: bool

    @classmethod
    def of(cls, tool: str, returned: Any) -> FunctionOutput:
        """Of a function with that return type."""
        if returned in (Any, object):
            return cls(tool, None, None, wrapped=False)
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(returned)
            if _has_content(returned):
                return cls(tool, adapter, None, wrapped=False)
            value = adapter.json_schema(mode="serialization")
        except PydanticUserError:  # its values may have a JSON form all the same
            return cls(tool, None, None, wrapped=False)
        types = value.pop("$defs", {})
        wrapped = not _is_object(value, types)
        if wrapped:
            value = {"type": "object", "properties": {"result": value}, "required": ["result"]}
        schema = {"type": "object", "anyOf": [value, *deepcopy(_OTHERWISE)]}
        return cls(tool, adapter, {**schema, "$defs": types} if types else schema, wrapped)

    def outcome(self, task: asyncio.Task[Any]) -> CallToolResult | InputRequiredResult:
        """What a call of the function has come to.

        Raises:
            CallError, MCPError: What the function means to answer with.
        """
        if task.cancelled():
            return refusal("cancelled", f"`{self.tool}` was cancelled.")
        error = task.exception()
        if isinstance(error, CallError | MCPError):
            raise error
        if error is not None:
            return refusal(failure_type(error), f"`{self.tool}` failed: {error_text(error)}")
        try:
            return self._answer(task.result())
        except ValueError as problem:  # pydantic's, that of text which is no Unicode, that of a number with too many digits
            return refusal("unserializable_result", f"`{self.tool}` returned what has no JSON form: {problem}")

    def late(self, task: asyncio.Task[Any]) -> CallToolResult:
        """The same, of a call whose client no longer waits."""
        outcome = self.outcome(task)
        if isinstance(outcome, CallToolResult):
            return outcome
        return refusal(
            "input_required", f"`{self.tool}` asked for input after its client had stopped to wait: ask in a workflow."
        )

    def _answer(self, value: Any) -> CallToolResult | InputRequiredResult:
        if isinstance(value, CallToolResult | InputRequiredResult):
            to_json(value)  # what cannot be sent is an error now, and no answer later
            return value
        if not isinstance(value, WorkflowResult):
            return self.result(value)
        given = cast("WorkflowResult[Any]", value)
        if given.error is not None:
            return refusal("workflow_error", f"`{self.tool}` failed: {given.error}")
        return self.result(given.value)

    def restored(self, data: Any) -> Any:
        """The value that a run has kept as JSON: MCP content is content again."""
        return data if self.adapter is None or self.schema is not None else self.adapter.validate_python(data)

    def result(self, value: Any) -> CallToolResult:
        """A refusal for a value that is not of the return type: clients hold answers to the schema, and tell nobody why.

        Raises ValueError for what has no JSON form.
        """
        if isinstance(value, CallToolResult):
            return value
        content, structured = content_of(value)
        if self.schema is None:
            return CallToolResult(content=content, structured_content=structured)
        plain = to_json(value, inf_nan_mode="strings")
        typed = self._typed(value)
        if typed == plain:
            return CallToolResult(content=content, structured_content=self._data(plain))
        problem = None
        for form in (plain,) if typed is None else (typed, plain):
            data = self._data(form)
            problem = next(self._validator.iter_errors(data), None)
            if problem is None:
                return CallToolResult(content=content, structured_content=data)
        assert problem is not None
        why = f"`{problem.json_path}`: {problem.message[:300]}"
        return refusal("unfit_result", f"`{self.tool}` returned what does not fit its return type: {why}")

    def _typed(self, value: Any) -> bytes | None:
        """Its JSON by the return type, which then fits the schema; `None` for a value that is not quite of it."""
        assert self.adapter is not None
        try:
            form = self.adapter.dump_json(value, by_alias=True, warnings="error")
            if b"null" in form:  # `None` is written whatever the type
                self.adapter.validate_python(value, strict=True)
        except (PydanticSerializationError, ValidationError):
            return None
        return form

    def _data(self, form: bytes) -> Any:
        data = from_json(form)
        return {"result": data} if self.wrapped else data

    @cached_property
    def _validator(self) -> Any:
        """Of values alone, without what may stand in their place."""
        from jsonschema import Draft202012Validator  # noqa: PLC0415 - only for values that are not quite of their type
        from referencing import Registry  # noqa: PLC0415

        schema = self.schema or {}
        value = {**schema["anyOf"][0], "$defs": schema.get("$defs", {})}
        return Draft202012Validator(value, registry=Registry())


def _has_content(returned: Any) -> bool:
    return returned in _ANSWERS or any(_has_content(part) for part in typing.get_args(returned))


def _is_object(schema: Mapping[str, Any], types: Mapping[str, Any]) -> bool:
    """Whether all values of the schema are objects; that of a recursive type is a reference."""
    named = types.get(schema["$ref"].rpartition("/")[2], {}) if "$ref" in schema else schema
    return named.get("type") == "object"

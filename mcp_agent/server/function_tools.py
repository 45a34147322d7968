"""Functions under `@app.tool` and `@app.async_tool` as tools."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from mcp_types import CallToolResult, Tool, ToolAnnotations
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from mcp_agent.app import FunctionTool
from mcp_agent.errors import CallError
from mcp_agent.executor.asyncio.executor import InProcessExecutor
from mcp_agent.executor.definition import arguments_model
from mcp_agent.executor.failures import contained, error_text, failure_type, in_thread
from mcp_agent.executor.registry import new_run_id
from mcp_agent.server.entries import Request, ToolEntry, parsed, refusal, schema_of
from mcp_agent.server.names import check_name
from mcp_agent.server.run import Run
from mcp_agent.server.runs import Runs
from mcp_agent.server.workflow_tools import GENERIC
from mcp_agent.workflows.llm.functions import content_of


class FunctionTools:
    """Args:
    tools: The functions.
    runs: For those that start runs.
    local: Where a call goes that outlives its caller's wait.
    around: What each call of a function in this process is made in.
    """

    def __init__(
        self,
        tools: Iterable[FunctionTool],
        runs: Runs,
        local: InProcessExecutor,
        around: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._around = around
        self._tools = list(tools)
        self._runs = runs
        self._local = local

    def names(self) -> list[str]:
        """What the tools will be called. Raises DefinitionError for a name that MCP does not allow."""
        for tool in self._tools:
            check_name(tool.name, "Tool")
        return [tool.name for tool in self._tools]

    def entries(self) -> Iterator[ToolEntry]:
        for tool in self._tools:
            yield self._durable(tool) if tool.durable else self._direct(tool)

    def _durable(self, tool: FunctionTool) -> ToolEntry:
        model = arguments_model(tool.definition.run)

        async def call(_: Request, arguments: dict[str, Any]) -> CallToolResult:
            values = _values(parsed(model, arguments))
            executor = await self._runs.executor()
            started = await self._runs.start(executor, tool.definition, values, None)
            state = await executor.describe_run(started.run_id)
            return self._runs.shown(state, tool.definition, GENERIC).result()

        described = (
            f"{tool.description}\n\nStarts a durable run and answers at once; `{GENERIC['get_status']}` tells how it goes."
        )
        return ToolEntry(
            Tool(
                name=tool.name,
                title=tool.title or tool.name,
                description=described.strip(),
                input_schema=schema_of(model),
                output_schema=Run.model_json_schema(by_alias=True, mode="serialization"),
                annotations=ToolAnnotations(read_only_hint=False),
            ),
            call,
        )

    def _direct(self, tool: FunctionTool) -> ToolEntry:
        model = arguments_model(tool.definition.run)
        invoke = _invoker(tool.function, self._around)
        limit = self._runs.budget(None)

        async def call(_: Request, arguments: dict[str, Any]) -> CallToolResult:
            task = asyncio.create_task(invoke(_values(parsed(model, arguments))))
            try:
                done, _pending = await asyncio.wait({task}, timeout=limit)
            except asyncio.CancelledError:
                task.cancel()
                raise
            return _outcome(tool, task) if done else await self._handle(tool, task)

        return ToolEntry(
            Tool(
                name=tool.name,
                title=tool.title or tool.name,
                description=tool.description,
                input_schema=schema_of(model),
            ),
            call,
        )

    async def _handle(self, tool: FunctionTool, task: asyncio.Task[Any]) -> CallToolResult:
        """The call takes longer than its caller waits: it goes on as a run of this process."""
        run_id = new_run_id(tool.name)
        self._local.adopt(tool.name, run_id, task)
        state = await self._local.describe_run(run_id)
        return self._runs.shown(state, tool.definition, GENERIC).result()


def _invoker(
    function: Callable[..., Any], around: Callable[[], AbstractAsyncContextManager[None]]
) -> Callable[[list[Any]], Coroutine[Any, Any, Any]]:
    if not inspect.iscoroutinefunction(function):
        target: Callable[..., Coroutine[Any, Any, Any]] = partial(in_thread, function)
    else:
        target = function

    async def invoke(values: list[Any]) -> Any:
        with contained():
            async with around():
                return await target(*values)

    return invoke


def _values(model: BaseModel) -> list[Any]:
    return [getattr(model, name) for name in type(model).model_fields]


def _outcome(tool: FunctionTool, task: asyncio.Task[Any]) -> CallToolResult:
    if task.cancelled():
        return refusal("cancelled", f"`{tool.name}` was cancelled.")
    error = task.exception()
    if isinstance(error, CallError):
        raise error
    if error is not None:
        return refusal(failure_type(error), f"`{tool.name}` failed: {error_text(error)}")
    try:
        return _as_result(task.result())
    except (PydanticSerializationError, UnicodeEncodeError) as problem:
        return refusal("unserializable_result", f"`{tool.name}` returned what has no JSON form: {problem}")


def _as_result(value: Any) -> CallToolResult:
    if isinstance(value, CallToolResult):
        to_json(value)  # what cannot be sent is an error now, and no answer later
        return value
    content, structured = content_of(value)
    return CallToolResult(content=content, structured_content=structured)

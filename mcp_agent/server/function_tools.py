"""Functions under `@app.tool` and `@app.async_tool` as tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mcp_types import CallToolResult, Tool, ToolAnnotations
from pydantic import BaseModel

from mcp_agent.errors import DefinitionError, InvalidArguments
from mcp_agent.executor.asyncio.adopted import AdoptedRun
from mcp_agent.executor.asyncio.executor import InProcessExecutor
from mcp_agent.executor.definition import arguments_model, check_parameters
from mcp_agent.executor.runs import RunState
from mcp_agent.served import FunctionTool
from mcp_agent.server.direct_calls import CallMessages, DirectCalls
from mcp_agent.server.entries import Outcome, ToolCall, ToolEntry, parsed, refusal, schema_of
from mcp_agent.server.function_outputs import FunctionOutput
from mcp_agent.server.names import check_name
from mcp_agent.server.output_schemas import run_output
from mcp_agent.server.page.run_page import shown_by_page
from mcp_agent.server.runs import Runs
from mcp_agent.server.tasks import check_declared, created, declared
from mcp_agent.server.workflow_tools import GENERIC


class FunctionTools:
    """Args:
    app_name: Whose page shows runs.
    tools: The functions.
    runs: For those that start runs.
    local: Where a call goes that outlives its caller's wait.
    calls: Calls the functions that are no runs.
    """

    def __init__(
        self, app_name: str, tools: Iterable[FunctionTool], runs: Runs, local: InProcessExecutor, calls: DirectCalls
    ) -> None:
        self._app_name = app_name
        self._calls = calls
        self._tools = list(tools)
        self._by_name = {tool.name: tool for tool in self._tools}
        self._checks: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._outputs: dict[str, FunctionOutput] = {}
        self._runs = runs
        self._local = local

    def names(self) -> list[str]:
        """What the tools will be called.

        Raises:
            DefinitionError: MCP does not allow a name, a type cannot be served, or a schema is none.
        """
        for tool in self._tools:
            check_name(tool.name, "Tool")
            if tool.input_schema is None:
                check_parameters(tool.function, skip=0, shown=True)
            if tool.durable:
                tool.definition.check_types()
            self._checks[tool.name] = _checker(tool)
            self._outputs[tool.name] = FunctionOutput.of(tool.name, tool.definition.value_type)
        return [tool.name for tool in self._tools]

    def entries(self) -> Iterator[ToolEntry]:
        for tool in self._tools:
            yield self._durable(tool) if tool.durable else self._direct(tool)

    def _durable(self, tool: FunctionTool) -> ToolEntry:
        model = arguments_model(tool.definition.run)
        check = self._checks[tool.name]

        async def call(call: ToolCall) -> Outcome:
            as_task = declared(call.request)
            if tool.requires_task:
                check_declared(call.request)
            check(call.arguments)
            values = _values(parsed(model, call.arguments))
            seconds = self._runs.budget(call.caller) if tool.waits and not as_task else 0
            state, _ = await self._runs.run(call, tool.definition, values, None, seconds)
            if not isinstance(state, RunState):
                return state
            return self._handle(call, tool, state) if as_task else self.outcome(state) or self._handle(call, tool, state)

        status = GENERIC["get_status"]
        if tool.waits:
            how = f"Durable: it goes on if it takes longer than its caller waits; then `{status}` tells how it goes."
        else:
            how = f"Starts a durable run and answers at once; `{status}` tells how it goes."
        shown = self._shown(tool, model, f"{tool.description}\n\n{how}")
        if not tool.waits:
            shown.output_schema = run_output()
            shown.meta = {**shown_by_page(self._app_name), **(tool.meta or {})}
        shown.annotations = tool.annotations or ToolAnnotations(read_only_hint=False)
        return ToolEntry(shown, call)

    def _direct(self, tool: FunctionTool) -> ToolEntry:
        model = arguments_model(tool.definition.run)
        check = self._checks[tool.name]

        async def call(call: ToolCall) -> Outcome:
            call.caller.check_may("run", tool.name)
            check(call.arguments)
            values = _values(parsed(model, call.arguments))
            messages = self._calls.begin(call.request, call.params, tool.name)
            task = asyncio.create_task(self._calls.invoke(messages, tool.function, *values))
            try:
                done, _pending = await asyncio.wait({task}, timeout=self._runs.budget(call.caller))
            except asyncio.CancelledError:
                task.cancel()
                raise
            return self._outputs[tool.name].outcome(task) if done else await self._adopted(call, tool, task, messages)

        return ToolEntry(self._shown(tool, model, tool.description), call)

    async def _adopted(self, call: ToolCall, tool: FunctionTool, task: asyncio.Task[Any], messages: CallMessages) -> Outcome:
        """The call takes longer than its caller waits: it goes on as a run of this process."""
        messages.detach()
        run_id = self._runs.new_id(call.caller, tool.name)
        self._local.adopt(AdoptedRun(tool.name, run_id, task, messages.began_at, lambda: messages.progress))
        return self._handle(call, tool, await self._local.describe_run(run_id))

    def _handle(self, call: ToolCall, tool: FunctionTool, state: RunState) -> Outcome:
        """A run as the client knows it: a task, or a run that it asks about."""
        shown = self._runs.shown(state, tool.definition, GENERIC)
        return created(shown) if declared(call.request) else shown.result()

    def outcome(self, state: RunState) -> CallToolResult | None:
        """What a function gave, as its callers want it; `None` for a run whose callers get a handle, or that has given nothing.

        Raises:
            CallError: The call was refused.
            MCPError: It ended so.
        """
        tool = self._by_name.get(state.workflow)
        if tool is None or not tool.waits or not state.closed:
            return None
        if tool.durable:
            return self._given(tool, state)
        if not self._local.knows(state.run_id):
            return None
        run = self._local.run_of(state.run_id)
        return self._outputs[tool.name].late(run.task) if isinstance(run, AdoptedRun) else None

    def _given(self, tool: FunctionTool, state: RunState) -> CallToolResult | None:
        """What a durable function gave; `None` for what is too large, and for one that was ended from outside."""
        if state.error is not None and state.status == "failed":
            return refusal(state.error.code, f"`{tool.name}` failed: {state.error.message}", retryable=state.error.retryable)
        if state.status != "completed" or self._runs.shown(state, tool.definition, GENERIC).run.truncated:
            return None
        output = self._outputs[tool.name]
        return output.result(output.restored(state.result))

    def _shown(self, tool: FunctionTool, model: type[BaseModel], description: str) -> Tool:
        return Tool(
            name=tool.name,
            title=tool.title or tool.name,
            description=description.strip(),
            input_schema=schema_of(model) if tool.input_schema is None else dict(tool.input_schema),
            output_schema=self._outputs[tool.name].schema,
            annotations=tool.annotations,
            icons=list(tool.icons) or None,
            _meta=None if tool.meta is None else dict(tool.meta),
        )


def _checker(tool: FunctionTool) -> Callable[[dict[str, Any]], None]:
    """Checks arguments against the schema that the tool was given. Raises DefinitionError for one that is none."""
    if tool.input_schema is None:
        return lambda _: None
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 - only for tools that need it
    from referencing import Registry  # noqa: PLC0415

    try:
        Draft202012Validator.check_schema(tool.input_schema)
    except SchemaError as error:
        raise DefinitionError(f"`input_schema` of tool `{tool.name}`: {error.message}.") from None
    validator = Draft202012Validator(tool.input_schema, registry=Registry())

    def check(arguments: dict[str, Any]) -> None:
        problems = [f"`{error.json_path}`: {error.message[:300]}" for error in validator.iter_errors(arguments)]
        if problems:
            raise InvalidArguments(f"{'; '.join(problems[:10])}. Nothing was changed.")

    return check


def _values(model: BaseModel) -> list[Any]:
    return [getattr(model, name) for name in type(model).model_fields]

"""The tools that are generated for workflows (`contract.md`, "Tools")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, cast

from mcp_types import CallToolResult, Tool, ToolAnnotations
from pydantic import Field

from mcp_agent.errors import InvalidArguments, NotFound
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.runs import RunFilter, RunState, RunStatus
from mcp_agent.server import texts
from mcp_agent.server.entries import Arguments, Request, ToolEntry, answer, parsed, schema_of
from mcp_agent.server.names import check_name, workflow_tool
from mcp_agent.server.run import Run, show, signals_of
from mcp_agent.server.runs import Runs

_RUN_ID = Field(min_length=1, max_length=1_000, description="The run's id, as `-run` gave it.")
_WAIT = Field(
    default=None,
    ge=0,
    description="Seconds to wait for the run to end or to need a person; the server's budget by default and at most.",
)
_KEY = Field(default=None, description="A key of your own: the same key with the same input is the same run, not a second.")


class StatusArguments(Arguments):
    run_id: str = _RUN_ID
    wait_seconds: float | None = _WAIT


class ResumeArguments(Arguments):
    run_id: str = _RUN_ID
    request_id: str | None = Field(default=None, description="The request that is answered; the only pending one by default.")
    signal_name: str | None = Field(default=None, description="A signal of the workflow, instead of a request.")
    payload: Any = Field(default=None, description="The answer.")


class CancelArguments(Arguments):
    run_id: str = _RUN_ID
    reason: str | None = Field(default=None, max_length=1_000, description="Why, for the record.")


class ListArguments(Arguments):
    """`workflows-list` takes nothing."""


class RunsListArguments(Arguments):
    workflow: str | None = Field(default=None, description="Only runs of this workflow.")
    status: RunStatus | None = Field(default=None, description="Only runs in this status.")
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


class _Generic(Arguments):
    workflow: str | None = Field(default=None, description="The run's workflow; read off the run's id by default.")


class GenericStatusArguments(StatusArguments, _Generic): ...


class GenericResumeArguments(ResumeArguments, _Generic): ...


class GenericCancelArguments(CancelArguments, _Generic): ...


class GenericRunArguments(Arguments):
    workflow: str = Field(description="What to run: a name that `workflows-list` shows.")
    run_parameters: dict[str, Any] = Field(default={}, description="By name, as `workflows-list` shows them.")
    workflow_id: str | None = _KEY
    wait_seconds: float | None = _WAIT


GENERIC = {
    "run": "workflows-run",
    "get_status": "workflows-get_status",
    "resume": "workflows-resume",
    "cancel": "workflows-cancel",
}
LIST, RUNS_LIST = "workflows-list", "workflows-runs-list"
_CONTROL = ("workflow_id", "wait_seconds")


class WorkflowTools:
    """All tools of an app's workflows.

    Args:
        app_name: For the length of names.
        workflows: What can be run with tools of its own.
        functions: Workflows that were generated for function tools: they are run by those, and looked at by generic tools.
        runs: What the tools do.
        most: With more workflows than this, one generic set serves them all.
    """

    def __init__(
        self,
        app_name: str,
        workflows: Mapping[str, WorkflowDefinition],
        functions: Mapping[str, WorkflowDefinition],
        runs: Runs,
        most: int,
    ) -> None:
        self._app_name = app_name
        self._workflows = workflows
        self._functions = functions
        self._runs = runs
        self._one_set = len(workflows) > most

    def names(self) -> list[str]:
        """What the tools will be called. Raises DefinitionError for a name that MCP does not allow."""
        for name in self._workflows:
            check_name(name, "Workflow")
        own = [] if self._one_set else [tool for name in self._workflows for tool in self.tools_of(name).values()]
        generic = [GENERIC["run"]] if self._one_set else []
        if self._one_set or self._functions:
            generic += [GENERIC["get_status"], GENERIC["resume"], GENERIC["cancel"]]
        return [LIST, RUNS_LIST, *own, *generic]

    def entries(self) -> Iterator[ToolEntry]:
        yield self._list_entry()
        yield self._runs_list_entry()
        if self._one_set:
            yield self._generic_run_entry()
        else:
            for definition in self._workflows.values():
                yield from self._own_entries(definition)
        if self._one_set or self._functions:
            yield from self._look_entries(None, GENERIC, "a run")

    def tools_of(self, workflow: str) -> dict[str, str]:
        """The names of the tools for runs of `workflow`."""
        if self._one_set or workflow not in self._workflows:
            return GENERIC
        return {action: workflow_tool(self._app_name, workflow, action) for action in GENERIC}

    # Run

    def _own_entries(self, definition: WorkflowDefinition) -> Iterator[ToolEntry]:
        tools = self.tools_of(definition.name)
        description = definition.description or f"Runs the workflow {definition.name}."
        yield ToolEntry(
            Tool(
                name=tools["run"],
                title=f"Run {definition.name}",
                description=f"{description}\n\nStarts a durable run and waits for it; a run that takes longer goes on by itself.",
                input_schema=_run_schema(definition),
                output_schema=_run_output(definition),
                annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
            ),
            lambda request, arguments: self._run(request, definition, *_run_arguments(definition, arguments)),
        )
        yield from self._look_entries(definition, tools, f"a run of {definition.name}")

    async def _run(
        self, request: Request, definition: WorkflowDefinition, args: list[Any], key: str | None, wait: float | None
    ) -> CallToolResult:
        executor = await self._runs.executor()
        started = await self._runs.start(executor, definition, args, key)
        state = await self._runs.wait(executor, request, started.run_id, self._runs.budget(wait))
        tools = self.tools_of(definition.name)
        return self._runs.shown(state, definition, tools, existing=started.existing).result(failed_is_error=True)

    def _generic_run_entry(self) -> ToolEntry:
        async def call(request: Request, arguments: dict[str, Any]) -> CallToolResult:
            given = parsed(GenericRunArguments, arguments)
            definition = self._definition(given.workflow)
            args = definition.bind(given.run_parameters)
            return await self._run(request, definition, args, given.workflow_id, given.wait_seconds)

        tool = Tool(
            name=GENERIC["run"],
            title="Run a workflow",
            description="Starts a durable run of a workflow and waits for it. `workflows-list` shows what there is.",
            input_schema=schema_of(GenericRunArguments),
            output_schema=Run.model_json_schema(by_alias=True, mode="serialization"),
            annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
        )
        return ToolEntry(tool, call)

    # Look, resume, cancel

    def _look_entries(self, own: WorkflowDefinition | None, tools: Mapping[str, str], what: str) -> Iterator[ToolEntry]:
        generic = own is None
        yield ToolEntry(
            Tool(
                name=tools["get_status"],
                title=f"Status of {what}",
                description=f"Where {what} stands, and its result once it has one. Waits up to `wait_seconds` for news.",
                input_schema=schema_of(GenericStatusArguments if generic else StatusArguments),
                output_schema=_run_output(own),
                annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
            ),
            lambda request, arguments: self._get_status(request, own, arguments),
        )
        yield ToolEntry(
            Tool(
                name=tools["resume"],
                title=f"Answer {what}",
                description=f"Gives {what} what a person answered, or sends it a signal. Ask the user; do not answer yourself.",
                input_schema=schema_of(GenericResumeArguments if generic else ResumeArguments),
                output_schema=_wrapped_output(
                    own, {"request_id": "string", "signal": "string", "accepted": "boolean", "duplicate": "boolean"}
                ),
                annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
            ),
            lambda request, arguments: self._resume(own, arguments),
        )
        yield ToolEntry(
            Tool(
                name=tools["cancel"],
                title=f"Cancel {what}",
                description=f"Asks {what} to stop. Harmless for one that has ended.",
                input_schema=schema_of(GenericCancelArguments if generic else CancelArguments),
                output_schema=_wrapped_output(own, {"accepted": "boolean", "already_closed": "boolean"}),
                annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True),
            ),
            lambda request, arguments: self._cancel(own, arguments),
        )

    async def _get_status(self, request: Request, own: WorkflowDefinition | None, arguments: dict[str, Any]) -> CallToolResult:
        given = parsed(StatusArguments if own else GenericStatusArguments, arguments)
        executor = await self._runs.executor()
        definition = self._meant(own, given)
        state = await self._runs.find(executor, given.run_id, definition)
        seconds = self._runs.budget(given.wait_seconds or 0)
        if not state.needs_attention and seconds > 0:
            state = await self._runs.wait(executor, request, given.run_id, seconds)
        return self._shown(state)

    async def _resume(self, own: WorkflowDefinition | None, arguments: dict[str, Any]) -> CallToolResult:
        given = parsed(ResumeArguments if own else GenericResumeArguments, arguments)
        executor = await self._runs.executor()
        state = await self._runs.find(executor, given.run_id, self._meant(own, given))
        definition = self._definition(state.workflow)
        receipt = await self._runs.resume(
            executor,
            state,
            definition,
            request_id=given.request_id,
            signal_name=given.signal_name,
            payload=given.payload,
        )
        after = await executor.describe_run(given.run_id)
        run = self._runs.shown(after, definition, self.tools_of(after.workflow))
        data: dict[str, Any] = {
            "run_id": given.run_id,
            "signal": receipt.name,
            "accepted": not receipt.duplicate,
            "duplicate": receipt.duplicate,
            "run": run.run.dump(),
        }
        if receipt.request_id is not None:
            data["request_id"] = receipt.request_id
        return answer(f"{texts.resumed(after, receipt)} {run.text}", data)

    async def _cancel(self, own: WorkflowDefinition | None, arguments: dict[str, Any]) -> CallToolResult:
        given = parsed(CancelArguments if own else GenericCancelArguments, arguments)
        executor = await self._runs.executor()
        state = await self._runs.find(executor, given.run_id, self._meant(own, given))
        closed = state.closed
        if not closed:
            await executor.cancel_run(given.run_id, given.reason)
            state = await executor.describe_run(given.run_id)
        run = self._runs.shown(state, self._known(state.workflow), self.tools_of(state.workflow))
        data = {"run_id": given.run_id, "accepted": not closed, "already_closed": closed, "run": run.run.dump()}
        return answer(f"{texts.cancelled(state, already_closed=closed)} {run.text}", data)

    def _shown(self, state: RunState) -> CallToolResult:
        return self._runs.shown(state, self._known(state.workflow), self.tools_of(state.workflow)).result()

    # Lists

    def _list_entry(self) -> ToolEntry:
        async def call(_: Request, arguments: dict[str, Any]) -> CallToolResult:
            parsed(ListArguments, arguments)
            listed = [self._listed(definition) for definition in self._workflows.values()]
            lines = [f"- {one['name']}: {one['description'] or 'no description'}" for one in listed]
            return answer("\n".join(["Workflows:", *lines]) if lines else "There are no workflows.", {"workflows": listed})

        tool = Tool(
            name=LIST,
            title="List workflows",
            description="Every workflow with what it takes and returns, its signals and queries, and its tools.",
            input_schema=schema_of(ListArguments),
            output_schema=_object({"workflows": {"type": "array", "items": {"type": "object"}}}),
            annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
        )
        return ToolEntry(tool, call)

    def _listed(self, definition: WorkflowDefinition) -> dict[str, Any]:
        return {
            "name": definition.name,
            "description": definition.description,
            "input_schema": definition.parameters_schema(),
            "output_schema": definition.result_schema(),
            "signals": [signal.model_dump(mode="json", by_alias=True) for signal in signals_of(definition)],
            "queries": [h.name for h in definition.handlers if h.kind == "query" and h.name is not None],
            "tools": self.tools_of(definition.name),
        }

    def _runs_list_entry(self) -> ToolEntry:
        tool = Tool(
            name=RUNS_LIST,
            title="List runs",
            description="Runs, first those under way, then those that ended, newest first. Results are left out: ask for the "
            "status of one to see it.",
            input_schema=schema_of(RunsListArguments),
            output_schema=_object(
                {"runs": {"type": "array", "items": {"type": "object"}}, "next_cursor": {"type": ["string", "null"]}}
            ),
            annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
        )
        return ToolEntry(tool, lambda request, arguments: self._runs_list(arguments))

    async def _runs_list(self, arguments: dict[str, Any]) -> CallToolResult:
        given = parsed(RunsListArguments, arguments)
        names = tuple({**self._workflows, **self._functions})
        if given.workflow is not None:
            names = (self._definition(given.workflow).name,)
        executor = await self._runs.executor()
        page = await executor.list_runs(RunFilter(names, given.status, given.limit, given.cursor))
        shown = [show(state, None, self.tools_of(state.workflow)) for state in page.runs]
        lines = [f"- `{run.run_id}`: {run.status}, started {run.started_at:%Y-%m-%d %H:%M:%S} UTC" for run in shown]
        more = [f"More with cursor=`{page.cursor}`."] if page.cursor else []
        text = "\n".join([*lines, *more]) if lines or more else "There are no such runs."
        return answer(text, {"runs": [run.dump() for run in shown], "next_cursor": page.cursor})

    # Which workflow is meant

    def _known(self, name: str) -> WorkflowDefinition | None:
        return self._workflows.get(name) or self._functions.get(name)

    def _definition(self, name: str) -> WorkflowDefinition:
        found = self._known(name)
        if found is None:
            raise NotFound(f"There is no workflow `{name}`. {did_you_mean(name, self._workflows)}")
        return found

    def _meant(self, own: WorkflowDefinition | None, given: Arguments) -> WorkflowDefinition | None:
        """The workflow that a run must be of: the tool's own, or the one that a generic tool was told."""
        if own is not None:
            return own
        told = getattr(given, "workflow", None)
        if told is not None:
            return self._definition(told)
        run_id: str = getattr(given, "run_id", "")
        return self._known(run_id.rpartition(".")[0]) or self._known(run_id.partition(".")[0]) or self._nobodys(run_id)

    def _nobodys(self, run_id: str) -> WorkflowDefinition:
        raise NotFound(f"There is no run `{run_id}`.")


def _run_arguments(definition: WorkflowDefinition, arguments: dict[str, Any]) -> tuple[list[Any], str | None, float | None]:
    """`run`'s arguments, the key and the wait; the parameters may stand in `run_parameters` or beside the others."""
    clash = {parameter.name for parameter in definition.parameters} & {"run_parameters", *_CONTROL}
    control = {name: arguments[name] for name in _CONTROL if name in arguments}
    rest = {name: value for name, value in arguments.items() if name not in control}
    given = parsed(_Control, control)
    if "run_parameters" in arguments or clash or not rest:
        nested = rest.pop("run_parameters", {})
        if rest:
            names = ", ".join(f"`{name}`" for name in sorted(rest))
            raise InvalidArguments(f"{names}: not known beside `run_parameters`. Nothing was changed.")
        if not isinstance(nested, dict):
            raise InvalidArguments("`run_parameters`: must be an object. Nothing was changed.")
        rest = cast("dict[str, Any]", nested)
    return definition.bind(rest), given.workflow_id, given.wait_seconds


class _Control(Arguments):
    workflow_id: str | None = _KEY
    wait_seconds: float | None = _WAIT


def _run_schema(definition: WorkflowDefinition) -> dict[str, Any]:
    parameters = definition.parameters_schema()
    definitions = parameters.pop("$defs", None)
    parameters.pop("title", None)
    schema = schema_of(_Control)
    described = {"description": "What `run` takes. Its fields are also accepted beside the others, without this level."}
    schema["properties"] = {"run_parameters": {**parameters, **described}, **schema["properties"]}
    if parameters.get("required"):
        schema["required"] = ["run_parameters"]
    if definitions:
        schema["$defs"] = definitions
    return schema


def _run_schema_of_all() -> dict[str, Any]:
    return deepcopy(_generated_run_schema())


@cache
def _generated_run_schema() -> dict[str, Any]:
    return Run.model_json_schema(by_alias=True, mode="serialization")


def _run_output(definition: WorkflowDefinition | None) -> dict[str, Any]:
    """The schema of `Run`, with the type of its result where it is known."""
    schema = _run_schema_of_all()
    schema["required"] = ["run_id", "workflow", "status", "started_at", "updated_at"]
    if definition is not None:
        result = definition.result_schema()
        schema.setdefault("$defs", {}).update(result.pop("$defs", {}))
        schema["properties"]["result"] = {"anyOf": [result, {"type": "null"}]}
    return schema


def _wrapped_output(definition: WorkflowDefinition | None, fields: Mapping[str, str]) -> dict[str, Any]:
    run = _run_output(definition)
    definitions = run.pop("$defs", {})
    properties: dict[str, Any] = {"run_id": {"type": "string"}, "run": run}
    properties.update({name: {"type": kind} for name, kind in fields.items()})
    return {**_object(properties), "$defs": definitions}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties)}

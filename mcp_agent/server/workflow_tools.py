"""The tools that are generated for workflows (`contract.md`, "Tools")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from mcp_types import CallToolResult, Tool, ToolAnnotations
from pydantic import Field

from mcp_agent.errors import InvalidArguments, NotFound
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.runs import RunState, RunStatus
from mcp_agent.server import texts
from mcp_agent.server.entries import Arguments, Outcome, ToolCall, ToolEntry, answer, or_refusal, parsed, schema_of
from mcp_agent.server.names import check_name, workflow_tool
from mcp_agent.server.output_schemas import run_output
from mcp_agent.server.page.run_page import shown_by_page
from mcp_agent.server.run import show
from mcp_agent.server.runs import Runs, Shown
from mcp_agent.server.tasks import created, declared

STOPPING = 2.0
"""Seconds that a cancel waits for the run to stop, so that its answer tells the end."""
_RUN_ID = Field(min_length=1, max_length=1_000, description="The run's id, as `-run` gave it.")
_WAIT = Field(
    default=None,
    ge=0,
    description="Seconds to wait for the run to end or to need a person; the server's budget by default and at most.",
)
_KEY = Field(default=None, description="A key of your own: the same key with the same input is the same run, not a second.")


class _OfRun(Arguments):
    run_id: str = _RUN_ID


class StatusArguments(_OfRun):
    wait_seconds: float | None = _WAIT


class ResumeArguments(_OfRun):
    request_id: str | None = Field(default=None, description="The request that is answered; the only pending one by default.")
    signal_name: str | None = Field(default=None, description="A signal of the workflow, instead of a request.")
    payload: Any = Field(default=None, description="The answer.")


class CancelArguments(_OfRun):
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
        self._tools = {} if self._one_set else {name: _tools_of(app_name, name) for name in workflows}

    def names(self) -> list[str]:
        """What the tools will be called. Raises DefinitionError for a name that MCP does not allow, and unfit types."""
        for name, definition in self._workflows.items():
            check_name(name, "Workflow")
            definition.check_types(shown=True)
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

    @property
    def workflows(self) -> Mapping[str, WorkflowDefinition]:
        """What is listed and described."""
        return self._workflows

    @property
    def all_names(self) -> tuple[str, ...]:
        """The names of whatever runs may be of."""
        return tuple({**self._workflows, **self._functions})

    def tools_of(self, workflow: str) -> dict[str, str]:
        """The names of the tools for runs of `workflow`."""
        return self._tools.get(workflow, GENERIC)

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
                output_schema=run_output(definition),
                annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
                _meta=shown_by_page(self._app_name),
            ),
            lambda call: self._run(call, definition, *_run_arguments(definition, call.arguments)),
        )
        yield from self._look_entries(definition, tools, f"a run of {definition.name}")

    async def _run(
        self, call: ToolCall, definition: WorkflowDefinition, args: list[Any], key: str | None, wait: float | None
    ) -> Outcome:
        as_task = declared(call.request) and wait != 0
        seconds = 0 if as_task else self._runs.budget(call.caller, wait)
        state, existing = await self._runs.run(call, definition, args, key, seconds)
        if not isinstance(state, RunState):
            return state
        shown = self._runs.shown(state, definition, self.tools_of(definition.name), existing=existing)
        return created(shown) if as_task else shown.result(failed_is_error=True)

    def _generic_run_entry(self) -> ToolEntry:
        async def call(call: ToolCall) -> Outcome:
            given = parsed(GenericRunArguments, call.arguments)
            if given.workflow in self._functions:  # which has checks of its own
                raise InvalidArguments(f"`workflow`: `{given.workflow}` is a tool: call it by its name. Nothing was changed.")
            definition = self._definition(given.workflow)
            args = definition.bind(given.run_parameters)
            return await self._run(call, definition, args, given.workflow_id, given.wait_seconds)

        tool = Tool(
            name=GENERIC["run"],
            title="Run a workflow",
            description="Starts a durable run of a workflow and waits for it. `workflows-list` shows what there is.",
            input_schema=schema_of(GenericRunArguments),
            output_schema=run_output(),
            annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
            _meta=shown_by_page(self._app_name),
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
                output_schema=run_output(own),
                annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
                _meta=shown_by_page(self._app_name),
            ),
            lambda call: self._get_status(call, own),
        )
        yield ToolEntry(
            Tool(
                name=tools["resume"],
                title=f"Answer {what}",
                description=f"Gives {what} what a person answered, or sends it a signal. Ask the user; do not answer yourself.",
                input_schema=schema_of(GenericResumeArguments if generic else ResumeArguments),
                output_schema=_wrapped_output(
                    {"request_id": "string", "signal": "string", "accepted": "boolean", "duplicate": "boolean"}
                ),
                annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True),
            ),
            lambda call: self._resume(call, own),
        )
        yield ToolEntry(
            Tool(
                name=tools["cancel"],
                title=f"Cancel {what}",
                description=f"Asks {what} to stop. Harmless for one that has ended.",
                input_schema=schema_of(GenericCancelArguments if generic else CancelArguments),
                output_schema=_wrapped_output({"accepted": "boolean", "already_closed": "boolean"}),
                annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True),
            ),
            lambda call: self._cancel(call, own),
        )

    async def _get_status(self, call: ToolCall, own: WorkflowDefinition | None) -> Outcome:
        given = parsed(StatusArguments if own else GenericStatusArguments, call.arguments)
        executor = await self._runs.executor()
        state = await self._found(executor, call, own, given)
        seconds = self._runs.budget(call.caller, given.wait_seconds or 0)
        if state.closed or state.status == "blocked" or seconds <= 0:
            return self.shown(state).result()
        followed = await self._runs.follow(executor, call, given.run_id, seconds)
        return self.shown(followed).result() if isinstance(followed, RunState) else followed

    async def _resume(self, call: ToolCall, own: WorkflowDefinition | None) -> CallToolResult:
        given = parsed(ResumeArguments if own else GenericResumeArguments, call.arguments)
        executor = await self._runs.executor()
        state = await self._found(executor, call, own, given)
        call.caller.check_may("run", state.workflow)
        definition = self._definition(state.workflow)
        if "payload" not in given.model_fields_set:
            _check_needs_no_payload(state, given.request_id, given.signal_name)
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

    async def _cancel(self, call: ToolCall, own: WorkflowDefinition | None) -> CallToolResult:
        given = parsed(CancelArguments if own else GenericCancelArguments, call.arguments)
        executor = await self._runs.executor()
        state = await self._found(executor, call, own, given)
        call.caller.check_may("cancel", state.workflow)
        closed = state.closed
        if not closed:
            await executor.cancel_run(given.run_id, given.reason)
            open_ = [asked.request_id for asked in state.pending_inputs]  # soon withdrawn: nobody is to answer them
            state = await self._runs.wait(executor, call, given.run_id, self._runs.budget(call.caller, STOPPING), answered=open_)
        run = self.shown(state)
        data = {"run_id": given.run_id, "accepted": not closed, "already_closed": closed, "run": run.run.dump()}
        return answer(f"{texts.cancelled(state, already_closed=closed)} {run.text}", data)

    def shown(self, state: RunState) -> Shown:
        """A run of any workflow here, with its text and data. Raises NotFound for one of another."""
        definition = self._known(state.workflow)
        if definition is None:
            raise self._runs.missing(state.run_id)
        return self._runs.shown(state, definition, self.tools_of(state.workflow))

    # Lists

    def _list_entry(self) -> ToolEntry:
        async def call(call: ToolCall) -> CallToolResult:
            parsed(ListArguments, call.arguments)
            listed = [self._listed(definition) for definition in self._workflows.values()]
            lines = [
                f"- {one['name']}({texts.parameters(one['input_schema'])}): {one['description'] or 'no description'}"
                for one in listed
            ]
            return answer("\n".join(["Workflows:", *lines]) if lines else "There are no workflows.", {"workflows": listed})

        tool = Tool(
            name=LIST,
            title="List workflows",
            description="Every workflow with what it takes and returns, its signals and queries, and its tools.",
            input_schema=schema_of(ListArguments),
            output_schema=or_refusal(_object({"workflows": {"type": "array", "items": {"type": "object"}}})),
            annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
        )
        return ToolEntry(tool, call)

    def described(self, name: str) -> dict[str, Any]:
        """What a workflow of that name takes and returns, and how it is used. Raises NotFound."""
        definition = self._workflows.get(name)
        if definition is None:
            raise NotFound(f"There is no workflow `{name}`. {did_you_mean(name, self._workflows)}")
        return self._listed(definition)

    def _listed(self, definition: WorkflowDefinition) -> dict[str, Any]:
        return {
            "name": definition.name,
            "description": definition.description,
            "input_schema": definition.parameters_schema(),
            "output_schema": definition.result_schema(),
            "signals": [signal.model_dump(mode="json", by_alias=True) for signal in definition.signals],
            "queries": [h.name for h in definition.handlers if h.kind == "query" and h.name is not None],
            "tools": self.tools_of(definition.name),
        }

    def _runs_list_entry(self) -> ToolEntry:
        cursor = {"anyOf": [{"type": "string"}, {"type": "null"}]}  # some clients know no list of types
        tool = Tool(
            name=RUNS_LIST,
            title="List runs",
            description="Runs, first those under way, then those that ended, newest first. Results are left out: ask for the "
            "status of one to see it.",
            input_schema=schema_of(RunsListArguments),
            output_schema=or_refusal(_object({"runs": {"type": "array", "items": {"type": "object"}}, "next_cursor": cursor})),
            annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False),
        )
        return ToolEntry(tool, self._runs_list)

    async def _runs_list(self, call: ToolCall) -> CallToolResult:
        given = parsed(RunsListArguments, call.arguments)
        names = self.all_names
        if given.workflow is not None:
            names = (self._definition(given.workflow).name,)
        page = await self._runs.listed(call.caller, names, given.status, given.limit, given.cursor)
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

    async def _found(self, executor: Executor, call: ToolCall, own: WorkflowDefinition | None, given: _OfRun) -> RunState:
        """The run that is meant: one of the tool's own workflow, of the one that a generic tool was told, or of any here."""
        if isinstance(given, _Generic) and given.workflow is not None:
            own = self._definition(given.workflow)
        state = await self._runs.find(executor, call.caller, given.run_id, own)
        if self._known(state.workflow) is None:
            raise self._runs.missing(given.run_id)
        return state


def _tools_of(app_name: str, workflow: str) -> dict[str, str]:
    return {action: workflow_tool(app_name, workflow, action) for action in GENERIC}


def _check_needs_no_payload(state: RunState, request_id: str | None, name: str | None) -> None:
    """Raises InvalidArguments where a missing payload would be taken for a person's no."""
    for asked in state.pending_inputs:
        if asked.kind != "signal" and (request_id or asked.request_id) == asked.request_id and name in (None, asked.name):
            raise InvalidArguments(
                f"`payload`: this field is required to answer `{asked.request_id}`: ask the user. The request is still open."
            )


def _run_arguments(definition: WorkflowDefinition, arguments: dict[str, Any]) -> tuple[list[Any], str | None, float | None]:
    """`run`'s arguments, the key and the wait; the parameters may stand in `run_parameters` or beside the others."""
    clash = [one for one in definition.parameters if one.name in ("run_parameters", *_CONTROL)]
    control = {name: arguments[name] for name in _CONTROL if name in arguments}
    rest = {name: value for name, value in arguments.items() if name not in control}
    given = parsed(_Control, control)
    if "run_parameters" in arguments or clash or not rest:
        nested = rest.pop("run_parameters", {})
        mistaken = [one.name for one in clash if one.default is one.empty and one.name in arguments]
        if mistaken and "run_parameters" not in arguments:
            names = ", ".join(f"`{name}`" for name in mistaken)
            raise InvalidArguments(
                f"`run_parameters`: this field is required, because `run` takes {names} itself. Nothing was changed."
            )
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


def _wrapped_output(fields: Mapping[str, str]) -> dict[str, Any]:
    """A run with what became of the call."""
    run = {"type": "object", "description": "The run, as `get_status` shows it."}
    properties = {name: {"type": kind} for name, kind in fields.items()}
    return or_refusal(_object({"run_id": {"type": "string"}, **properties, "run": run}))


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties)}

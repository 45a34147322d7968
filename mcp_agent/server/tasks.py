"""Runs as tasks of MCP's Tasks extension (SEP-2663): for clients that declare it, a task's id is the id of its run.

Nothing is kept of a task but which answers did not fit: any server that reaches the engine answers for any task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from mcp.server import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolResult,
    ElicitRequest,
    ElicitResult,
    EmptyResult,
    InputRequest,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from mcp_agent.errors import CallError, InvalidArguments, NotFound
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.problems import describe_problems
from mcp_agent.executor.runs import PendingInput, RunState
from mcp_agent.server import texts
from mcp_agent.server.asking import for_person, give, question
from mcp_agent.server.callers import Action, Caller, current_caller
from mcp_agent.server.entries import Request, protocol_error, refused
from mcp_agent.server.runs import Runs, Shown
from mcp_agent.server.task_types import (
    EXTENSION,
    CreateTaskResult,
    DetailedTask,
    GetTaskResult,
    TaskParams,
    TaskStatus,
    UpdateTaskParams,
)

logger = logging.getLogger(__name__)

MOST_REFUSALS = 20
"""Of one question, for which a client is asked anew."""
SOONEST_POLL, LATEST_POLL = 0.25, 5.0
"""Seconds between two looks at a task: a tenth of its age, within these."""


def declared(request: Request) -> bool:
    """Whether the client has declared the extension on this very request."""
    if request.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return False
    capabilities = request.session.client_capabilities
    return capabilities is not None and EXTENSION in (capabilities.extensions or {})


def check_declared(request: Request) -> None:
    """Raises MCPError for a client that has not declared the extension."""
    if not declared(request):
        needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        message = f"Missing required client capability: declare extension `{EXTENSION}` on this request."
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, message, needed)


def created(shown: Shown) -> CreateTaskResult:
    """A run as the result of the call that began it. The run must be there."""
    return CreateTaskResult(**_about(shown), status=_STATUS[shown.state.status])


_STATUS: dict[str, TaskStatus] = {
    "completed": "completed",
    "failed": "completed",
    "timed_out": "completed",
    "cancelled": "cancelled",
    "terminated": "cancelled",
    "queued": "working",
    "running": "working",
    "blocked": "working",
    "waiting_for_input": "working",
}
"""`failed` is reserved for calls that end in a JSON-RPC error; a failed run is a result with `isError`."""


def _about(shown: Shown) -> dict[str, Any]:
    """What every form of a task has."""
    state = shown.state
    age = (datetime.now(UTC) - state.started_at).total_seconds()
    ttl = None if state.expires_at is None else state.expires_at - state.started_at
    return {
        "task_id": state.run_id,
        "status_message": _message(shown),
        "created_at": state.started_at,
        "last_updated_at": state.updated_at,
        "ttl_ms": None if ttl is None else max(round(1_000 * ttl.total_seconds()), 0),
        "poll_interval_ms": None if state.closed else round(1_000 * min(max(age / 10, SOONEST_POLL), LATEST_POLL)),
    }


def _message(shown: Shown) -> str | None:
    """What a person can be told of it: how far it is, whom it waits for and how that is answered, why it ended."""
    match shown.state.status:
        case "running":
            return texts.progress(shown.state)
        case "queued":
            return "Queued: no worker has taken it yet."
        case "completed":
            return None
        case _:
            return shown.text


class Tasks:
    """`tasks/get`, `tasks/update` and `tasks/cancel`.

    Args:
        runs: What is done with runs.
        shown: What is told of a run. Raises NotFound for one of a workflow that is not served here.
        outcome: What a call gave that outlived its caller's wait; `None` for a run that began as one. Raises what the call
            raised.
    """

    def __init__(
        self, runs: Runs, shown: Callable[[RunState], Shown], outcome: Callable[[RunState], CallToolResult | None]
    ) -> None:
        self._runs = runs
        self._shown = shown
        self._outcome = outcome

    def serve(self, server: Server[Any]) -> None:
        """Announces the extension, and answers its methods."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self.get)
        server.add_request_handler("tasks/update", UpdateTaskParams, self.update)
        server.add_request_handler("tasks/cancel", TaskParams, self.cancel)

    async def get(self, request: Request, params: TaskParams) -> GetTaskResult:
        with _protocol_errors():
            _, state = await self._task(request, params, "read")
            return GetTaskResult(**self._details(request, state))

    async def update(self, request: Request, params: UpdateTaskParams) -> EmptyResult:
        """Takes answers. One that does not fit opens its question anew, with the problem in it."""
        with _protocol_errors():
            executor, state = await self._task(request, params, "run")
            for key, response in params.input_responses.items():
                await self._take(executor, state, key, response)
        return EmptyResult()

    async def cancel(self, request: Request, params: TaskParams) -> EmptyResult:
        """Asks a run to stop. Harmless for one that has ended."""
        with _protocol_errors():
            executor, state = await self._task(request, params, "cancel")
            if not state.closed:
                await executor.cancel_run(state.run_id, None)
        return EmptyResult()

    async def find(self, executor: Executor, caller: Caller, task_id: str) -> RunState:
        """The run of one of the caller's tasks. Raises NotFound."""
        state = await self._runs.find(executor, caller, task_id, None)
        self._shown(state)
        return state

    def detailed(self, request: Request, state: RunState) -> DetailedTask:
        """A run as `tasks/get` and `notifications/tasks` tell of it to the client of `request`."""
        return DetailedTask(**self._details(request, state))

    async def _task(self, request: Request, params: TaskParams, action: Action) -> tuple[Executor, RunState]:
        _check(request, params.task_id)
        executor, caller = await self._runs.executor(), current_caller()
        state = await self.find(executor, caller, params.task_id)
        caller.check_may(action, state.workflow)
        return executor, state

    def _details(self, request: Request, state: RunState) -> dict[str, Any]:
        shown = self._shown(state)
        about = _about(shown)
        if state.closed:
            return about | self._ending(shown)
        if state.status != "waiting_for_input":
            return about | {"status": _STATUS[state.status]}
        questions = self._questions(request, state)
        if questions:
            return about | {"status": "input_required", "input_requests": questions}
        return about | {"status": "completed", "result": _dumped(shown.result())}  # it would wait for nobody

    def _ending(self, shown: Shown) -> dict[str, Any]:
        """What the call would have given, had its caller waited."""
        status = _STATUS[shown.state.status]
        if status == "cancelled":
            return {"status": status}
        try:
            result = self._outcome(shown.state) or shown.result(failed_is_error=True)
        except CallError as error:
            result = refused(error)
        except MCPError as error:
            return {"status": "failed", "status_message": error.error.message, "error": error.error}
        return {"status": status, "result": _dumped(result)}

    def _questions(self, request: Request, state: RunState) -> dict[str, InputRequest]:
        """What the run asks, as far as the client of this request can show it."""
        found: dict[str, InputRequest] = {}
        for asked in state.pending_inputs:
            params = question(request, state.run_id, asked, asked.problem)
            if params is not None:
                found[_key(asked)] = ElicitRequest(params=params)
        return found

    async def _take(self, executor: Executor, state: RunState, key: str, response: Any) -> None:
        """Gives the run an answer. One to a question that is not open any more is nothing new (SEP-2663)."""
        asked = _asked(state, key)
        if asked is None:
            logger.debug("run %s does not ask `%s` any more", state.run_id, key)
            return
        try:
            await give(executor, state.run_id, asked, ElicitResult.model_validate(response))
        except ValidationError as error:
            await _refuse(executor, state.run_id, asked, describe_problems(error))
        except InvalidArguments as error:
            await _refuse(executor, state.run_id, asked, for_person(error))


def _dumped(result: CallToolResult) -> dict[str, Any]:
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def _refuse(executor: Executor, run_id: str, asked: PendingInput, problem: str) -> None:
    """Has the question put again. The run remembers it, for all servers; not for ever, so that its history stays short."""
    if asked.refused < MOST_REFUSALS:
        await executor.note_refusal(run_id, asked.request_id, problem)


def _key(asked: PendingInput) -> str:
    """What a question is called: of its second try the request's id with `/2`. A key never stands for two (SEP-2663)."""
    return asked.request_id if asked.refused == 0 else f"{asked.request_id}/{asked.refused + 1}"


def _asked(state: RunState, key: str) -> PendingInput | None:
    """The open question that a key stands for."""
    return next((asked for asked in state.pending_inputs if _key(asked) == key), None)


def _check(request: Request, task_id: str) -> None:
    """Raises MCPError for a request that is not one of the extension's."""
    if request.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(METHOD_NOT_FOUND, "Method not found", request.method)
    named = None if request.request is None else request.request.headers.get(MCP_NAME_HEADER)
    if named is not None and decode_header_value(named) != task_id:  # some clients leave it out
        raise MCPError(HEADER_MISMATCH, f"Header `{MCP_NAME_HEADER}` does not match `params.taskId`.")
    check_declared(request)


@contextmanager
def _protocol_errors() -> Generator[None]:
    """A missing task and a foreign one look the same, and never like an engine that cannot be reached."""
    try:
        yield
    except NotFound:
        raise MCPError(INVALID_PARAMS, "Failed to retrieve task: Task not found") from None
    except CallError as error:
        raise protocol_error(error) from None

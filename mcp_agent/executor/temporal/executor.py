"""The Temporal engine, seen from outside a run. Temporal is asked each time; nothing about runs is kept here."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from pydantic_core import to_json
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.client import WorkflowHandle as TemporalHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ApplicationError,
    WorkflowAlreadyStartedError,
)
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.errors import (
    AlreadyAnswered,
    AlreadyClosed,
    CallError,
    EngineUnavailable,
    IdempotencyConflict,
    InvalidArguments,
    NotFound,
    NotWaiting,
    NoWorker,
    WorkflowApplicationError,
)
from mcp_agent.executor.definition import WorkflowDefinition, input_digest
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.failures import query_failure
from mcp_agent.executor.payloads import check_size
from mcp_agent.executor.registry import Registry, find_workflow, new_run_id
from mcp_agent.executor.runs import Answer, Receipt, RunFilter, RunPage, RunState, RunStatus, StartedRun
from mcp_agent.executor.schedules import ScheduleHandle, ScheduleState, ScheduleTimes
from mcp_agent.executor.start_options import SearchAttribute, StartOptions
from mcp_agent.executor.temporal import states
from mcp_agent.executor.temporal.changes import Changes
from mcp_agent.executor.temporal.connection import Connection
from mcp_agent.executor.temporal.dev_server import run_page
from mcp_agent.executor.temporal.endings import ending
from mcp_agent.executor.temporal.names import ANSWER_UPDATE, RUN_MEMO
from mcp_agent.executor.temporal.schedules import TemporalSchedules
from mcp_agent.executor.temporal.search_attributes import typed_search_attributes
from mcp_agent.executor.temporal.states import RPC_TIMEOUT
from mcp_agent.executor.workflow import Workflow, WorkflowResult

logger = logging.getLogger(__name__)

START_ATTEMPTS = 3
UNSERVED_CHECK = 0.3  # seconds; most runs have ended by then
FIRST_LOOK = 0.05
LONGEST_LOOK = 1.0
AFTER_HINT = 0.02
ANSWER_TIMEOUT = timedelta(seconds=10)
_REUSE = {
    "allow_duplicate": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    "allow_duplicate_failed_only": WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    "reject_duplicate": WorkflowIDReusePolicy.REJECT_DUPLICATE,
    "terminate_if_running": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
}
_CONFLICT = {True: WorkflowIDConflictPolicy.TERMINATE_EXISTING, False: WorkflowIDConflictPolicy.FAIL}
_REFUSALS = {error.code: error for error in (AlreadyAnswered, AlreadyClosed, NotWaiting, InvalidArguments)}
_UNREACHABLE = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}
_QUERY_STATUS: dict[RunStatus, str] = {
    "queued": "Running",
    "running": "Running",
    "waiting_for_input": "Running",
    "blocked": "Running",
    "completed": "Completed",
    "cancelled": "Canceled",
    "timed_out": "TimedOut",
    "terminated": "Terminated",
}


class TemporalExecutor(Executor):
    """Args:
    registry: The app.
    connection: Where its runs live.
    changes: Hints of a worker in this process; `None` without one.
    retention: How long Temporal keeps closed runs.
    """

    def __init__(self, registry: Registry, connection: Connection, changes: Changes | None, retention: timedelta) -> None:
        self._registry = registry
        self._client = connection.client
        self._queue = connection.task_queue
        self._ui_url = connection.ui_url
        self._changes = changes
        self._retention = retention
        self._schedules = TemporalSchedules(connection.client, registry.name, connection.task_queue)

    @property
    def engine(self) -> Any:
        return "temporal"

    @property
    def client(self) -> Client:
        return self._client

    @property
    def task_queue(self) -> str:
        return self._queue

    # Starting

    async def start_workflow(
        self,
        workflow: str | type[Workflow[Any]],
        *args: Any,
        memo: Mapping[str, Any] | None = None,
        search_attributes: Mapping[str, SearchAttribute] | None = None,
        **given: Any,
    ) -> TemporalRunHandle:
        options = StartOptions(memo=memo or {}, search_attributes=search_attributes or {}, **given)
        name, bound = self._bind(workflow, args)
        run_id = options.workflow_id or new_run_id(name)
        terminates = options.id_reuse_policy == "terminate_if_running"
        try:
            async with _reaching(run_id):
                await self._start(
                    name,
                    bound,
                    run_id,
                    input_digest(bound),
                    options.memo,
                    id_reuse_policy=_REUSE[options.id_reuse_policy],
                    id_conflict_policy=_CONFLICT[terminates],
                    execution_timeout=options.execution_timeout,
                    run_timeout=options.run_timeout,
                    task_timeout=options.task_timeout,
                    start_delay=options.start_delay,
                    search_attributes=typed_search_attributes(options.search_attributes),
                )
        except WorkflowAlreadyStartedError:
            raise IdempotencyConflict(
                f"Run `{run_id}` exists and `id_reuse_policy` is `{options.id_reuse_policy}`: choose another `workflow_id`."
            ) from None
        return TemporalRunHandle(self, run_id, name)

    def _bind(self, workflow: str | type[Workflow[Any]], args: Sequence[Any]) -> tuple[str, list[Any]]:
        """A name that this app does not know may be another process's workflow (specification, `main.py`)."""
        if isinstance(workflow, str) and workflow not in self._registry.workflows:
            if self._registry.workflows:
                find_workflow(self._registry, workflow)
            return workflow, list(args)
        definition = find_workflow(self._registry, workflow)
        return definition.name, definition.bind_positional(args)

    # Schedules

    async def create_schedule(
        self,
        schedule_id: str,
        workflow: str | type[Workflow[Any]],
        *args: Any,
        every: timedelta | None = None,
        cron: Sequence[str] = (),
        time_zone: str | None = None,
    ) -> ScheduleHandle:
        times = ScheduleTimes(every=every, cron=cron, time_zone=time_zone)
        name, bound = self._bind(workflow, args)
        check_size(bound)
        return await self._schedules.create(schedule_id, name, bound, times)

    def get_schedule(self, schedule_id: str) -> ScheduleHandle:
        return self._schedules.get(schedule_id)

    async def list_schedules(self) -> list[ScheduleState]:
        return await self._schedules.list()

    # Starting, for the server

    async def start_run(
        self, definition: WorkflowDefinition, args: Sequence[Any], *, run_id: str, input_digest: str
    ) -> StartedRun:
        for attempt in range(1, START_ATTEMPTS + 1):
            try:
                async with _reaching(run_id):
                    await self._start(
                        definition.name,
                        args,
                        run_id,
                        input_digest,
                        {},
                        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    )
            except WorkflowAlreadyStartedError:
                await self._check_same_input(run_id, input_digest)
                # A start that seemed to fail may have been taken: then the run that is there is this call's own.
                return StartedRun(run_id, existing=attempt == 1)
            except EngineUnavailable:
                if attempt == START_ATTEMPTS:
                    raise
            else:
                return StartedRun(run_id, existing=False)
        raise AssertionError("unreachable")

    async def _start(
        self, name: str, args: Sequence[Any], run_id: str, digest: str, memo: Mapping[str, Any], **options: Any
    ) -> None:
        check_size(args)
        eager = self._changes is not None and options.get("start_delay") is None
        await self._client.start_workflow(
            name,
            args=list(args),
            id=run_id,
            task_queue=self._queue,
            memo={**memo, RUN_MEMO: {"app": self._registry.name, "input_digest": digest}},
            request_eager_start=eager,
            rpc_timeout=RPC_TIMEOUT,
            **options,
        )

    async def _check_same_input(self, run_id: str, digest: str) -> None:
        async with _reaching(run_id):
            description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
            memo = await description.memo()
        about: dict[str, Any] = memo.get(RUN_MEMO) or {}
        if about.get("input_digest") != digest:
            raise IdempotencyConflict(f"Run `{run_id}` was started with another input: choose another key.")

    # Reading

    def get_handle(self, workflow_id: str, workflow: str | None = None) -> TemporalRunHandle:
        return TemporalRunHandle(self, workflow_id, workflow)

    async def describe_run(self, run_id: str) -> RunState:
        async with _reaching(run_id):
            description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
            return await states.full(self._client, description, self._retention)

    async def wait_run(self, run_id: str, timeout: timedelta) -> RunState:
        closing = asyncio.create_task(self._closing(run_id))
        looking = asyncio.create_task(self._attention(run_id))
        try:
            await asyncio.wait({closing, looking}, timeout=timeout.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
            if looking.done():
                return looking.result()
        finally:
            closing.cancel()
            looking.cancel()
        return await self.describe_run(run_id)

    async def _closing(self, run_id: str) -> None:
        """Ends with the run, at once: Temporal holds the request open until then."""
        try:
            await self._client.get_workflow_handle(run_id, result_type=WorkflowResult[Any]).result()
        except WorkflowFailureError:
            return
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return
            # The other way of looking goes on and reports what is wrong if it lasts.
            await asyncio.Event().wait()

    async def _attention(self, run_id: str) -> RunState:
        """Looks now and then, at growing distances, and right after a hint."""
        pause = FIRST_LOOK
        with _watching(self._changes, run_id) as hint:
            while True:
                try:
                    async with asyncio.timeout(pause):
                        await hint.wait()
                    hint.clear()
                    pause = AFTER_HINT
                except TimeoutError:
                    pause = min(pause * 2, LONGEST_LOOK)
                state = await self.describe_run(run_id)
                if state.needs_attention:
                    return state

    async def list_runs(self, which: RunFilter) -> RunPage:
        async with _reaching("list"):
            listing = self._client.list_workflows(
                self._query(which),
                page_size=which.limit,
                next_page_token=_token(which.cursor),
                rpc_timeout=RPC_TIMEOUT,
            )
            await listing.fetch_next_page()
            found = [await states.summary(run) for run in listing.current_page or ()]
        wanted = [state for state in found if which.status in (None, state.status)]
        more = listing.next_page_token
        return RunPage(tuple(wanted), base64.urlsafe_b64encode(more).decode() if more else None)

    def _query(self, which: RunFilter) -> str:
        names = which.workflows or tuple(self._registry.workflows)
        quoted = ", ".join(f"'{name}'" for name in names)
        query = f"TaskQueue = '{self._queue}' AND WorkflowType IN ({quoted}) AND ExecutionStatus != 'ContinuedAsNew'"
        if which.status == "failed":
            return f"{query} AND ExecutionStatus IN ('Failed', 'Completed')"
        return query if which.status is None else f"{query} AND ExecutionStatus = '{_QUERY_STATUS[which.status]}'"

    async def warn_if_unserved(self, run_id: str) -> None:
        """Says, to somebody who waits for a run, that no worker serves its queue."""
        await asyncio.sleep(UNSERVED_CHECK)
        with suppress(RPCError):  # who waits is told of it in another way
            description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
            if description.close_time is None and not await states.served(self._client, description.task_queue):
                logger.warning("run %s waits: %s", run_id, states.no_worker_text(description.task_queue))

    def result_type(self, workflow: str | None) -> type[WorkflowResult[Any]]:
        """What a handle's result is read as."""
        definition = self._registry.workflows.get(workflow or "")
        return WorkflowResult[Any] if definition is None else definition.result_type

    # Talking

    async def answer_run(self, run_id: str, answer: Answer) -> Receipt:
        state = await self.describe_run(run_id)
        answer = _addressed(answer, state)
        update_id = _update_id(answer)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()):
                return await self._update(run_id, answer, update_id)
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            raise await self._no_answer(run_id, state) from None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise AlreadyClosed(f"Run `{run_id}` has ended: it takes no more answers.") from None
            raise _unreachable(error) from error

    async def _update(self, run_id: str, answer: Answer, update_id: str) -> Receipt:
        sent = answer.model_copy(update={"call": uuid.uuid4().hex})
        handle: Any = self._client.get_workflow_handle(run_id)
        try:
            receipt: Receipt = await handle.execute_update(ANSWER_UPDATE, sent, id=update_id, result_type=Receipt)
        except WorkflowUpdateFailedError as error:
            raise _refusal(error) from None
        # An update runs once for its id: an answer with another call's mark is that call's, told again.
        return receipt if receipt.call == sent.call else receipt.model_copy(update={"duplicate": True})

    async def _no_answer(self, run_id: str, state: RunState) -> CallError:
        description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
        queue = description.task_queue
        if not await states.served(self._client, queue):
            return NoWorker(f"{states.no_worker_text(queue)} Then answer again: nothing was changed.")
        return EngineUnavailable(
            f"Run `{run_id}` did not take the answer in {ANSWER_TIMEOUT.total_seconds():g} s: look at its status, answer again."
        )

    async def signal_run(self, run_id: str, signal: str, args: Sequence[Any]) -> None:
        try:
            async with _reaching(run_id):
                await self._client.get_workflow_handle(run_id).signal(signal, args=list(args), rpc_timeout=RPC_TIMEOUT)
        except NotFound:
            await self.describe_run(run_id)
            raise AlreadyClosed(f"Run `{run_id}` has ended: it takes no more signals.") from None

    async def query_run(self, run_id: str, query: str, args: Sequence[Any]) -> Any:
        try:
            async with _reaching(run_id):
                return await self._client.get_workflow_handle(run_id).query(query, args=list(args), rpc_timeout=RPC_TIMEOUT)
        except WorkflowQueryFailedError as error:
            if f"'{query}'" in str(error) and "not found" in str(error):
                raise NotFound(f"Run `{run_id}` has no query `{query}`: {error}.") from None
            raise query_failure(run_id, query, str(error)) from None

    async def update_run(self, run_id: str, update: str, args: Sequence[Any]) -> Any:
        """Calls an update handler. Raises as `WorkflowHandle.update`."""
        check_size(args)
        try:
            async with _reaching(run_id):
                return await self._client.get_workflow_handle(run_id).execute_update(update, args=list(args))
        except WorkflowUpdateFailedError as error:
            raise _update_failure(run_id, update, error.cause) from None
        except NotFound:
            await self.describe_run(run_id)
            raise AlreadyClosed(f"Run `{run_id}` has ended: it takes no more updates.") from None

    async def cancel_run(self, run_id: str, reason: str | None = None) -> None:
        async with _reaching(run_id):
            await self._client.get_workflow_handle(run_id).cancel(reason=reason or "", rpc_timeout=RPC_TIMEOUT)

    async def terminate_run(self, run_id: str, reason: str | None) -> None:
        try:
            async with _reaching(run_id):
                await self._client.get_workflow_handle(run_id).terminate(reason=reason, rpc_timeout=RPC_TIMEOUT)
        except NotFound:
            await self.describe_run(run_id)  # a run that has ended: harmless

    def run_page(self, state: RunState) -> str | None:
        if self._ui_url is None or state.engine_run_id is None:
            return None
        return run_page(self._ui_url, self._client.namespace, state.run_id, state.engine_run_id)


class TemporalRunHandle:
    """A run on Temporal. Satisfies `WorkflowHandle`."""

    def __init__(self, executor: TemporalExecutor, run_id: str, workflow: str | None) -> None:
        self._executor = executor
        self._run_id = run_id
        self._workflow = workflow

    @property
    def id(self) -> str:
        return self._run_id

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def temporal(self) -> TemporalHandle[Any, Any]:
        """Temporal's own handle."""
        return self._executor.client.get_workflow_handle(self._run_id)

    async def result(self) -> WorkflowResult[Any]:
        result_type = self._executor.result_type(self._workflow)
        handle: Any = self._executor.client.get_workflow_handle(self._run_id, result_type=result_type)
        warning = asyncio.create_task(self._executor.warn_if_unserved(self._run_id))
        try:
            return await self._result(handle)
        finally:
            warning.cancel()

    async def _result(self, handle: Any) -> WorkflowResult[Any]:
        while True:
            try:
                return await handle.result()
            except WorkflowFailureError as error:
                raise ending(self._run_id, error.cause) from error
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise NotFound(f"There is no run `{self._run_id}`.") from None
                if error.status not in _UNREACHABLE:
                    raise
                await asyncio.sleep(LONGEST_LOOK)

    async def signal(self, name: str, *args: Any) -> None:
        await self._check_workflow()
        await self._executor.signal_run(self._run_id, name, args)

    async def query(self, name: str, *args: Any) -> Any:
        await self._check_workflow()
        return await self._executor.query_run(self._run_id, name, args)

    async def update(self, name: str, *args: Any) -> Any:
        await self._check_workflow()
        return await self._executor.update_run(self._run_id, name, args)

    async def cancel(self, reason: str | None = None) -> None:
        await self._executor.cancel_run(self._run_id, reason)

    async def terminate(self, reason: str | None = None) -> None:
        await self._executor.terminate_run(self._run_id, reason)

    async def describe(self) -> RunState:
        return await self._executor.describe_run(self._run_id)

    async def _check_workflow(self) -> None:
        if self._workflow is not None and (await self.describe()).workflow != self._workflow:
            raise NotFound(f"There is no run `{self._run_id}` of `{self._workflow}`.")


@asynccontextmanager
async def _reaching(run_id: str) -> AsyncGenerator[None, None]:
    """Temporal's RPC errors as this package's. An RPC error says nothing about the run."""
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotFound(f"There is no run `{run_id}`.") from None
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise InvalidArguments(f"Temporal refuses the call for `{run_id}`: {error}.") from None
        raise _unreachable(error) from error


def _unreachable(error: RPCError) -> EngineUnavailable:
    return EngineUnavailable(f"Temporal does not answer ({error.status.name}: {error}). Try again.")


def _watching(changes: Changes | None, run_id: str) -> Any:
    return (changes or Changes()).watch(run_id)


def _addressed(answer: Answer, state: RunState) -> Answer:
    """The answer with the request that it means, where that is plain, so that the same answer has the same id."""
    if answer.request_id is not None:
        return answer
    fitting = [r for r in state.pending_inputs if answer.name in (None, r.name)]
    if len(fitting) == 1 or (fitting and answer.name is not None):
        return answer.model_copy(update={"request_id": fitting[0].request_id})
    return answer


def _update_id(answer: Answer) -> str:
    if answer.request_id is None:
        return uuid.uuid4().hex
    return f"{answer.request_id}:{hashlib.sha256(to_json(answer.payload)).hexdigest()[:32]}"


def _refusal(error: WorkflowUpdateFailedError) -> Exception:
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type in _REFUSALS:
        return _REFUSALS[cause.type](cause.message)
    return NotWaiting(f"The run did not take the answer: {cause}.")


def _update_failure(run_id: str, update: str, cause: BaseException) -> Exception:
    if not isinstance(cause, ApplicationError):
        return WorkflowApplicationError(str(cause), type=type(cause).__name__, non_retryable=True)
    if cause.type == "ReadOnlyContextError" or ("not found" in cause.message and update in cause.message):
        return NotFound(f"Run `{run_id}` has no update `{update}`: {cause.message}.")
    return WorkflowApplicationError(cause.message, *cause.details, type=cause.type, non_retryable=cause.non_retryable)


def _token(cursor: str | None) -> bytes | None:
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError:
        raise InvalidArguments(f"`cursor`: `{cursor[:40]}` is not one that a listing returned.") from None

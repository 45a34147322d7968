"""The Temporal engine, seen from outside a run. Temporal is asked each time; nothing about runs is kept here."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.errors import EngineUnavailable, IdempotencyConflict, InvalidArguments, NotFound
from mcp_agent.executor.definition import WorkflowDefinition, input_digest
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.handlers import HandlerKind, typed_arguments
from mcp_agent.executor.payloads import check_size
from mcp_agent.executor.registry import Registry, find_workflow, new_run_id
from mcp_agent.executor.runs import Answer, Receipt, RunFilter, RunPage, RunState, RunStatus, StartedRun
from mcp_agent.executor.schedules import ScheduleHandle, ScheduleState, ScheduleTimes
from mcp_agent.executor.start_options import SearchAttribute, start_options
from mcp_agent.executor.temporal import states
from mcp_agent.executor.temporal.calls import reaching, reaching_run
from mcp_agent.executor.temporal.changes import Changes
from mcp_agent.executor.temporal.client import RPC_TIMEOUT
from mcp_agent.executor.temporal.connection import Connection
from mcp_agent.executor.temporal.dev_server import run_page
from mcp_agent.executor.temporal.handle import TemporalRunHandle
from mcp_agent.executor.temporal.limits import TASK_TIMEOUT
from mcp_agent.executor.temporal.names import RUN_MEMO
from mcp_agent.executor.temporal.schedules import TemporalSchedules
from mcp_agent.executor.temporal.search_attributes import OwnAttributes
from mcp_agent.executor.temporal.talking import Talking
from mcp_agent.executor.workflow import Workflow, WorkflowResult

logger = logging.getLogger(__name__)

START_ATTEMPTS = 3
UNSERVED_CHECK = 0.3  # seconds; most runs have ended by then
FIRST_LOOK = 0.05
LONGEST_LOOK = 1.0
AFTER_HINT = 0.02
_REUSE = {
    "allow_duplicate": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    "allow_duplicate_failed_only": WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    "reject_duplicate": WorkflowIDReusePolicy.REJECT_DUPLICATE,
    "terminate_if_running": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
}
_CONFLICT = {True: WorkflowIDConflictPolicy.TERMINATE_EXISTING, False: WorkflowIDConflictPolicy.FAIL}
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
    attributes: What runs are searched by.
    takes_starts: Whether the worker in this process begins runs that are started here without being handed them: where
        workers have builds, that would make the code of a run depend on who starts it.
    """

    def __init__(
        self,
        registry: Registry,
        connection: Connection,
        changes: Changes | None,
        retention: timedelta,
        attributes: OwnAttributes,
        takes_starts: bool = False,
    ) -> None:
        self._registry = registry
        self._client = connection.client
        self._queue = connection.task_queue
        self._ui_url = connection.ui_url
        self._changes = changes
        self._retention = retention
        self._attributes = attributes
        self._takes_starts = takes_starts
        self._talking = Talking(connection.client, self.describe_run)
        self._schedules = TemporalSchedules(connection.client, registry.name, connection.task_queue, attributes)

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
        options = start_options(memo, search_attributes, given)
        name, bound = self._bind(workflow, args)
        run_id = options.workflow_id or new_run_id(name)
        terminates = options.id_reuse_policy == "terminate_if_running"
        try:
            async with reaching_run(run_id):
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
                    search_attributes=self._attributes.of(name, options.search_attributes),
                )
        except WorkflowAlreadyStartedError:
            raise IdempotencyConflict(
                f"Run `{run_id}` exists and `id_reuse_policy` is `{options.id_reuse_policy}`: choose another `workflow_id`."
            ) from None
        return TemporalRunHandle(self, run_id, name, known=True)

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
                async with reaching_run(run_id):
                    await self._start(
                        definition.name,
                        args,
                        run_id,
                        input_digest,
                        {},
                        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                        search_attributes=self._attributes.of(definition.name),
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
        options["task_timeout"] = options.get("task_timeout") or TASK_TIMEOUT
        eager = self._takes_starts and options.get("start_delay") is None
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
        async with reaching_run(run_id):
            description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
            memo = await description.memo()
        about: dict[str, Any] = memo.get(RUN_MEMO) or {}
        if about.get("input_digest") != digest:
            raise IdempotencyConflict(f"Run `{run_id}` was started with another input: choose another key.")

    # Reading

    def get_handle(self, workflow_id: str, workflow: str | None = None) -> TemporalRunHandle:
        return TemporalRunHandle(self, workflow_id, workflow)

    async def describe_run(self, run_id: str) -> RunState:
        async with reaching_run(run_id):
            description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
            served_here = self._changes is not None and description.task_queue == self._queue
            return await states.full(self._client, description, self._retention, served_here=served_here)

    async def workflow_of(self, run_id: str) -> str:
        """The name of a run's workflow. Raises NotFound."""
        async with reaching_run(run_id):
            return (await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)).workflow_type

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
        async with reaching("listing"):
            listing = self._client.list_workflows(
                self._query(which),
                page_size=which.limit,
                next_page_token=_token(which.cursor),
                rpc_timeout=RPC_TIMEOUT,
            )
            await listing.fetch_next_page()
            found = [await states.listed(run) for run in listing.current_page or ()]
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
            nobody = await states.unserved(self._client, description.task_queue, timedelta(seconds=UNSERVED_CHECK))
            if description.close_time is None and nobody is not None:
                logger.warning("run %s waits: %s", run_id, nobody)

    def result_type(self, workflow: str | None) -> type[WorkflowResult[Any]]:
        """What a handle's result is read as."""
        definition = self._registry.workflows.get(workflow or "")
        return WorkflowResult[Any] if definition is None else definition.result_type

    def check_arguments(self, workflow: str | None, kind: HandlerKind, name: str, args: Sequence[Any]) -> None:
        """Raises InvalidArguments where a handler that this app has cannot take them: Temporal would drop such a signal."""
        definition = self._registry.workflows.get(workflow or "")
        handler = None if definition is None else definition.handler(kind, name)
        if handler is not None:
            typed_arguments(handler, args)

    # Talking

    async def answer_run(self, run_id: str, answer: Answer) -> Receipt:
        return await self._talking.answer(run_id, answer)

    async def signal_run(self, run_id: str, signal: str, args: Sequence[Any]) -> None:
        await self._talking.signal(run_id, signal, args)

    async def query_run(self, run_id: str, query: str, args: Sequence[Any]) -> Any:
        return await self._talking.query(run_id, query, args)

    async def update_run(self, run_id: str, update: str, args: Sequence[Any]) -> Any:
        """Calls an update handler. Raises as `WorkflowHandle.update`."""
        return await self._talking.update(run_id, update, args)

    async def cancel_run(self, run_id: str, reason: str | None = None) -> None:
        async with reaching_run(run_id):
            await self._client.get_workflow_handle(run_id).cancel(reason=reason or "", rpc_timeout=RPC_TIMEOUT)

    async def terminate_run(self, run_id: str, reason: str | None) -> None:
        try:
            async with reaching_run(run_id):
                await self._client.get_workflow_handle(run_id).terminate(reason=reason, rpc_timeout=RPC_TIMEOUT)
        except NotFound:
            await self.describe_run(run_id)  # a run that has ended: harmless

    def run_page(self, state: RunState) -> str | None:
        if self._ui_url is None or state.engine_run_id is None:
            return None
        return run_page(self._ui_url, self._client.namespace, state.run_id, state.engine_run_id)


def _watching(changes: Changes | None, run_id: str) -> Any:
    return (changes or Changes()).watch(run_id)


def _token(cursor: str | None) -> bytes | None:
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError:
        raise InvalidArguments(f"`cursor`: `{cursor[:40]}` is not one that a listing returned.") from None

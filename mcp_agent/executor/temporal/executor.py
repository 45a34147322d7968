"""The Temporal engine, seen from outside a run. Temporal is asked each time; nothing about runs is kept here."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowFailureError
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from mcp_agent.errors import IdempotencyConflict, InvalidArguments, NotFound
from mcp_agent.executor.definition import WorkflowDefinition, input_digest
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.handlers import HandlerKind, typed_arguments
from mcp_agent.executor.payloads import check_size, largest_value
from mcp_agent.executor.priority import ORDINARY, CallerPriority
from mcp_agent.executor.records import LogPage, TranscriptPage
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
from mcp_agent.executor.temporal.health import client_health
from mcp_agent.executor.temporal.limits import TASK_TIMEOUT
from mcp_agent.executor.temporal.names import RUN_MEMO
from mcp_agent.executor.temporal.placing import Placing
from mcp_agent.executor.temporal.recording import Recording
from mcp_agent.executor.temporal.schedules import TemporalSchedules
from mcp_agent.executor.temporal.search_attributes import OwnAttributes
from mcp_agent.executor.temporal.talking import Talking
from mcp_agent.executor.temporal.unserved import unserved
from mcp_agent.executor.temporal.untaken import UntakenSteps
from mcp_agent.executor.temporal.workers import Workers
from mcp_agent.executor.workflow import Workflow, WorkflowResult
from mcp_agent.observability.health import Health

logger = logging.getLogger(__name__)

UNSERVED_CHECK = 0.3  # seconds; most runs have ended by then
FIRST_LOOK = 0.1
LONGEST_LOOK = 0.25
LOOKS_PER_SECOND = 200  # at most, at all runs together that are watched here
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
    retention: How long Temporal keeps closed runs.
    attributes: What runs are searched by.
    workers: Those in this process.
    changes: Their hints.
    """

    def __init__(
        self,
        registry: Registry,
        connection: Connection,
        retention: timedelta,
        attributes: OwnAttributes,
        workers: Workers | None = None,
        changes: Changes | None = None,
    ) -> None:
        self._registry = registry
        self._client = connection.client
        self._queue = connection.task_queue
        self._ui_url = connection.ui_url
        self._workers = workers
        self._served_here = frozenset(workers.task_queues.values() if workers is not None else ())
        self._changes = changes or Changes()
        self._retention = retention
        self._attributes = attributes
        # A worker in this process begins runs that are started here without being handed them; where workers have builds, that
        # would make the code of a run depend on who starts it.
        self._takes_starts = self._queue in self._served_here and registry.settings.temporal.versioning is None
        self._priorities = Placing.of(registry).priorities
        self._largest = largest_value(registry.settings.temporal.external_storage)
        self._untaken = UntakenSteps(connection.client, self._served_here)
        self._talking = Talking(connection.client, self.describe_run, self._largest)
        self._recording = Recording(connection.client)
        self._schedules = TemporalSchedules(connection.client, registry.name, connection.task_queue, attributes, self._priorities)

    @property
    def engine(self) -> Any:
        return "temporal"

    @property
    def kept(self) -> str:
        return f"A run is forgotten {_in_words(self._retention)} after it has ended."

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
                    priority=Priority(priority_key=options.priority or self._priorities.of(name)),
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
        check_size(bound, self._largest)
        return await self._schedules.create(schedule_id, name, bound, times)

    def get_schedule(self, schedule_id: str) -> ScheduleHandle:
        return self._schedules.get(schedule_id)

    async def list_schedules(self) -> list[ScheduleState]:
        return await self._schedules.list()

    # Starting, for the server

    async def start_run(
        self,
        definition: WorkflowDefinition,
        args: Sequence[Any],
        *,
        run_id: str,
        input_digest: str,
        priority: CallerPriority = ORDINARY,
    ) -> StartedRun:
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
                    priority=self._priority(run_id, definition.name, priority),
                )
        except WorkflowAlreadyStartedError:
            await self._check_same_input(run_id, input_digest)
            return StartedRun(run_id, existing=True)
        return StartedRun(run_id, existing=False)

    async def _start(
        self, name: str, args: Sequence[Any], run_id: str, digest: str, memo: Mapping[str, Any], **options: Any
    ) -> None:
        check_size(args, self._largest)
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

    def _priority(self, run_id: str, workflow: str, caller: CallerPriority) -> Priority:
        """Of a run that a caller starts: work of all callers of one priority gets its turn."""
        return Priority(
            priority_key=caller.priority or self._priorities.of(workflow),
            fairness_key=_owner(run_id, workflow),
            fairness_weight=caller.weight,
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
        return await self._described(run_id, None)

    async def _described(self, run_id: str, outcome: states.Outcome | None) -> RunState:
        async with reaching_run(run_id, self.kept):
            description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
            served_here = description.task_queue in self._served_here
            state = await states.full(
                self._client, description, self._retention, self._untaken, served_here=served_here, outcome=outcome
            )
            return self._with_page(state)

    async def workflow_of(self, run_id: str) -> str:
        """The name of a run's workflow. Raises NotFound."""
        async with reaching_run(run_id):
            return (await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)).workflow_type

    async def run_log(self, run_id: str, cursor: str | None = None) -> LogPage:
        async with reaching_run(run_id):
            return await self._recording.log(run_id, cursor)

    async def run_transcript(self, run_id: str, cursor: str | None = None) -> TranscriptPage:
        async with reaching_run(run_id):
            return await self._recording.transcript(run_id, cursor)

    async def watch_run(self, run_id: str, *, started: bool = False) -> AsyncGenerator[RunState, None]:
        ending = asyncio.create_task(self._ending(run_id))
        told, pause = None, FIRST_LOOK
        with self._changes.watch(run_id) as hint:
            try:
                if started:
                    pause = await self._news(ending, hint, pause)
                while True:
                    state = await self._look(run_id, ending)
                    if state.news != told:
                        told = state.news
                        yield state
                    if state.closed:
                        return
                    if ending.done():  # another run has taken the id
                        ending = asyncio.create_task(self._ending(run_id))
                    pause = await self._news(ending, hint, pause)
            finally:
                ending.cancel()

    async def _ending(self, run_id: str) -> states.Outcome:
        """How the run ends, as soon as it does: Temporal holds the request open until then."""
        try:
            return await self._client.get_workflow_handle(run_id, result_type=WorkflowResult[Any]).result()
        except WorkflowFailureError as error:
            return error
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                logger.debug("the end of run %s is looked for: %s", run_id, error)
        # The other way of looking goes on, and reports what is wrong if it lasts.
        return await asyncio.get_running_loop().create_future()

    async def _news(self, ending: asyncio.Task[Any], hint: asyncio.Event, pause: float) -> float:
        """Returns when it is worth to look again: at the end, after a hint, else in `pause`. How long the next pause is."""
        hinting = asyncio.create_task(hint.wait())
        try:
            await asyncio.wait({ending, hinting}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hinting.cancel()
        if hint.is_set():
            hint.clear()
            if not ending.done():
                await asyncio.wait({ending}, timeout=AFTER_HINT)
            return FIRST_LOOK
        return min(pause * 2, max(LONGEST_LOOK, self._changes.watched / LOOKS_PER_SECOND))

    async def _look(self, run_id: str, ending: asyncio.Task[states.Outcome]) -> RunState:
        return await self._described(run_id, ending.result() if ending.done() else None)

    async def list_runs(self, which: RunFilter) -> RunPage:
        async with reaching("listing"):
            listing = self._client.list_workflows(
                self._query(which),
                page_size=which.limit,
                next_page_token=_token(which.cursor),
                rpc_timeout=RPC_TIMEOUT,
            )
            await listing.fetch_next_page()
            found = [self._with_page(await states.listed(run, self._retention)) for run in listing.current_page or ()]
        wanted = [state for state in found if which.status in (None, state.status)]
        more = listing.next_page_token
        return RunPage(tuple(wanted), base64.urlsafe_b64encode(more).decode() if more else None)

    def _query(self, which: RunFilter) -> str:
        names = which.workflows or tuple(self._registry.workflows)
        quoted = ", ".join(f"'{name}'" for name in names)
        query = f"TaskQueue = '{self._queue}' AND WorkflowType IN ({quoted}) AND ExecutionStatus != 'ContinuedAsNew'"
        if which.prefix:
            query += f" AND WorkflowId STARTS_WITH '{which.prefix}'"
        if which.status == "failed":
            return f"{query} AND ExecutionStatus IN ('Failed', 'Completed')"
        return query if which.status is None else f"{query} AND ExecutionStatus = '{_QUERY_STATUS[which.status]}'"

    async def warn_if_unserved(self, run_id: str) -> None:
        """Says, to somebody who waits for a run, that no worker serves its queue."""
        await asyncio.sleep(UNSERVED_CHECK)
        with suppress(RPCError):  # who waits is told of it in another way
            description = await self._client.get_workflow_handle(run_id).describe(rpc_timeout=RPC_TIMEOUT)
            nobody = await unserved(self._client, description, timedelta(seconds=UNSERVED_CHECK))
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

    async def note_refusal(self, run_id: str, request_id: str, problem: str) -> None:
        await self._talking.note_refusal(run_id, request_id, problem)

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

    def _with_page(self, state: RunState) -> RunState:
        if self._ui_url is None or state.engine_run_id is None:
            return state
        return replace(state, page=run_page(self._ui_url, self._client.namespace, state.run_id, state.engine_run_id))

    async def health(self) -> Health:
        return await client_health(self._client) if self._workers is None else await self._workers.health()


def _owner(run_id: str, workflow: str) -> str | None:
    """Whose run it is, from its id (contract, "Ids and ownership")."""
    tag, found, _ = run_id.partition(f".{workflow}.")
    return tag if found else None


def _in_words(time: timedelta) -> str:
    days, hours = time.days, round(time.total_seconds() / 3600)
    return f"{hours} h" if hours < 48 else f"{days} days"


def _token(cursor: str | None) -> bytes | None:
    if cursor is None:
        return None
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True)
    except ValueError:
        raise InvalidArguments(f"`cursor`: `{cursor[:40]}` is not one that a listing returned.") from None

"""The gate before a rollout: recent runs of the app's queue are replayed against the code of today. Nothing is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from temporalio.client import Client, WorkflowExecution, WorkflowHistory

from mcp_agent.errors import MCPAgentError, NotFound, UnreadablePayload
from mcp_agent.executor.registry import Registry, find_workflow
from mcp_agent.executor.temporal.calls import reaching, reaching_run
from mcp_agent.executor.temporal.replaying import AppReplayer, HistoryLike, ReplayError, ReplayUndecided, event_name

Which = Literal["open", "closed", "all"]
MisfitCode = Literal["code_differs", "workflow_missing", "unreadable", "undecided"]
MOST_RUNS = 500
_PINNED = "TemporalWorkflowVersioningBehavior"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which runs are replayed: first those under way, the last begun first, then the others, the last ended first.

    Attributes:
        workflows: By name; all by default.
        since: Only runs that began in that time.
        which: Whether they are under way.
        limit: At most so many.
        pinned: Also those that stay on their own version of the code.
    """

    workflows: tuple[str, ...] = ()
    since: timedelta | None = None
    which: Which = "all"
    limit: int = MOST_RUNS
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Misfit:
    """A run that could not go on with the code of today.

    Attributes:
        run_id: Its public id, or the file that it was read from.
        engine_run_id: Temporal's own id.
        event_id: Of the event where it differs, whose kind is `event_type`, such as `ACTIVITY_TASK_SCHEDULED`.
        reason: What differs, or cannot be read.
        fix: What to do.
    """

    workflow: str
    run_id: str
    engine_run_id: str | None
    code: MisfitCode
    event_id: int | None
    event_type: str | None
    reason: str
    fix: str


@dataclass(slots=True)
class Gate:
    """What was found.

    Attributes:
        matching: How many runs there are that were asked for.
        fits: How many go on.
        misfits: Those that would not.
        pinned: Runs that were left out because they stay on their own version.
        gone: Runs that Temporal forgot meanwhile.
        unknown: Closed runs of workflows that the app no longer has; nothing becomes of them any more.
    """

    matching: int = 0
    fits: int = 0
    misfits: list[Misfit] = field(default_factory=list[Misfit])
    pinned: int = 0
    gone: int = 0
    unknown: int = 0

    @property
    def replayed(self) -> int:
        return self.fits + len(self.misfits)

    @property
    def left(self) -> int:
        """How many were not looked at, because of the limit."""
        return max(self.matching - self.replayed - self.pinned - self.gone - self.unknown, 0)


class ReplayGate:
    """Args:
    registry: The app.
    client: Where its runs are.
    task_queue: Its queue.
    tell: Told of each misfit, as it is found.
    """

    def __init__(self, registry: Registry, client: Client, task_queue: str, tell: Callable[[Misfit], None]) -> None:
        self._registry = registry
        self._client = client
        self._queue = task_queue
        self._tell = tell
        self._replayer = AppReplayer(registry)

    async def check(self, choice: Choice, concurrency: int, gate: Gate) -> None:
        """Replays what was chosen, and adds to `gate`; as many histories are in memory as `concurrency` says.

        Raises:
            NotFound: The app has no such workflow.
            EngineUnavailable: Temporal does not answer.
            StorageUnavailable: Where large values are kept does not.
        """
        query = self._query(choice)
        async with reaching("listing"):
            gate.matching += (await self._client.count_workflows(query)).count
        slots = asyncio.Semaphore(concurrency)
        try:
            async with asyncio.TaskGroup() as tasks, aclosing(self._chosen(query, choice, gate)) as chosen:
                async for run in chosen:
                    await slots.acquire()
                    task = tasks.create_task(self._check(run, gate))
                    task.add_done_callback(lambda _: slots.release())
        except* MCPAgentError as errors:
            raise errors.exceptions[0] from None

    def _query(self, choice: Choice) -> str:
        query = f"TaskQueue = '{self._queue}' AND ExecutionStatus != 'ContinuedAsNew'"
        if choice.workflows:
            names = ", ".join(f"'{find_workflow(self._registry, name).name}'" for name in choice.workflows)
            query += f" AND WorkflowType IN ({names})"
        if choice.which != "all":
            query += f" AND ExecutionStatus {'=' if choice.which == 'open' else '!='} 'Running'"
        if choice.since is not None:
            query += f" AND StartTime >= '{(datetime.now(UTC) - choice.since).isoformat()}'"
        return query

    async def _chosen(self, query: str, choice: Choice, gate: Gate) -> AsyncGenerator[WorkflowExecution, None]:
        chosen = 0
        async with reaching("listing"):
            async for run in self._client.list_workflows(query):
                if run.search_attributes.get(_PINNED) == ["Pinned"] and not choice.pinned:
                    gate.pinned += 1
                elif run.workflow_type not in self._registry.workflows and run.close_time is not None:
                    gate.unknown += 1
                elif chosen < choice.limit:
                    chosen += 1
                    yield run
                else:
                    return

    async def _check(self, run: WorkflowExecution, gate: Gate) -> None:
        try:
            misfit = await self._misfit(run)
        except NotFound:
            gate.gone += 1
            return
        if misfit is None:
            gate.fits += 1
        else:
            gate.misfits.append(misfit)
            self._tell(misfit)

    async def _misfit(self, run: WorkflowExecution) -> Misfit | None:
        if run.workflow_type not in self._registry.workflows:
            reason = "the app no longer has this workflow, and the run is under way"
            fix = "Keep the workflow until its runs have ended."
            return Misfit(run.workflow_type, run.id, run.run_id, "workflow_missing", None, None, reason, fix)
        handle = self._client.get_workflow_handle(run.id, run_id=run.run_id)
        async with reaching_run(run.id):
            events = [event async for event in handle.fetch_history_events()]
        history = WorkflowHistory(run.id, events)
        return await misfit_of(self._replayer, history, run.workflow_type, run.id, run.run_id)


async def misfit_of(
    replayer: AppReplayer, history: HistoryLike, workflow: str, run_id: str, engine_run_id: str | None = None
) -> Misfit | None:
    """What is wrong with a run and the code of today; `None` if nothing is. Raises as `replay_workflow`, what is no misfit."""
    try:
        await replayer.replay_workflow(history)
    except ReplayError as error:
        at, kind = (None, None) if error.event is None else (error.event.event_id, event_name(error.event))
        return Misfit(workflow, run_id, engine_run_id, "code_differs", at, kind, error.reason, error.fix)
    except UnreadablePayload as error:
        fix = "Let this configuration read what the run has stored: its worker could not either."
        return Misfit(workflow, run_id, engine_run_id, "unreadable", None, None, str(error), fix)
    except ReplayUndecided as error:
        return Misfit(workflow, run_id, engine_run_id, "undecided", None, None, str(error), "Replay it with `--concurrency 1`.")
    return None

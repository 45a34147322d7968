"""Schedules on Temporal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.common import Priority

from mcp_agent.errors import IdempotencyConflict
from mcp_agent.executor.definition import input_digest
from mcp_agent.executor.schedules import ScheduleHandle, ScheduleState, ScheduleTimes
from mcp_agent.executor.temporal.calls import reaching
from mcp_agent.executor.temporal.client import RPC_TIMEOUT
from mcp_agent.executor.temporal.limits import TASK_TIMEOUT
from mcp_agent.executor.temporal.names import RUN_MEMO
from mcp_agent.executor.temporal.placing import Priorities
from mcp_agent.executor.temporal.search_attributes import OwnAttributes


class TemporalSchedules:
    """The schedules of an app.

    Args:
        client: Where they are kept.
        app: The app's name, which its runs' memos hold.
        task_queue: Where the runs are served.
        attributes: What the runs are searched by.
        priorities: Which of the runs are done first.
    """

    def __init__(self, client: Client, app: str, task_queue: str, attributes: OwnAttributes, priorities: Priorities) -> None:
        self._client = client
        self._app = app
        self._task_queue = task_queue
        self._attributes = attributes
        self._priorities = priorities

    async def create(self, schedule_id: str, workflow: str, args: Sequence[Any], times: ScheduleTimes) -> TemporalSchedule:
        """Raises IdempotencyConflict if the id is taken, InvalidArguments for times that Temporal refuses."""
        handle = TemporalSchedule(self._client, schedule_id)
        action = ScheduleActionStartWorkflow(
            workflow,
            args=list(args),
            id=schedule_id,
            task_queue=self._task_queue,
            task_timeout=TASK_TIMEOUT,
            memo={RUN_MEMO: {"app": self._app, "input_digest": input_digest(args), "schedule": schedule_id}},
            typed_search_attributes=self._attributes.of(workflow),
            priority=Priority(priority_key=self._priorities.of(workflow)),
        )
        intervals = [] if times.every is None else [ScheduleIntervalSpec(every=times.every)]
        spec = ScheduleSpec(intervals=intervals, cron_expressions=list(times.cron), time_zone_name=times.time_zone)
        policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP)
        try:
            async with reaching(f"schedule `{schedule_id}`"):
                await self._client.create_schedule(
                    schedule_id, Schedule(action, spec=spec, policy=policy), rpc_timeout=RPC_TIMEOUT
                )
        except ScheduleAlreadyRunningError:
            raise IdempotencyConflict(f"Schedule `{schedule_id}` exists: choose another id, or delete it.") from None
        return handle

    def get(self, schedule_id: str) -> TemporalSchedule:
        return TemporalSchedule(self._client, schedule_id)

    async def list(self) -> list[ScheduleState]:
        """All schedules of the namespace; one that was made just now may be missing for a moment."""
        async with reaching("schedule"):
            found = await self._client.list_schedules()
            return [_listed(entry) async for entry in found]


class TemporalSchedule(ScheduleHandle):
    """One schedule."""

    def __init__(self, client: Client, schedule_id: str) -> None:
        super().__init__(schedule_id)
        self._handle = client.get_schedule_handle(schedule_id)

    async def describe(self) -> ScheduleState:
        async with reaching(f"schedule `{self.id}`"):
            described = await self._handle.describe(rpc_timeout=RPC_TIMEOUT)
        action = cast("ScheduleActionStartWorkflow", described.schedule.action)
        recent = [cast("Any", result.action).workflow_id for result in described.info.recent_actions]
        state = described.schedule.state
        return ScheduleState(
            self.id, action.workflow, state.paused, state.note or "", tuple(described.info.next_action_times), tuple(recent)
        )

    async def pause(self, note: str | None = None) -> None:
        async with reaching(f"schedule `{self.id}`"):
            await self._handle.pause(note=note, rpc_timeout=RPC_TIMEOUT)

    async def unpause(self, note: str | None = None) -> None:
        async with reaching(f"schedule `{self.id}`"):
            await self._handle.unpause(note=note, rpc_timeout=RPC_TIMEOUT)

    async def trigger(self) -> None:
        async with reaching(f"schedule `{self.id}`"):
            await self._handle.trigger(rpc_timeout=RPC_TIMEOUT)

    async def delete(self) -> None:
        async with reaching(f"schedule `{self.id}`"):
            await self._handle.delete(rpc_timeout=RPC_TIMEOUT)


def _listed(entry: Any) -> ScheduleState:
    state = entry.schedule.state
    recent = tuple(result.action.workflow_id for result in entry.info.recent_actions)
    return ScheduleState(
        entry.id, entry.schedule.action.workflow, state.paused, state.note or "", tuple(entry.info.next_action_times), recent
    )

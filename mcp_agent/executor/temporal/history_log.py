"""What happened in a run, read from the events of its history."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from mcp_agent.executor.records import Happened, LogEntry, answered, changes
from mcp_agent.executor.runs import Answer, PublicState, RunStatus
from mcp_agent.executor.temporal.endings import named_failure_text
from mcp_agent.executor.temporal.history import time_of
from mcp_agent.executor.temporal.names import ANSWER_UPDATE, REFUSAL_SIGNAL, STATE_MEMO

_LOCAL_STEP = "core_local_activity"


@dataclass(slots=True)
class _Step:
    name: str
    id: str
    begun: datetime
    attempt: int = 1


class HistoryLog:
    """Reads the history of one run of a chain, from its beginning.

    Args:
        converter: Reads what is stored. Raises UnreadablePayload.
    """

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter
        self._begun: datetime | None = None
        self._code_ran: datetime | None = None
        self._steps: dict[int, _Step] = {}
        self._state = PublicState()

    async def entries(self, events: AsyncIterator[HistoryEvent]) -> AsyncIterator[LogEntry]:
        """What the events tell, oldest first."""
        async for event in events:
            kind = (event.WhichOneof("attributes") or "").removesuffix("_event_attributes")
            reader = _READERS.get(kind)
            if reader is not None:
                for entry in await reader(self, event, getattr(event, f"{kind}_event_attributes")):
                    yield entry

    # The run

    async def started(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        self._begun = time_of(event.event_time)
        what = "continued" if about.continued_execution_run_id else "started"
        return [LogEntry(at=self._begun, what=what, name=about.workflow_type.name)]

    async def completed(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        error = await self._error_in(about.result)
        return [self._ended(event, "completed" if error is None else "failed", error)]

    async def failed(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [self._ended(event, "failed", await self._text_of(about.failure))]

    async def cancelled(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [self._ended(event, "cancelled")]

    async def timed_out(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [self._ended(event, "timed_out")]

    async def terminated(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [self._ended(event, "terminated", about.reason or None)]

    def _ended(self, event: HistoryEvent, status: RunStatus, message: str | None = None) -> LogEntry:
        at = time_of(event.event_time)
        return LogEntry(at=at, what="ended", status=status, seconds=_seconds(self._begun, at), message=message)

    async def cancel_requested(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [LogEntry(at=time_of(event.event_time), what="cancel_requested", message=about.cause or None)]

    async def code_failed(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        if not about.HasField("failure"):  # a reset, or a query in between
            return []
        return [LogEntry(at=time_of(event.event_time), what="code_failed", message=await self._text_of(about.failure))]

    async def code_ran(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        self._code_ran = time_of(event.event_time)
        return []

    async def properties(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        """What the run tells the outside: questions and progress."""
        fields = about.upserted_memo.fields
        if STATE_MEMO not in fields:
            return []
        read: list[PublicState] = await self._converter.decode([fields[STATE_MEMO]], [PublicState])
        before, self._state = self._state, read[0]
        return list(changes(before, read[0], time_of(event.event_time)))

    # Its steps

    async def step_scheduled(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        at = time_of(event.event_time)
        step = self._steps[event.event_id] = _Step(about.activity_type.name, about.activity_id, at)
        return [LogEntry(at=at, what="step_scheduled", name=step.name, id=step.id)]

    async def step_started(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        """Temporal stores it when the step has ended, with the failure of the attempt before."""
        step = self._steps.get(about.scheduled_event_id)
        if step is None:
            return []
        step.begun, step.attempt = time_of(event.event_time), about.attempt
        if about.attempt <= 1 or not about.HasField("last_failure"):
            return []
        return [
            LogEntry(
                at=step.begun,
                what="step_attempt_failed",
                name=step.name,
                id=step.id,
                attempt=about.attempt - 1,
                message=await self._text_of(about.last_failure),
            )
        ]

    async def step_completed(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return self._step_ended("step_completed", event, about)

    async def step_failed(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return self._step_ended("step_failed", event, about, await self._text_of(about.failure))

    async def step_timed_out(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return self._step_ended("step_timed_out", event, about, await self._text_of(about.failure))

    async def step_cancelled(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return self._step_ended("step_cancelled", event, about)

    def _step_ended(self, what: Happened, event: HistoryEvent, about: Any, message: str | None = None) -> Sequence[LogEntry]:
        step, at = self._steps.pop(about.scheduled_event_id, None), time_of(event.event_time)
        if step is None:
            return []
        seconds = _seconds(step.begun, at)
        about_it: dict[str, Any] = {"name": step.name, "id": step.id, "attempt": step.attempt}
        return [LogEntry(at=at, what=what, seconds=seconds, message=message, **about_it)]

    async def marker(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        """A step that ran in the worker of the run (`local`): Temporal is told of it when it has ended."""
        if about.marker_name != _LOCAL_STEP or "data" not in about.details:
            return []
        read = await self._converter.decode(about.details["data"].payloads)
        data = cast("dict[str, Any]", read[0])
        at, name, number = time_of(event.event_time), data.get("activity_type"), data.get("activity_id")
        failed = about.HasField("failure")
        return [
            LogEntry(
                at=at,
                what="step_failed" if failed else "step_completed",
                name=name,
                id=number,
                attempt=data.get("attempt"),
                message=await self._text_of(about.failure) if failed else None,
            )
        ]

    # Timers

    async def timer_started(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        seconds = about.start_to_fire_timeout.ToTimedelta().total_seconds()
        return [LogEntry(at=time_of(event.event_time), what="timer_started", id=about.timer_id, seconds=seconds)]

    async def timer_fired(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [LogEntry(at=time_of(event.event_time), what="timer_fired", id=about.timer_id)]

    async def timer_cancelled(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [LogEntry(at=time_of(event.event_time), what="timer_cancelled", id=about.timer_id)]

    # Children and messages

    async def child_started(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [_child("child_started", event, about)]

    async def child_completed(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        error = await self._error_in(about.result)
        return [_child("child_ended", event, about, "completed" if error is None else "failed", error)]

    async def child_failed(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [_child("child_ended", event, about, "failed", await self._text_of(about.failure))]

    async def child_cancelled(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [_child("child_ended", event, about, "cancelled")]

    async def child_timed_out(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [_child("child_ended", event, about, "timed_out")]

    async def child_terminated(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        return [_child("child_ended", event, about, "terminated")]

    async def signalled(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        if about.signal_name == REFUSAL_SIGNAL:
            return []
        return [LogEntry(at=time_of(event.event_time), what="signal_received", name=about.signal_name)]

    async def signal_sent(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        target = about.workflow_execution.workflow_id
        return [LogEntry(at=time_of(event.event_time), what="signal_sent", name=about.signal_name, id=target)]

    async def updated(self, event: HistoryEvent, about: Any) -> Sequence[LogEntry]:
        # It is recorded with what the code did then; it came before.
        at, sent = self._code_ran or time_of(event.event_time), about.accepted_request.input
        if sent.name != ANSWER_UPDATE:
            return [LogEntry(at=at, what="update_received", name=sent.name)]
        read: list[Answer] = await self._converter.decode(sent.args.payloads, [Answer])
        return [answered(read[0], at)]

    async def _text_of(self, failure: Failure) -> str:
        """The innermost failure says what happened; those around it say that a step or a child has failed."""
        while failure.HasField("cause") and (
            failure.HasField("activity_failure_info") or failure.HasField("child_workflow_execution_failure_info")
        ):
            failure = failure.cause
        return await named_failure_text(self._converter, failure)

    async def _error_in(self, result: Payloads) -> str | None:
        """The error of a run that has returned one."""
        read: list[Any] = await self._converter.decode(result.payloads) if result.payloads else []
        value = cast("dict[str, Any]", read[0]) if read and isinstance(read[0], dict) else {}
        error = value.get("error")
        return error if isinstance(error, str) else None


def _child(
    what: Happened, event: HistoryEvent, about: Any, status: RunStatus | None = None, message: str | None = None
) -> LogEntry:
    return LogEntry(
        at=time_of(event.event_time),
        what=what,
        name=about.workflow_type.name,
        id=about.workflow_execution.workflow_id,
        status=status,
        message=message,
    )


def _seconds(begun: datetime | None, ended: datetime) -> float | None:
    return None if begun is None else (ended - begun).total_seconds()


_READERS: dict[str, Callable[[HistoryLog, HistoryEvent, Any], Awaitable[Sequence[LogEntry]]]] = {
    "workflow_execution_started": HistoryLog.started,
    "workflow_execution_completed": HistoryLog.completed,
    "workflow_execution_failed": HistoryLog.failed,
    "workflow_execution_canceled": HistoryLog.cancelled,
    "workflow_execution_timed_out": HistoryLog.timed_out,
    "workflow_execution_terminated": HistoryLog.terminated,
    "workflow_execution_cancel_requested": HistoryLog.cancel_requested,
    "workflow_execution_signaled": HistoryLog.signalled,
    "workflow_execution_update_accepted": HistoryLog.updated,
    "workflow_properties_modified": HistoryLog.properties,
    "workflow_task_started": HistoryLog.code_ran,
    "workflow_task_failed": HistoryLog.code_failed,
    "activity_task_scheduled": HistoryLog.step_scheduled,
    "activity_task_started": HistoryLog.step_started,
    "activity_task_completed": HistoryLog.step_completed,
    "activity_task_failed": HistoryLog.step_failed,
    "activity_task_timed_out": HistoryLog.step_timed_out,
    "activity_task_canceled": HistoryLog.step_cancelled,
    "marker_recorded": HistoryLog.marker,
    "timer_started": HistoryLog.timer_started,
    "timer_fired": HistoryLog.timer_fired,
    "timer_canceled": HistoryLog.timer_cancelled,
    "child_workflow_execution_started": HistoryLog.child_started,
    "child_workflow_execution_completed": HistoryLog.child_completed,
    "child_workflow_execution_failed": HistoryLog.child_failed,
    "child_workflow_execution_canceled": HistoryLog.child_cancelled,
    "child_workflow_execution_timed_out": HistoryLog.child_timed_out,
    "child_workflow_execution_terminated": HistoryLog.child_terminated,
    "signal_external_workflow_execution_initiated": HistoryLog.signal_sent,
}

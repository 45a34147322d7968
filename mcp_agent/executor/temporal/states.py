"""Reads a run's state off Temporal: from `describe` and the memo, which need no worker, and the closing event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution as RunReference
from temporalio.api.enums.v1 import EventType, PendingActivityState, PendingWorkflowTaskState
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.exceptions import TerminatedError

from mcp_agent.errors import EncryptionError
from mcp_agent.executor.runs import PublicState, RunFailure, RunState, RunStatus, StepState, partial_text_of, progress_of
from mcp_agent.executor.temporal.client import RPC_TIMEOUT
from mcp_agent.executor.temporal.endings import failure_of, failure_text, named_failure_text, termination_of
from mcp_agent.executor.temporal.names import OWN_MEMO, OWN_STEPS, STATE_MEMO
from mcp_agent.executor.temporal.versioning import TAKE_OVER_WITHIN, serving
from mcp_agent.executor.workflow import WorkflowResult

_STATUSES: dict[WorkflowExecutionStatus, RunStatus] = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
}
# A workflow task that nobody has taken for this long is worth a look at who serves the queue.
UNTAKEN = timedelta(seconds=3)
# A worker whose build is not the current one has made it that by then, where it is the one that was started last.
BECOMES_CURRENT = timedelta(seconds=15)


async def listed(execution: WorkflowExecution) -> RunState:
    """What a listing tells of a run. One that cannot be read (its key is missing) says so, and hides no others."""
    try:
        return await summary(execution)
    except EncryptionError as error:
        return replace(_summary(execution, {}), error=RunFailure(code="unreadable", message=str(error)))


async def summary(execution: WorkflowExecution) -> RunState:
    """What `describe` and a listing both tell; no result. Raises EncryptionError."""
    return _summary(execution, await execution.memo())


def _summary(execution: WorkflowExecution, memo: Mapping[str, Any]) -> RunState:
    public = PublicState.model_validate(memo.get(STATE_MEMO) or {})
    status = _STATUSES[execution.status or WorkflowExecutionStatus.RUNNING]
    if status == "completed" and public.failed:
        status = "failed"
    if status == "running" and public.pending_inputs:
        status = "waiting_for_input"
    closed = execution.close_time
    return RunState(
        run_id=execution.id,
        engine_run_id=execution.run_id,
        workflow=execution.workflow_type,
        status=status,
        started_at=execution.start_time,
        updated_at=closed or datetime.now(UTC),
        closed_at=closed,
        pending_inputs=tuple(public.pending_inputs) if closed is None else (),
        progress=public.progress,
        usage=public.usage,
        memo={name: value for name, value in memo.items() if not name.startswith(OWN_MEMO)},
    )


async def full(
    client: Client, description: WorkflowExecutionDescription, retention: timedelta, *, served_here: bool = False
) -> RunState:
    """Everything: what is under way, why it is stuck, or how it ended.

    `served_here`: a worker of this process serves the run; one that has only begun has not asked for work yet.
    """
    raw = description.raw_description
    state = replace(
        await summary(description),
        cancel_requested=raw.workflow_extended_info.cancel_requested,
        steps=tuple([await _step(client, pending) for pending in raw.pending_activities]),
    )
    if state.closed:
        return replace(await _with_ending(client, state), expires_at=_expiry(state, retention))
    if raw.HasField("pending_workflow_task"):
        return await _with_pending_task(client, description, state, served_here)
    return state


def _expiry(state: RunState, retention: timedelta) -> datetime | None:
    return None if state.closed_at is None else state.closed_at + retention


async def _step(client: Client, pending: PendingActivityInfo) -> StepState:
    failed = pending.HasField("last_failure")
    failure = await named_failure_text(client.data_converter, pending.last_failure) if failed else None
    waits = pending.HasField("next_attempt_schedule_time")
    told = await client.data_converter.decode(pending.heartbeat_details.payloads) if _tells(pending) else []
    return StepState(
        name=pending.activity_type.name,
        attempt=max(pending.attempt, 1),
        last_error=failure,
        next_retry_at=_time(pending.next_attempt_schedule_time) if waits else None,
        partial_text=partial_text_of(told),
        progress=progress_of(told),
    )


def _tells(pending: PendingActivityInfo) -> bool:
    """Whether its heartbeats may hold an answer that grows: what an attempt that has failed told last is over."""
    return (
        pending.activity_type.name.startswith(OWN_STEPS) and pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    )


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


async def _with_ending(client: Client, state: RunState) -> RunState:
    handle: Any = client.get_workflow_handle(state.run_id, run_id=state.engine_run_id, result_type=WorkflowResult[Any])
    try:
        result: WorkflowResult[Any] = await handle.result(follow_runs=False, rpc_timeout=RPC_TIMEOUT)
    except WorkflowFailureError as error:  # the status says it all where the run was cancelled or timed out
        if isinstance(error.cause, TerminatedError):
            return replace(state, error=termination_of(error.cause))
        return replace(state, error=failure_of(error.cause)) if state.status == "failed" else state
    failure = None if result.error is None else RunFailure(code="workflow_error", message=result.error)
    status: RunStatus = state.status if failure is None else "failed"
    return replace(state, status=status, result=result.value, metadata=result.metadata, error=failure)


async def _with_pending_task(
    client: Client, description: WorkflowExecutionDescription, state: RunState, served_here: bool
) -> RunState:
    task = description.raw_description.pending_workflow_task
    if task.attempt > 1:
        cause = await _task_failure(client, state)
        if cause is not None:
            return replace(state, status="blocked", blocked=cause)
    untaken = task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    if not untaken:
        return state
    waited = datetime.now(UTC) - _time(task.scheduled_time)
    if waited > UNTAKEN and not served_here:
        nobody = await unserved(client, description.task_queue, waited)
        if nobody is not None:
            return replace(state, status="blocked", blocked=nobody)
    new = (description.history_length or 0) <= 2
    return replace(state, status="queued") if new and state.status == "running" else state


async def unserved(client: Client, task_queue: str, waited: timedelta) -> str | None:
    """Why nobody takes the queue's workflow tasks, and what to do; `None` if somebody does, or is about to. Raises RPCError."""
    now = await serving(client, task_queue)
    if now.served:
        return None
    if now.workers:
        if now.current is None or waited < BECOMES_CURRENT:
            return None
        return (
            f"No worker with the newest code serves task queue `{task_queue}`, only some with other code: start the server, or "
            f"`mcp-agent worker`, with the code of today. One of the others takes over within {TAKE_OVER_WITHIN:g} s."
        )
    return f"No worker serves task queue `{task_queue}`: start the server, or `mcp-agent worker`. The run goes on then."


async def _task_failure(client: Client, state: RunState) -> str | None:
    """Why the run's code cannot go on: the last failed workflow task, and what to do."""
    answer = await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace,
            execution=RunReference(workflow_id=state.run_id, run_id=state.engine_run_id or ""),
            maximum_page_size=5,
        ),
        timeout=RPC_TIMEOUT,
    )
    for event in answer.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return await _explain(client, event)
    return None


async def _explain(client: Client, event: HistoryEvent) -> str:
    failed = event.workflow_task_failed_event_attributes
    message = await failure_text(client.data_converter, failed.failure) or "no reason given"
    if "VersionRemoved" in message:
        return f"The workflow's code no longer has what this run needs ({message}). The run goes on by itself then."
    if "TMPRL1100" in message or "ondeterminism" in message:
        return (
            f"The workflow's code no longer fits what this run did before ({message}). Put the code back, or guard the "
            "change with `workflow.get_version`; the run goes on by itself then."
        )
    return f"The workflow's code cannot go on: {message}. Mend it and restart the worker; the run goes on by itself then."

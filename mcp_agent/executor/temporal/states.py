"""Reads a run's state off Temporal: from `describe` and the memo, which need no worker, and the closing event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

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

from mcp_agent.errors import EncryptionError, PayloadMissing, StorageUnavailable, UnreadablePayload
from mcp_agent.executor.runs import PublicState, RunFailure, RunState, RunStatus, StepState, partial_text_of, progress_of
from mcp_agent.executor.temporal.client import RPC_TIMEOUT
from mcp_agent.executor.temporal.endings import failure_of, failure_text, named_failure_text, termination_of
from mcp_agent.executor.temporal.history import time_of
from mcp_agent.executor.temporal.names import OWN_MEMO, OWN_STEPS, STATE_MEMO
from mcp_agent.executor.temporal.unserved import unserved, version_of
from mcp_agent.executor.temporal.untaken import UNTAKEN, UntakenSteps
from mcp_agent.executor.workflow import WorkflowResult

Outcome = WorkflowResult[Any] | WorkflowFailureError
"""How a run has ended."""

_LOST = 2
"""Up to this attempt a workflow task is only made again, for a worker that was lost."""

_STATUSES: dict[WorkflowExecutionStatus, RunStatus] = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
}


async def listed(execution: WorkflowExecution, retention: timedelta) -> RunState:
    """What a listing tells of a run. One that cannot be read (its key is missing) says so, and hides no others."""
    try:
        return await summary(execution, retention)
    except UnreadablePayload as error:
        return replace(_summary(execution, {}, retention), error=RunFailure(code="unreadable", message=str(error)))


async def summary(execution: WorkflowExecution, retention: timedelta) -> RunState:
    """What `describe` and a listing both tell; no result. Raises UnreadablePayload."""
    return _summary(execution, await execution.memo(), retention)


def _summary(execution: WorkflowExecution, memo: Mapping[str, Any], retention: timedelta) -> RunState:
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
        expires_at=None if closed is None else closed + retention,
        pending_inputs=tuple(public.pending_inputs) if closed is None else (),
        progress=public.progress,
        usage=public.usage,
        memo={name: value for name, value in memo.items() if not name.startswith(OWN_MEMO)},
        version=version_of(execution.raw_info.versioning_info),
    )


async def full(
    client: Client,
    description: WorkflowExecutionDescription,
    retention: timedelta,
    untaken: UntakenSteps,
    *,
    served_here: bool = False,
    outcome: Outcome | None = None,
) -> RunState:
    """Everything: what is under way, why it is stuck, or how it ended.

    Args:
        client: For what `describe` leaves out.
        description: Of the newest run of the chain.
        retention: How long a closed run is kept.
        untaken: Knows who serves the queues of steps.
        served_here: A worker of this process serves the run; one that has only begun has not asked for work yet.
        outcome: How it ended, if that is known already.
    """
    raw = description.raw_description
    state = replace(
        await summary(description, retention),
        cancel_requested=raw.workflow_extended_info.cancel_requested,
        steps=tuple([await _step(client, pending) for pending in raw.pending_activities]),
    )
    if state.closed:
        ending = await _outcome(client, state) if outcome is None else outcome
        return _with_ending(state, ending)
    if raw.HasField("pending_workflow_task"):
        return await _with_pending_task(client, description, state, served_here)
    nobody = await untaken.why(raw.pending_activities)
    return state if nobody is None else replace(state, status="blocked", blocked=nobody)


async def _step(client: Client, pending: PendingActivityInfo) -> StepState:
    failed = pending.HasField("last_failure")
    failure = await named_failure_text(client.data_converter, pending.last_failure) if failed else None
    waits = pending.HasField("next_attempt_schedule_time")
    told = await client.data_converter.decode(pending.heartbeat_details.payloads) if _tells(pending) else []
    return StepState(
        name=pending.activity_type.name,
        attempt=max(pending.attempt, 1),
        last_error=failure,
        next_retry_at=time_of(pending.next_attempt_schedule_time) if waits else None,
        partial_text=partial_text_of(told),
        progress=progress_of(told),
    )


_UNREADABLE = tuple(error.__name__ for error in (UnreadablePayload, EncryptionError, PayloadMissing, StorageUnavailable))


def _tells(pending: PendingActivityInfo) -> bool:
    """Whether its heartbeats may hold an answer that grows: what an attempt that has failed told last is over."""
    return (
        pending.activity_type.name.startswith(OWN_STEPS) and pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    )


async def _outcome(client: Client, state: RunState) -> Outcome:
    handle: Any = client.get_workflow_handle(state.run_id, run_id=state.engine_run_id, result_type=WorkflowResult[Any])
    try:
        return await handle.result(follow_runs=False, rpc_timeout=RPC_TIMEOUT)
    except WorkflowFailureError as error:
        return error


def _with_ending(state: RunState, outcome: Outcome) -> RunState:
    if isinstance(outcome, WorkflowFailureError):  # the status says it all where the run was cancelled or timed out
        if isinstance(outcome.cause, TerminatedError):
            return replace(state, error=termination_of(outcome.cause))
        return replace(state, error=failure_of(outcome.cause)) if state.status == "failed" else state
    failure = None if outcome.error is None else RunFailure(code="workflow_error", message=outcome.error)
    status: RunStatus = state.status if failure is None else "failed"
    return replace(state, status=status, result=outcome.value, metadata=outcome.metadata, error=failure)


async def _with_pending_task(
    client: Client, description: WorkflowExecutionDescription, state: RunState, served_here: bool
) -> RunState:
    task = description.raw_description.pending_workflow_task
    cause = await task_failure(client, description)
    if cause is None and task.attempt > _LOST:
        cause = _unrecorded(description.task_queue, task.attempt - 1)
    if cause is not None:
        return replace(state, status="blocked", blocked=cause)
    untaken = task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    if not untaken:
        return state
    waited = datetime.now(UTC) - time_of(task.scheduled_time)
    if waited > UNTAKEN and not served_here:
        nobody = await unserved(client, description, waited)
        if nobody is not None:
            return replace(state, status="blocked", blocked=nobody)
    new = (description.history_length or 0) <= 2
    return replace(state, status="queued") if new and state.status == "running" else state


async def task_failure(client: Client, description: WorkflowExecutionDescription) -> str | None:
    """Why the run's code cannot go on: the last failed workflow task, and what to do; `None` where none is tried again."""
    if description.raw_description.pending_workflow_task.attempt <= 1:
        return None
    answer = await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace,
            execution=RunReference(workflow_id=description.id, run_id=description.run_id or ""),
            maximum_page_size=5,
        ),
        retry=True,
        timeout=RPC_TIMEOUT,
    )
    for event in answer.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return await _explain(client, event)
    return None


def _unrecorded(queue: str, tries: int) -> str:
    """Temporal keeps why a workflow task failed only of its first try, and that one was lost."""
    return (
        f"The workflow's code has been tried {tries} times without an answer. The first try was lost, with a worker that ended "
        "or took too long, and of the later ones Temporal keeps no cause: the log of the workers of task queue "
        f"`{queue}` names it. Mend it and restart the worker; the run goes on by itself then."
    )


async def _explain(client: Client, event: HistoryEvent) -> str:
    failed = event.workflow_task_failed_event_attributes
    message = await failure_text(client.data_converter, failed.failure) or "no reason given"
    if failed.failure.application_failure_info.type in _UNREADABLE:
        return f"What the run has stored cannot be read or kept: {message} The run goes on by itself then."
    if "VersionRemoved" in message:
        return f"The workflow's code no longer has what this run needs ({message}). The run goes on by itself then."
    if "TMPRL1100" in message or "ondeterminism" in message:
        return (
            f"The workflow's code no longer fits what this run did before ({message}). Put the code back, or guard the "
            "change with `workflow.get_version`; the run goes on by itself then."
        )
    return f"The workflow's code cannot go on: {message}. Mend it and restart the worker; the run goes on by itself then."

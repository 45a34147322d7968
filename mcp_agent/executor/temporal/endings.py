"""Temporal's failures as this package tells them: how a run, a step or a child ended."""

from __future__ import annotations

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
)
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from mcp_agent.errors import RunCancelledError, RunFailedError, RunTerminatedError, RunTimedOutError, StepCancelledError
from mcp_agent.executor.failures import termination
from mcp_agent.executor.runs import RunFailure

_NO_REASON = "Workflow terminated"  # what temporalio says then


def failure_of(cause: BaseException) -> RunFailure:
    """Why a run ended, as it is told to clients."""
    if isinstance(cause, ActivityError | ChildWorkflowError) and cause.cause is not None:
        return failure_of(cause.cause)
    if isinstance(cause, ApplicationError):
        inner = cause.cause
        return RunFailure(
            code=cause.type or "ApplicationError",
            message=cause.message,
            retryable=not cause.non_retryable,
            cause=str(inner) if inner is not None else None,
        )
    message = cause.message if isinstance(cause, FailureError) else str(cause)
    return RunFailure(code=type(cause).__name__, message=message)


def ending(run_id: str, cause: BaseException) -> RunFailedError:
    """The error for a closed run that has no result."""
    if isinstance(cause, CancelledError):
        return RunCancelledError(f"Run `{run_id}` was cancelled.", run_id=run_id)
    if isinstance(cause, TerminatedError):
        why = termination_of(cause)
        return RunTerminatedError(f"Run `{run_id}` was terminated{'.' if why is None else f': {why.message}'}", run_id=run_id)
    if isinstance(cause, TemporalTimeoutError):
        return RunTimedOutError(f"Run `{run_id}` ran out of time.", run_id=run_id)
    failure = failure_of(cause)
    return RunFailedError(f"Run `{run_id}` failed: {failure.message}", run_id=run_id, type=failure.code)


def termination_of(cause: TerminatedError) -> RunFailure | None:
    """Why a run was terminated, by whomever, Temporal included."""
    return termination(None if cause.message == _NO_REASON else cause.message)


def is_cancellation(error: BaseException) -> bool:
    """Whether a step or a child ended because it was cancelled."""
    return isinstance(error, CancelledError | RunCancelledError | StepCancelledError) or (
        isinstance(error, ActivityError | ChildWorkflowError) and isinstance(error.cause, CancelledError)
    )


async def failure_text(converter: DataConverter, failure: Failure) -> str:
    """The message of a failure as Temporal stores it. Raises UnreadablePayload."""
    if not failure.HasField("encoded_attributes"):
        return failure.message
    readable = Failure()
    readable.CopyFrom(failure)
    error = await converter.decode_failure(readable)
    return error.message if isinstance(error, FailureError) else str(error)


async def named_failure_text(converter: DataConverter, failure: Failure) -> str:
    """As `failure_text`, with the error's type before it where it has one. Raises UnreadablePayload."""
    name = failure.application_failure_info.type
    text = await failure_text(converter, failure)
    return f"{name}: {text}" if name else text

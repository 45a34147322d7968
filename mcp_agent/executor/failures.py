"""How exceptions of user code become failures of steps and runs, alike on both engines."""

from __future__ import annotations

import traceback

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.runs import RunFailure

MESSAGE_LIMIT = 4_000


def failure_type(error: BaseException) -> str:
    """The name that retry policies and callers match."""
    return error.type if isinstance(error, WorkflowApplicationError) else type(error).__name__


def failure_message(error: BaseException) -> str:
    """The error's text, and for a programming error the place that raised it, bounded."""
    text = str(error)[:MESSAGE_LIMIT]
    if isinstance(error, WorkflowApplicationError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text or type(error).__name__
    last = frames[-1]
    return f"{text or type(error).__name__} ({last.filename.rpartition('/')[2]}:{last.lineno}, in {last.name})"


def run_failure(error: BaseException) -> RunFailure:
    """The failure of a run that ended with `error`."""
    retryable = isinstance(error, WorkflowApplicationError) and not error.non_retryable
    cause = error.__cause__
    return RunFailure(
        code=failure_type(error),
        message=failure_message(error),
        retryable=retryable,
        cause=f"{failure_type(cause)}: {str(cause)[:MESSAGE_LIMIT]}" if cause is not None else None,
    )


def as_step_failure(error: Exception) -> WorkflowApplicationError:
    """What the workflow sees of a step's last exception: its type, text and details, but no foreign class."""
    if isinstance(error, WorkflowApplicationError):
        return error
    return WorkflowApplicationError(failure_message(error), type=failure_type(error))

"""How exceptions of user code become failures of steps and runs, alike on both engines."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Sequence
from typing import Any, cast

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.continuing import LeavesRun
from mcp_agent.executor.runs import RunFailure

MESSAGE_LIMIT = 4_000


def error_text(error: BaseException) -> str:
    """An exception's text, bounded, and such that it can be sent and stored: exceptions of user code can be anything."""
    try:
        text = str(error)
    except Exception as second:
        text = f"(its text cannot be read: {type(second).__name__})"
    return text[:MESSAGE_LIMIT].encode("utf-8", "backslashreplace").decode()


class contained:  # noqa: N801 - reads as a block
    """What user code raises past `Exception` becomes an error of that code: `sys.exit()` in a step must not end the server.

    Raises:
        WorkflowApplicationError: Type `SystemExit`, `KeyboardInterrupt` or the name of another class that is no `Exception`.
    """

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None or isinstance(error, Exception | asyncio.CancelledError | GeneratorExit | LeavesRun):
            return
        leaving = _leaving(error)
        if leaving is not None:
            raise leaving
        text = f"`{type(error).__name__}` was raised: {error_text(error)}"
        raise WorkflowApplicationError(text, type=type(error).__name__, non_retryable=True) from error


def _leaving(error: BaseException) -> LeavesRun | None:
    """What a task of a group has raised to leave the run."""
    if isinstance(error, BaseExceptionGroup):
        inner: list[BaseException] = list(cast("Any", error).exceptions)
        return next((found for each in inner if (found := _leaving(each)) is not None), None)
    return error if isinstance(error, LeavesRun) else None


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a plain function in a thread."""
    return await asyncio.to_thread(call_plain, function, args)


def call_plain(function: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Calls a function; StopIteration becomes a RuntimeError, as in a coroutine: no future can hold it."""
    try:
        return function(*args)
    except StopIteration as error:
        raise RuntimeError("the function raised StopIteration") from error


def failure_type(error: BaseException) -> str:
    """The name that retry policies and callers match."""
    return error.type if isinstance(error, WorkflowApplicationError) else type(error).__name__


def failure_message(error: BaseException) -> str:
    """The error's text, and for a programming error the place that raised it, bounded."""
    text = error_text(error)
    if isinstance(error, WorkflowApplicationError):
        return text
    if type(error).__name__ == "_NotInWorkflowEventLoopError":
        text += " (the calls of `temporalio.workflow` work on Temporal only: write `from mcp_agent import workflow`)"
    if isinstance(error, NotImplementedError) and not text:
        text = "workflow code has no threads, sockets and processes: what needs them is a step (`@app.workflow_task`)"
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
        cause=f"{failure_type(cause)}: {error_text(cause)}" if cause is not None else None,
    )


def termination(reason: str | None) -> RunFailure | None:
    """Why somebody ended a run from outside, where that was said."""
    return RunFailure(code="terminated", message=reason) if reason else None


def as_step_failure(error: Exception) -> WorkflowApplicationError:
    """What the workflow sees of a step's last exception: its type, text and details, but no foreign class."""
    if isinstance(error, WorkflowApplicationError):
        return error
    return WorkflowApplicationError(failure_message(error), type=failure_type(error))


def query_failure(run_id: str, query: str, why: str) -> WorkflowApplicationError:
    """A query handler raised, or answered with what cannot be sent. The run goes on."""
    return WorkflowApplicationError(f"Query `{query}` of run `{run_id}` failed: {why}", type="QueryFailed", non_retryable=True)

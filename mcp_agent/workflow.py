"""The deterministic API of workflow code: `from mcp_agent import workflow`. The same calls on both engines.

Names are Temporal's where Temporal has one, and the specification's where it has none.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random as _random
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from mcp_agent.errors import DefinitionError
from mcp_agent.executor.handlers import Handler, HandlerKind, mark
from mcp_agent.executor.retry import RetryPolicy, RetryPolicyLike
from mcp_agent.executor.runtime import RunInfo, current, current_or_none
from mcp_agent.executor.steps import StepCall, StepOptions
from mcp_agent.executor.workflow_task import definition_of

__all__ = [
    "CancelledError",
    "RetryPolicy",
    "TimeoutError",
    "all_handlers_finished",
    "execute_activity",
    "in_workflow",
    "info",
    "logger",
    "now",
    "query",
    "random",
    "signal",
    "sleep",
    "time",
    "timeout",
    "update",
    "uuid4",
    "wait_condition",
]

F = TypeVar("F", bound=Callable[..., Any])

TimeoutError = TimeoutError  # noqa: PLW0127 - the specification says `workflow.TimeoutError`
CancelledError = asyncio.CancelledError


def in_workflow() -> bool:
    """Whether this code is part of a run."""
    return current_or_none() is not None


def info() -> RunInfo:
    """Ids of the run. Raises NotInWorkflowError outside one, as all below do."""
    return current().info


def now() -> datetime:
    """The run's time, in UTC; the same on replay."""
    return current().now()


def time() -> float:
    """The run's time in seconds since 1970; the same on replay."""
    return current().now().timestamp()


def random() -> _random.Random:
    """A source of randomness that gives the same on replay."""
    return current().random()


def uuid4() -> uuid.UUID:
    """A random UUID that is the same on replay."""
    return current().uuid4()


async def sleep(duration: float | timedelta) -> None:
    """Sleeps durably: `duration` is a timedelta, or seconds."""
    await current().sleep(_delta(duration))


async def wait_condition(condition: Callable[[], bool], *, timeout: float | timedelta | None = None) -> None:
    """Waits until `condition()` is true. It may read the workflow's state and must not change it.

    Raises:
        TimeoutError: It was not true within `timeout` (a timedelta, or seconds).
    """
    await current().wait_condition(condition, None if timeout is None else _delta(timeout))


@asynccontextmanager
async def timeout(duration: float | timedelta) -> AsyncGenerator[None, None]:
    """Ends the block with TimeoutError after `duration` (a timedelta, or seconds), and cancels what it waits for.

    Specification, "Workflow Timeouts and Cancellation".
    """
    async with asyncio.timeout(_delta(duration).total_seconds()):
        yield


async def execute_activity(
    activity: str | Callable[..., Any],
    arg: Any = inspect.Parameter.empty,
    *,
    args: tuple[Any, ...] | list[Any] = (),
    result_type: Any = None,
    start_to_close_timeout: timedelta | None = None,
    schedule_to_close_timeout: timedelta | None = None,
    schedule_to_start_timeout: timedelta | None = None,
    heartbeat_timeout: timedelta | None = None,
    retry_policy: RetryPolicyLike | None = None,
    task_queue: str | None = None,
    summary: str | None = None,
) -> Any:
    """Runs a `@workflow_task`, or a step by its name, with options for this call.

    Raises:
        WorkflowApplicationError: It failed for good; `type` is the class name of what it raised.
        StepTimeoutError: It ran out of time.
        DefinitionError: `activity` is neither a task nor a name.
    """
    given = tuple(args) if arg is inspect.Parameter.empty else (arg, *args)
    options = StepOptions(
        start_to_close_timeout=start_to_close_timeout,
        schedule_to_close_timeout=schedule_to_close_timeout,
        schedule_to_start_timeout=schedule_to_start_timeout,
        heartbeat_timeout=heartbeat_timeout,
        retry_policy=retry_policy,
        task_queue=task_queue,
        summary=summary,
    )
    if isinstance(activity, str):
        return await current().run_step(StepCall(activity, given, options, result_type))
    task = definition_of(activity)
    if task is None:
        name = getattr(activity, "__qualname__", repr(activity))
        raise DefinitionError(f"`{name}` is no step: put `@app.workflow_task` on it.")
    return await current().run_step(task.call(given, options))


def all_handlers_finished() -> bool:
    """Whether no signal or update handler is under way: wait for it before `run` returns."""
    return current().all_handlers_finished()


class _RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Finds the run's own logger at each call, so that one object serves every run and does not repeat on replay."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        runtime = current_or_none()
        target = self.logger if runtime is None else runtime.logger
        target.log(level, msg, *args, **kwargs)


logger: logging.LoggerAdapter[logging.Logger] = _RunLogger(logging.getLogger("mcp_agent.workflow"), {})


@overload
def signal(function: F) -> F: ...
@overload
def signal(*, name: str | None = None, dynamic: bool = False) -> Callable[[F], F]: ...
def signal(function: Any = None, *, name: str | None = None, dynamic: bool = False) -> Any:
    """Marks a method that a signal calls; `dynamic` takes every name without a handler of its own."""
    return _handler("signal", function, name, dynamic)


@overload
def query(function: F) -> F: ...
@overload
def query(*, name: str | None = None, dynamic: bool = False) -> Callable[[F], F]: ...
def query(function: Any = None, *, name: str | None = None, dynamic: bool = False) -> Any:
    """Marks a plain method that answers a question about the run's state."""
    return _handler("query", function, name, dynamic)


@overload
def update(function: F) -> F: ...
@overload
def update(*, name: str | None = None, dynamic: bool = False) -> Callable[[F], F]: ...
def update(function: Any = None, *, name: str | None = None, dynamic: bool = False) -> Any:
    """Marks a method that changes the run and answers; `@x.validator` on another method can refuse it first."""
    return _handler("update", function, name, dynamic)


def _handler(kind: HandlerKind, function: Any, name: str | None, dynamic: bool) -> Any:
    def decorate(method: F) -> F:
        called = None if dynamic else name or method.__name__
        handler = Handler(kind, called, method, inspect.cleandoc(method.__doc__ or ""))
        mark(method, handler)
        if kind == "update":
            _let_validate(method, handler)
        return method

    return decorate if function is None else decorate(function)


def _let_validate(method: Callable[..., Any], handler: Handler) -> None:
    def validator(check: F) -> F:
        mark(method, Handler("update", handler.name, method, handler.description, check))
        return check

    method.validator = validator  # type: ignore[attr-defined]


def _delta(duration: float | timedelta) -> timedelta:
    delta = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
    if delta < timedelta(0):
        raise ValueError(f"A duration of `{duration}` is negative.")
    return delta

"""The deterministic API of workflow code: `from mcp_agent import workflow`. The same calls on both engines.

Names are Temporal's where Temporal has one, and the specification's where it has none.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random as _random
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeVar, get_args, overload

from mcp_agent.call_request import current_call
from mcp_agent.errors import DefinitionError, InvalidArguments, NotInWorkflowError
from mcp_agent.executor.budget import Budget
from mcp_agent.executor.children import ChildHandle, ChildOptions, ParentClosePolicy
from mcp_agent.executor.continuing import ContinueAsNew
from mcp_agent.executor.definition import WorkflowDefinition
from mcp_agent.executor.durations import duration_of
from mcp_agent.executor.handlers import Handler, HandlerKind, mark
from mcp_agent.executor.method_steps import task_of_method
from mcp_agent.executor.priority import check_priority
from mcp_agent.executor.retry import RetryPolicy, RetryPolicyLike
from mcp_agent.executor.runtime import RunInfo, check_outermost, current, current_or_none
from mcp_agent.executor.start_options import check_choice, check_duration, check_id
from mcp_agent.executor.step_context import StepContext, current_step
from mcp_agent.executor.steps import StepCall, StepOptions
from mcp_agent.executor.task_group import TaskGroup
from mcp_agent.executor.workflow import NAME_MARK
from mcp_agent.executor.workflow_result import WorkflowResult
from mcp_agent.executor.workflow_task import definition_of

__all__ = [
    "Budget",
    "CancelledError",
    "ChildHandle",
    "RetryPolicy",
    "TaskGroup",
    "TimeoutError",
    "all_handlers_finished",
    "continue_as_new",
    "execute_activity",
    "execute_child_workflow",
    "get_version",
    "heartbeat",
    "heartbeat_details",
    "in_workflow",
    "info",
    "logger",
    "now",
    "query",
    "random",
    "set_budget",
    "should_continue_as_new",
    "signal",
    "sleep",
    "sleep_until",
    "start_child_workflow",
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
    await current().sleep(duration_of(duration))


async def sleep_until(moment: datetime) -> None:
    """Sleeps durably until a moment (specification, "Scheduled Workflows"); one that has passed is not waited for.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"`{moment.isoformat()}` has no time zone: give it one, such as `datetime.UTC`.")
    left = moment - now()
    if left > timedelta(0):
        await current().sleep(left)


async def wait_condition(condition: Callable[[], bool], *, timeout: float | timedelta | None = None) -> None:
    """Waits until `condition()` is true. It may read the workflow's state and must not change it.

    Raises:
        TimeoutError: It was not true within `timeout` (a timedelta, or seconds).
    """
    await current().wait_condition(condition, None if timeout is None else duration_of(timeout))


@asynccontextmanager
async def timeout(duration: float | timedelta) -> AsyncGenerator[None, None]:
    """Ends the block with TimeoutError after `duration` (a timedelta, or seconds), and cancels what it waits for.

    Specification, "Workflow Timeouts and Cancellation".
    """
    clock = asyncio.timeout(duration_of(duration).total_seconds())
    try:
        async with clock:
            yield
    except Exception as error:
        # A step that was called past this package says in words of its own that it was cancelled.
        if not isinstance(error, TimeoutError) and clock.expired() and current().is_cancellation(error):
            raise TimeoutError from error
        raise


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
    priority: int | None = None,
    summary: str | None = None,
) -> Any:
    """Runs a step with options for this call: a `@workflow_task`, a coroutine method (`self.method`), or one by its name.

    A method that is run so has no `self.x`: it gets what it needs as arguments (specification, "Activity vs Workflow").

    Raises:
        WorkflowApplicationError: It failed for good; `type` is the class name of what it raised.
        StepTimeoutError: It ran out of time.
        DefinitionError: `activity` is no step.
        InvalidArguments: A time-out or the retry policy is wrong.
    """
    given = tuple(args) if arg is inspect.Parameter.empty else (arg, *args)
    options = StepOptions(
        start_to_close_timeout=start_to_close_timeout,
        schedule_to_close_timeout=schedule_to_close_timeout,
        schedule_to_start_timeout=schedule_to_start_timeout,
        heartbeat_timeout=heartbeat_timeout,
        retry_policy=retry_policy,
        task_queue=task_queue,
        priority=priority,
        summary=summary,
    )
    options.check()
    if isinstance(activity, str):
        return await current().run_step(StepCall(activity, given, options, result_type))
    task = definition_of(activity) or task_of_method(activity)
    if task is None:
        name = getattr(activity, "__qualname__", repr(activity))
        raise DefinitionError(f"`{name}` is no step: put `@app.workflow_task` on it, or make it a method of the workflow.")
    task.check_number(given)
    return await current().run_step(task.call(given, options))


def heartbeat(*details: Any) -> None:
    """Tells, inside a step, that it is alive, and how far it is: the next attempt finds `details` in `heartbeat_details()`.

    Steps are reported as alive by themselves; call this to leave word of what is done. Raises NotInWorkflowError.
    """
    _step().heartbeat(*details)


def heartbeat_details() -> tuple[Any, ...]:
    """What the attempt before told last, inside a step; empty for the first. Raises NotInWorkflowError."""
    return _step().heartbeat_details


def _step() -> StepContext:
    step = current_step()
    if step is None:
        raise NotInWorkflowError("`heartbeat` is for steps: call it in a `@workflow_task` or in a method that is run as one.")
    return step


async def start_child_workflow(
    workflow: str | type[Any],
    arg: Any = inspect.Parameter.empty,
    *,
    args: tuple[Any, ...] | list[Any] = (),
    id: str | None = None,
    parent_close_policy: ParentClosePolicy = "terminate",
    task_queue: str | None = None,
    priority: int | None = None,
    execution_timeout: timedelta | None = None,
    run_timeout: timedelta | None = None,
    task_timeout: timedelta | None = None,
    memo: Mapping[str, Any] | None = None,
) -> ChildHandle:
    """Starts a run that belongs to this one: with an id, a history and a status of its own.

    Args:
        workflow: A class under `@app.workflow`, or a name.
        id: The child's public id; one that nobody can guess by default.
        parent_close_policy: What becomes of the child when this run ends first: `terminate`, `abandon` or `request_cancel`.
        priority: 1 (first) to 5 (last); that of its workflow by default, else that of this run. Temporal only.

    Raises:
        IdempotencyConflict: The id is taken.
        InvalidArguments: An option or an argument is wrong.
    """
    given = tuple(args) if arg is inspect.Parameter.empty else (arg, *args)
    name, definition = _workflow(workflow)
    check_id("id", id)
    check_priority("priority", priority)
    check_choice("parent_close_policy", parent_close_policy, get_args(ParentClosePolicy))
    for option, value in (("execution_timeout", execution_timeout), ("run_timeout", run_timeout), ("task_timeout", task_timeout)):
        check_duration(option, value)
    options = ChildOptions(
        id=id,
        parent_close_policy=parent_close_policy,
        task_queue=task_queue,
        priority=priority,
        execution_timeout=execution_timeout,
        run_timeout=run_timeout,
        task_timeout=task_timeout,
        memo=memo or {},
    )
    bound = list(given) if definition is None else definition.bind_positional(given)
    result_type = WorkflowResult[Any] if definition is None else definition.result_type
    return await current().start_child(name, bound, options, result_type)


async def execute_child_workflow(
    workflow: str | type[Any],
    arg: Any = inspect.Parameter.empty,
    *,
    args: tuple[Any, ...] | list[Any] = (),
    **options: Any,
) -> WorkflowResult[Any]:
    """Starts a child as `start_child_workflow` does and waits for its result.

    Raises:
        RunFailedError: It did not complete (or a subclass that says how).
    """
    child = await start_child_workflow(workflow, arg, args=args, **options)
    return await child.result()


def _workflow(workflow: str | type[Any]) -> tuple[str, WorkflowDefinition | None]:
    if isinstance(workflow, str):
        return workflow, None
    name = vars(workflow).get(NAME_MARK)
    if name is None:
        raise DefinitionError(f"`{workflow.__name__}` is no workflow: put `@app.workflow` on it.")
    return name, WorkflowDefinition(workflow, name)


def set_budget(budget: Budget | None) -> None:
    """Limits what all agents of this run use together from now on; what was used before counts too. `None` ends the limit.

    A `deadline` that is a duration begins now. Raises NotInWorkflowError.
    """
    spending = current().spending
    spending.budget = budget
    spending.since = now()


def get_version(change_id: str, minimum: int, maximum: int) -> int:
    """Which version of a piece of code this run takes (specification, "Workflow Versioning").

    A run that reaches the call for the first time takes `maximum`, and keeps it. A run from before the call was there takes 1,
    the first version. Raise `minimum` when no run needs the older code any more: one that does is `blocked` with
    `VersionRemoved` and what to do, and goes on when its code is back.

    Raises:
        InvalidArguments: The range is none.
    """
    if not change_id or not 1 <= minimum <= maximum:
        raise InvalidArguments(f"`get_version({change_id!r}, {minimum}, {maximum})`: use a name and versions from 1 upwards.")
    return current().get_version(change_id, minimum, maximum)


def should_continue_as_new() -> bool:
    """Whether the run's history has become so long that it should continue as new."""
    return current().should_continue_as_new()


def continue_as_new(arg: Any = inspect.Parameter.empty, *, args: tuple[Any, ...] | list[Any] = ()) -> NoReturn:
    """Ends the run and starts it again with these arguments and an empty history (specification, "Scheduled Workflows").

    The public id stays, and with it kept signals, answers and usage. Handlers that are under way are waited for.

    Raises:
        WorkflowApplicationError: Type `NestedContinueAsNew`: this `run` was called by another workflow's `run`.
    """
    current()
    check_outermost("workflow.continue_as_new")
    raise ContinueAsNew(tuple(args) if arg is inspect.Parameter.empty else (arg, *args))


def all_handlers_finished() -> bool:
    """Whether no signal or update handler is under way: wait for it before `run` returns."""
    return current().all_handlers_finished()


class _RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Finds the run's own logger at each call, so that one object serves every run and does not repeat on replay.

    In a function that answers a client (`@app.tool`) the client gets the line, too.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        runtime = current_or_none()
        target = self.logger if runtime is None else runtime.logger
        target.log(level, msg, *args, **kwargs)
        call = current_call()
        if call is not None:
            call.log(level, msg, args)


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

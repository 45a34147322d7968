"""`@workflow_task`: a function with side effects that runs are built from (`design.md`, "Steps")."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, overload

from mcp_agent.errors import DefinitionError, InvalidArguments
from mcp_agent.executor.handlers import positional_types
from mcp_agent.executor.retry import RetryPolicyLike
from mcp_agent.executor.runtime import current_or_none
from mcp_agent.executor.steps import StepCall, StepOptions

P = ParamSpec("P")
R = TypeVar("R")
_MARK = "__mcp_agent_task__"


@dataclass(frozen=True)
class TaskDefinition:
    """A function under `@workflow_task`.

    Attributes:
        name: What histories and retry policies call it: persisted data.
        function: A coroutine function, or a plain one, which runs in a thread.
    """

    name: str
    function: Callable[..., Any]
    options: StepOptions = field(default_factory=StepOptions)

    @functools.cached_property
    def parameter_types(self) -> list[Any]:
        return positional_types(self.function)

    @functools.cached_property
    def takes_any_number(self) -> bool:
        parameters = inspect.signature(self.function).parameters.values()
        return any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)

    def types_of(self, number: int) -> list[Any]:
        """The types of that many arguments; the last one is that of all further ones where the task takes any number."""
        known = self.parameter_types
        return (known + [known[-1] if self.takes_any_number else Any] * (number - len(known)))[:number]

    def check_number(self, args: Sequence[Any]) -> None:
        """Raises InvalidArguments for more or fewer arguments than the task takes."""
        parameters = inspect.signature(self.function).parameters.values()
        try:
            inspect.Signature([parameter for parameter in parameters if parameter.name != "self"]).bind(*args)
        except TypeError as error:
            raise InvalidArguments(f"Step `{self.name}` cannot be called so: {error}.") from None

    @functools.cached_property
    def result_type(self) -> Any:
        return typing.get_type_hints(self.function).get("return", Any)

    def call(self, args: tuple[Any, ...], options: StepOptions | None = None) -> StepCall:
        chosen = self.options if options is None else options.over(self.options)
        return StepCall(self.name, args, chosen, self.result_type)


def definition_of(function: Any) -> TaskDefinition | None:
    """The task that a decorated function stands for."""
    return getattr(function, _MARK, None)


@overload
def workflow_task(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]: ...
@overload
def workflow_task(
    *,
    name: str | None = None,
    start_to_close_timeout: timedelta | None = None,
    schedule_to_close_timeout: timedelta | None = None,
    schedule_to_start_timeout: timedelta | None = None,
    heartbeat_timeout: timedelta | None = None,
    retry_policy: RetryPolicyLike | None = None,
    task_queue: str | None = None,
    queue: str | None = None,
    priority: int | None = None,
    summary: str | None = None,
    local: bool | None = None,
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]: ...
def workflow_task(function: Any = None, *, name: str | None = None, **options: Any) -> Any:
    """Makes a function a step: in a run it is retried and its result recorded; elsewhere it is a plain call.

    It may run more than once (a crash between its end and its record), so make it safe to repeat. Arguments and results
    are stored with the run: give it names of secrets, not secrets.

    Args:
        name: What histories and retry policies call it; `module.function` by default.
        options: As in `StepOptions`.

    Raises:
        DefinitionError: The function cannot be called from a run, or an option is wrong.
    """

    def decorate(target: Callable[..., Any]) -> Callable[..., Any]:
        task = TaskDefinition(name or f"{target.__module__}.{target.__qualname__}", target, StepOptions(**options))
        try:
            task.options.check()
        except InvalidArguments as error:
            raise DefinitionError(f"Task `{task.name}`: {error}") from None
        signature = inspect.signature(target)
        if any(p.kind is p.KEYWORD_ONLY or p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            raise DefinitionError(f"Task `{task.name}` has keyword-only parameters: a step takes its arguments in order.")

        @functools.wraps(target)
        async def dispatch(*args: Any, **kwargs: Any) -> Any:
            runtime = current_or_none()
            if runtime is None:
                made = target(*args, **kwargs)
                return await made if inspect.isawaitable(made) else made
            if kwargs or len(args) != len(signature.parameters):  # else every parameter has its argument
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                args = bound.args
            return await runtime.run_step(task.call(args))

        setattr(dispatch, _MARK, task)
        return dispatch

    return decorate if function is None else decorate(function)

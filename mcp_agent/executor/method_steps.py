"""Coroutine methods of a workflow class as steps: `workflow.execute_activity(self.method, ...)` (specification, "Retries")."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, cast

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.handlers import MARK
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.workflow import NAME_MARK, RUN_MARK, Workflow
from mcp_agent.executor.workflow_task import TaskDefinition

_MARKS = (RUN_MARK, MARK, "__temporal_signal_definition", "__temporal_query_definition")


def method_tasks(cls: type[Workflow[Any]]) -> Iterator[TaskDefinition]:
    """A step for each plain coroutine method of a workflow class, those of its bases included."""
    for owner in cls.__mro__:
        for member in own_methods(owner).values():
            if is_step_method(member) and _takes_arguments_in_order(member):
                yield TaskDefinition(step_name(owner, member.__name__), _on_stand_in(cls, member))


def own_methods(owner: type) -> dict[str, FunctionType]:
    """The plain functions of a class of the user's, without those of its bases; none of a library's class."""
    if owner is Workflow or not _may_hold_steps(owner):
        return {}
    return {name: member for name, member in vars(owner).items() if type(member) is FunctionType}


def is_step_method(member: Any) -> bool:
    """Whether it is a coroutine method that is neither `run` nor a handler."""
    return (
        type(member) is FunctionType
        and not member.__name__.startswith("__")
        and inspect.iscoroutinefunction(member)
        and not any(mark in vars(member) for mark in _MARKS)
    )


def task_of_method(method: Any) -> TaskDefinition | None:
    """The step of a bound method of a workflow, such as `self.method` in `run`."""
    cls = cast("type", type(getattr(method, "__self__", None)))
    function: Any = getattr(method, "__func__", None)
    if Workflow not in cls.__mro__ or not is_step_method(function):
        return None
    owner = next(base for base in cls.__mro__ if function in vars(base).values())
    return TaskDefinition(step_name(owner, method.__name__), function)


def step_name(owner: type, method: str) -> str:
    """What histories call the step: persisted data."""
    return f"{vars(owner).get(NAME_MARK) or owner.__name__}.{method}"


def _takes_arguments_in_order(method: Callable[..., Any]) -> bool:
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return not any(parameter.kind in named for parameter in inspect.signature(method).parameters.values())


def _may_hold_steps(owner: type) -> bool:
    return owner.__module__ not in ("builtins", "typing", "abc", "pydantic.main")


def _on_stand_in(cls: type[Workflow[Any]], method: Callable[..., Any]) -> Callable[..., Any]:
    async def step(*args: Any) -> Any:
        return await method(_stand_in(cls), *args)

    step.__name__, step.__qualname__, step.__module__ = method.__name__, method.__qualname__, method.__module__
    own, *others = inspect.signature(method).parameters.values()
    del own
    step.__signature__ = inspect.Signature(others)  # type: ignore[attr-defined]
    step.__annotations__ = _hints(method)
    return step


def _hints(method: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(method, include_extras=True)
    except NameError:
        return {}  # names that are imported for type checkers only: values arrive as plain data


def _stand_in(cls: type[Workflow[Any]]) -> Any:
    """An object without state: a step may run in another process than its workflow, long after it."""

    def no_state(self: Any, name: str, *_: Any) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise WorkflowApplicationError(
            f"`self.{name}` is workflow state, which a step does not have: pass it as an argument and return what changes.",
            type="WorkflowStateInStep",
            non_retryable=True,
        )

    def run_id(self: Any) -> str:
        step = current_step()
        return step.run_id if step is not None else ""

    names = {"__getattr__": no_state, "__setattr__": no_state, "__delattr__": no_state, "__module__": cls.__module__}
    stand_in = type(cls.__name__, (cls,), {**names, "id": property(run_id), "run_id": property(run_id)})
    return object.__new__(stand_in)

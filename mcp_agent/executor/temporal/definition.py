"""Makes Temporal workflow definitions of our classes, on demand.

A class is decorated before anybody knows whether Temporal will run it, and again for each run in Temporal's sandbox. So
the definition is built when Temporal asks the class for it, by an attribute on `Workflow` itself.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any, cast

import temporalio.workflow
from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from mcp_agent.executor.handlers import MARK, Handler, mark
from mcp_agent.executor.method_steps import is_step_method, own_methods, step_name
from mcp_agent.executor.runtime import current_or_none
from mcp_agent.executor.temporal.behaviors import BEHAVIORS
from mcp_agent.executor.temporal.clock import give_workflow_time
from mcp_agent.executor.workflow import NAME_MARK, RUN_MARK, VERSIONING_MARK, Workflow

_INIT_ERROR = "__mcp_agent_init_error__"
_ATTRIBUTE = "__temporal_workflow_definition"
_DECORATORS = {"signal": temporalio.workflow.signal, "query": temporalio.workflow.query}


class _OnDemand:
    """Answers `cls.__temporal_workflow_definition` for a registered class: with what was made for it, else it is made now.

    A class that extends another one finds that one's attribute, and gets a definition of its own all the same.
    """

    def __init__(self, made: Any = None) -> None:
        self._made = made

    def __get__(self, instance: object, owner: type) -> Any:
        if self._made is not None and self._made.cls is owner:
            return self._made
        name = vars(owner).get(NAME_MARK)
        if name is None:
            raise AttributeError(_ATTRIBUTE)
        setattr(owner, _ATTRIBUTE, None)  # Temporal asks for it meanwhile, to refuse a class that has one
        try:
            define(owner, name)
            made = vars(owner)[_ATTRIBUTE]
        except BaseException:
            delattr(owner, _ATTRIBUTE)
            raise
        setattr(owner, _ATTRIBUTE, _OnDemand(made))
        return made


def install() -> None:
    """Lets Temporal find the definitions of our classes. Done when the Temporal engine is imported."""
    setattr(Workflow, _ATTRIBUTE, _OnDemand())


def define(cls: type, name: str) -> None:
    """Gives `cls` a Temporal definition. Raises ValueError where Temporal refuses the class."""
    for base in cls.__mro__:
        for attribute, member in own_methods(base).items():
            marks = vars(member)
            if RUN_MARK in marks:
                setattr(base, attribute, temporalio.workflow.run(_checked(member)))
            elif MARK in marks:
                _decorate(base, attribute, marks[MARK])
            elif is_step_method(member):
                _let_execute(base, member)
    temporalio.workflow.defn(name=name, versioning_behavior=BEHAVIORS[vars(cls).get(VERSIONING_MARK)])(cls)
    if temporalio.workflow.unsafe.in_sandbox():
        _keep_error_of_init(cls)
    give_workflow_time(cls)


def _keep_error_of_init(cls: type) -> None:
    """Lets a run begin whose `__init__` raises, and fail: Temporal would try to make the object again and again."""
    make = cast("Any", cls).__init__

    @functools.wraps(make)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            make(self, *args, **kwargs)
        except Exception as error:
            vars(self)[_INIT_ERROR] = error

    setattr(cls, "__init__", made)  # noqa: B010 - a method of a class that is not known here


def _checked(run: Callable[..., Any]) -> Callable[..., Any]:
    """`run`, refusing to start on a worker that knows nothing of this package: nothing would work, and not say why."""

    @functools.wraps(run)
    async def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if temporalio.workflow.in_workflow() and current_or_none() is None:
            raise ApplicationError(
                "The worker of this run does not have this package's plugin: give it `plugins=[AgentPlugin(app)]` from "
                "`mcp_agent.executor.temporal`, or make it with `create_temporal_worker_for_app(app)`.",
                type="WorkerNotConfigured",
                non_retryable=True,
            )
        failed = cast("Exception | None", vars(self).get(_INIT_ERROR))
        if failed is not None:
            raise failed
        return await run(self, *args, **kwargs)

    return checked


def _let_execute(base: type, method: Any) -> None:
    """Lets Temporal's own `execute_activity(self.method, ...)` find the step that the method stands for."""
    name = step_name(base, method.__name__)
    own, *parameters = inspect.signature(method).parameters
    del own
    hints = typing.get_type_hints(method)
    method.__temporal_activity_definition = activity._Definition(  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        name=name,
        fn=method,
        is_async=True,
        no_thread_cancel_exception=False,
        arg_types=[hints.get(parameter, Any) for parameter in parameters],
        ret_type=hints.get("return"),
    )


def _decorate(base: type, attribute: str, handler: Handler) -> None:
    options: dict[str, Any] = {"dynamic": True} if handler.name is None else {"name": handler.name}
    function = handler.function if handler.name is not None else _plain(handler)
    if handler.kind != "update":
        setattr(base, attribute, _DECORATORS[handler.kind](**options)(function))
        return
    update = cast("Any", temporalio.workflow).update(**options)(function)
    if handler.validator is not None:
        update.validator(handler.validator)
    setattr(base, attribute, update)


def _plain(handler: Handler) -> Callable[..., Any]:
    """A dynamic handler that gets its arguments as plain data, as on the other engine."""
    function = handler.function

    def converted(args: Sequence[RawValue]) -> list[Any]:
        return [temporalio.workflow.payload_converter().from_payload(arg.payload) for arg in args]

    async def waits(self: Any, name: str, args: Sequence[RawValue]) -> Any:
        return await function(self, name, converted(args))

    def returns(self: Any, name: str, args: Sequence[RawValue]) -> Any:
        return function(self, name, converted(args))

    chosen = waits if inspect.iscoroutinefunction(function) else returns
    chosen.__annotations__ = {"name": str, "args": typing.Sequence[RawValue]}  # what Temporal compares with
    chosen.__name__, chosen.__qualname__, chosen.__doc__ = function.__name__, function.__qualname__, function.__doc__
    mark(chosen, handler)
    return chosen

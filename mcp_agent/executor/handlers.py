"""Signal, query and update handlers of a workflow class, however they were decorated.

A handler is marked by `mcp_agent.workflow`'s decorators or by `temporalio.workflow`'s; both mean the same on both engines.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from mcp_agent.errors import DefinitionError, InvalidArguments, WorkflowApplicationError
from mcp_agent.executor.payloads import reading, round_trip

HandlerKind = Literal["signal", "query", "update"]
MARK = "__mcp_agent_handler__"


@dataclass(frozen=True)
class Handler:
    """One handler. `name` is `None` for a dynamic one, which takes every name that no other handler has."""

    kind: HandlerKind
    name: str | None
    function: Callable[..., Any]
    description: str = ""
    validator: Callable[..., Any] | None = None

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """Its parameters without `self`, with annotations resolved."""
        return resolved_parameters(self.function)

    @cached_property
    def types(self) -> list[Any]:
        """As `positional_types`."""
        return positional_types(self.function)

    @cached_property
    def required(self) -> int:
        """How many of its parameters have no default."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        return sum(parameter.default is inspect.Parameter.empty for parameter in parameters)


def resolved_parameters(method: Callable[..., Any], *, skip: int = 1) -> list[inspect.Parameter]:
    """The parameters of an unbound method without `self` (`skip`: 0 for a plain function); annotations that are text are
    looked up.

    Raises:
        DefinitionError: One of them stands for nothing.
    """
    try:
        hints = typing.get_type_hints(method, include_extras=True)
    except NameError as error:
        raise DefinitionError(
            f"A type of `{method.__qualname__}` cannot be looked up ({error}): import it where the module is loaded, not only "
            "under `TYPE_CHECKING`."
        ) from None
    parameters = list(inspect.signature(method).parameters.values())[skip:]
    return [p.replace(annotation=hints.get(p.name, Any)) for p in parameters]


def mark(function: Callable[..., Any], handler: Handler) -> None:
    setattr(function, MARK, handler)


def handlers_of(cls: type) -> Iterator[Handler]:
    """Every handler of a class, those of its bases included."""
    seen: set[str] = set()
    for base in cls.__mro__:
        for attribute, member in vars(base).items():
            if attribute not in seen and (handler := _handler(member)) is not None:
                yield handler
            seen.add(attribute)


def _handler(member: Any) -> Handler | None:
    own = getattr(member, MARK, None)
    if isinstance(own, Handler):
        return own
    for kind in ("signal", "query"):
        definition = getattr(member, f"__temporal_{kind}_definition", None)
        if definition is not None:
            return Handler(kind, definition.name, definition.fn, definition.description or "")
    update = getattr(member, "_defn", None)
    if update is not None and type(member).__name__ == "UpdateMethodMultiParam":
        return Handler("update", update.name, update.fn, update.description or "", update.validator)
    return None


def positional_types(function: Callable[..., Any]) -> list[Any]:
    """The types of a function's parameters in order, `Any` where there is no annotation; `self` is left out."""
    hints = typing.get_type_hints(function, include_extras=True)
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    return [hints.get(name, Any) for name in names]


def typed_arguments(handler: Handler, args: Sequence[Any]) -> list[Any]:
    """What a handler gets of arguments that are sent to it. Raises InvalidArguments for those that do not fit."""
    types = handler.types
    least = handler.required
    if not least <= len(args) <= len(types):
        number = f"{len(types)}" if least == len(types) else f"{least} to {len(types)}"
        raise InvalidArguments(f"{handler.kind.title()} `{handler.name}` takes {number} arguments, not {len(args)}.")
    what = f"An argument of {handler.kind} `{handler.name}`"
    try:
        with reading(what):
            return [round_trip(arg, type_, what) for arg, type_ in zip(args, types, strict=False)]
    except WorkflowApplicationError as error:
        raise InvalidArguments(error.message) from None

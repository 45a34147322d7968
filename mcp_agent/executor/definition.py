"""A workflow class as the app knows it: its name, what it takes and returns, and whom it listens to."""

from __future__ import annotations

import hashlib
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cached_property
from typing import Any, Union, cast

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticSerializationError, from_json, to_json

from mcp_agent.errors import DefinitionError, InvalidArguments
from mcp_agent.executor.handlers import Handler, handlers_of, resolved_parameters
from mcp_agent.executor.payloads import AS_JSON, json_of, remedy
from mcp_agent.executor.priority import check_priority
from mcp_agent.executor.problems import describe_problems
from mcp_agent.executor.workflow import RUN_MARK, Workflow, WorkflowResult

_NAMED = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY}
_PLAIN: tuple[Any, ...] = (str, int, float, bool, bytes, types.NoneType, Any, list, dict)


class SignalInfo(BaseModel):
    """A signal that a workflow takes, with the schema of its arguments."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    name: str
    schema_: dict[str, Any] = Field(alias="schema")
    description: str = ""


class WorkflowDefinition:
    """One workflow of an app. Everything that needs types to be resolved is done on first use.

    Args:
        cls: The class, with one `run` marked by `@app.workflow_run`.
        name: What it is called; the class name by default.
        priority: Of its runs, 1 (first) to 5 (last).

    Raises:
        DefinitionError: There is no `run`, more than one, or one that cannot be called from outside; a priority is none.
    """

    def __init__(self, cls: type[Workflow[Any]], name: str | None = None, priority: int | None = None) -> None:
        self.cls = cls
        self.name = name or cls.__name__
        self.priority = priority
        try:
            check_priority("priority", priority)
        except InvalidArguments as error:
            raise DefinitionError(f"Workflow `{self.name}`: {error}") from None
        self.run = _find_run(cls, self.name)

    @property
    def description(self) -> str:
        """The docstring of `run`, else of the class."""
        own = self.cls.__doc__ if "__doc__" in vars(self.cls) else None
        return inspect.cleandoc(self.run.__doc__ or own or "").strip()

    @cached_property
    def parameters(self) -> list[inspect.Parameter]:
        return resolved_parameters(self.run)

    @cached_property
    def handlers(self) -> list[Handler]:
        return list(handlers_of(self.cls))

    @cached_property
    def signals(self) -> list[SignalInfo]:
        """The signals that it declares."""
        return [
            SignalInfo(
                name=handler.name,
                schema=arguments_model(handler.function).model_json_schema(),
                description=handler.description,
            )
            for handler in self.handlers
            if handler.kind == "signal" and handler.name is not None
        ]

    def handler(self, kind: str, name: str, *, dynamic: bool = False) -> Handler | None:
        """The handler of that name; with `dynamic`, else the one for all other names."""
        mine = [h for h in self.handlers if h.kind == kind]
        exact = next((h for h in mine if h.name == name), None)
        return exact or (next((h for h in mine if h.name is None), None) if dynamic else None)

    @cached_property
    def value_type(self) -> Any:
        """`T` of `run`'s `WorkflowResult[T]`, else of `Workflow[T]`; `Any` where neither says."""
        returned = typing.get_type_hints(self.run).get("return", Any)
        if returned in (typing.NoReturn, typing.Never):  # it goes on for ever
            return type(None)
        if inspect.isclass(returned) and issubclass(returned, WorkflowResult):
            arguments = returned.__pydantic_generic_metadata__["args"]
            return arguments[0] if arguments else self._base_type
        return self._base_type if returned is Any else returned

    @property
    def _base_type(self) -> Any:
        for base in getattr(self.cls, "__orig_bases__", ()):
            if typing.get_origin(base) is Workflow:
                argument = typing.get_args(base)[0]
                return Any if isinstance(argument, typing.TypeVar) else argument
        return Any

    @cached_property
    def result_type(self) -> type[WorkflowResult[Any]]:
        return WorkflowResult[self.value_type]

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """A model of `run`'s parameters."""
        return arguments_model(self.run)

    def check_types(self, *, shown: bool = False) -> None:
        """Raises DefinitionError where a type of `run`, or of a handler's parameter, stands for nothing or has no JSON form, and
        for two handlers of one name. `shown`: as in `check_parameters`."""
        self._check_handlers()
        for function in (self.run, *(handler.function for handler in self.handlers if handler.name is not None)):
            check_parameters(function, shown=shown)
        if not _is_plain(self.value_type, models=not shown):
            try:
                self.result_schema()
            except PydanticUserError as error:
                raise _without_json_form(self.run, "returns", error) from None

    def _check_handlers(self) -> None:
        handlers = {(handler.kind, handler.name): handler.function for handler in self.handlers}
        for handler in self.handlers:
            other = handlers[handler.kind, handler.name]
            if other is not handler.function:
                one, two = handler.function.__qualname__, other.__qualname__
                what = f"{handler.kind} `{handler.name}`" if handler.name else f"{handler.kind}s of all other names"
                raise DefinitionError(f"Workflow `{self.name}` has two handlers for {what}: `{one}` and `{two}`. Keep one.")

    def parameters_schema(self) -> dict[str, Any]:
        """The JSON Schema of `run`'s parameters, by name."""
        return self.arguments.model_json_schema()

    def result_schema(self) -> dict[str, Any]:
        """The JSON Schema of the result's value."""
        return TypeAdapter(self.value_type).json_schema(mode="serialization")

    def bind(self, arguments: Mapping[str, Any]) -> list[Any]:
        """`run`'s arguments in order, typed, with defaults filled in, from JSON-compatible values by name.

        Raises:
            InvalidArguments: Names every bad field with its path.
        """
        return _bind(self.arguments, arguments)

    def bind_positional(self, args: Sequence[Any]) -> list[Any]:
        """`run`'s arguments in order, typed, with defaults filled in, from Python values. Raises as `bind_positional` below."""
        return _bind_positional(self.run, self.arguments, args)


def arguments_model(method: Callable[..., Any], *, skip: int = 1) -> type[BaseModel]:
    """A model of a method's parameters; unknown fields are refused. `skip`: 0 for a plain function, which has no `self`."""
    fields: dict[str, Any] = {}
    for parameter in resolved_parameters(method, skip=skip):
        required = parameter.default is inspect.Parameter.empty
        default = ... if required else parameter.default
        # An alias keeps names that pydantic would not take as fields (`schema`, `_x`).
        fields[f"field_{parameter.name}"] = (parameter.annotation, Field(default, alias=parameter.name))
    try:
        return create_model(f"{method.__qualname__}Arguments", __config__=ConfigDict(AS_JSON, extra="forbid", title=""), **fields)
    except PydanticUserError as error:
        raise _without_json_form(method, "takes", error) from None


def check_parameters(method: Callable[..., Any], *, skip: int = 1, shown: bool = False) -> None:
    """Raises DefinitionError where a type stands for nothing, or has no JSON form. See `arguments_model` for `skip`.

    `shown`: clients are shown the schema, so that models, too, must have one: a field of an arbitrary type has none.
    """
    if all(_is_plain(parameter.annotation, models=not shown) for parameter in resolved_parameters(method, skip=skip)):
        return
    try:
        arguments_model(method, skip=skip).model_json_schema()
    except PydanticUserError as error:
        raise _without_json_form(method, "takes", error) from None


def _without_json_form(method: Callable[..., Any], does: str, error: PydanticUserError) -> DefinitionError:
    why = str(error).partition("\n")[0].partition(". Set ")[0].rstrip(".")
    return DefinitionError(f"`{method.__qualname__}` {does} what has no JSON form: {why}. Use a type that pydantic knows.")


def _is_plain(annotation: Any, *, models: bool) -> bool:
    """Whether a type has a JSON form for sure; `models` are taken to have one. Others must be tried, which takes milliseconds."""
    origin = typing.get_origin(annotation)
    if origin is not None:
        parts = typing.get_args(annotation)
        return origin in (list, dict, Union, types.UnionType) and all(_is_plain(part, models=models) for part in parts)
    known = inspect.isclass(annotation) and issubclass(annotation, (BaseModel, Enum) if models else Enum)
    return known or any(annotation is plain for plain in _PLAIN)


def bind(method: Callable[..., Any], arguments: Mapping[str, Any], *, skip: int = 1) -> list[Any]:
    """See `WorkflowDefinition.bind`, and `arguments_model` for `skip`."""
    return _bind(arguments_model(method, skip=skip), arguments)


def _bind(model: type[BaseModel], arguments: Mapping[str, Any]) -> list[Any]:
    try:
        bound = model.model_validate_json(_given(arguments), strict=True)
    except ValidationError as error:
        raise InvalidArguments(f"{describe_problems(error)}. Nothing was changed.") from None
    return [getattr(bound, name) for name in model.model_fields]


def _given(arguments: Mapping[str, Any]) -> bytes:
    """Their JSON, with `inf` and `nan` as numbers: in text they would not pass for one."""
    return to_json(arguments, bytes_mode="base64", inf_nan_mode="constants")


def bind_positional(method: Callable[..., Any], args: Sequence[Any]) -> list[Any]:
    """A method's arguments in order, with defaults filled in, from Python values; types are checked by what JSON keeps.

    Raises:
        InvalidArguments: There are too many, too few, or of a wrong type.
    """
    return _bind_positional(method, arguments_model(method), args)


def _bind_positional(method: Callable[..., Any], model: type[BaseModel], args: Sequence[Any]) -> list[Any]:
    names = [cast("str", field.alias) for field in model.model_fields.values()]
    if len(args) > len(names):
        raise InvalidArguments(f"`{method.__qualname__}` takes {len(names)} arguments, not {len(args)}.")
    try:
        return _bind(model, dict(zip(names, args, strict=False)))
    except PydanticSerializationError as error:
        raise InvalidArguments(f"An argument of `{method.__qualname__}` has no JSON form ({error}): {remedy(error)}.") from None


def input_digest(arguments: Sequence[Any]) -> str:
    """Tells two inputs apart: equal for equal JSON, whatever the order of keys."""
    canonical = to_json(_sorted(from_json(json_of(list(arguments)))))
    return hashlib.sha256(canonical).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {key: _sorted(items[key]) for key in sorted(items)}
    if isinstance(value, list):
        return [_sorted(item) for item in cast("list[Any]", value)]
    return value


def _find_run(cls: type, name: str) -> Callable[..., Any]:
    if Workflow not in cls.__mro__:
        raise DefinitionError(f"Workflow `{name}` must extend `Workflow`: write `class {cls.__name__}(Workflow[str])`.")
    marked: list[Any] = [member for member in vars(cls).values() if getattr(member, RUN_MARK, False)]
    inherited: Any = getattr(cls, "run", None)
    if not marked and getattr(inherited, RUN_MARK, False):
        raise DefinitionError(f"Workflow `{name}` inherits `run`: override it in `{cls.__name__}` with `@app.workflow_run`.")
    if len(marked) != 1:
        found = "no method" if not marked else f"{len(marked)} methods"
        raise DefinitionError(f"Workflow `{name}` has {found} under `@app.workflow_run`: mark exactly one, named `run`.")
    _check_run(marked[0], name)
    return marked[0]


def _check_run(run: Callable[..., Any], name: str) -> None:
    if not inspect.iscoroutinefunction(run):
        raise DefinitionError(f"`run` of workflow `{name}` must be `async def`.")
    for parameter in list(inspect.signature(run).parameters.values())[1:]:
        if parameter.kind not in _NAMED:
            raise DefinitionError(
                f"`run` of workflow `{name}` takes `{parameter}`: use plain parameters, which callers can name and order."
            )

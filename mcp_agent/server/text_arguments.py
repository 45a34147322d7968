"""Arguments that come as text: those of prompts, and the variables of URI templates."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Literal, Union

from mcp_types import PromptArgument
from pydantic import TypeAdapter, ValidationError

from mcp_agent.errors import InvalidArguments
from mcp_agent.executor.failures import in_thread
from mcp_agent.executor.handlers import resolved_parameters
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.served import Complete


class TextArguments:
    """A function's parameters. Types are looked up on first use.

    Args:
        function: Its parameters have names.
        completions: By parameter.
    """

    def __init__(self, function: Callable[..., Any], completions: Mapping[str, Complete]) -> None:
        self._function = function
        self._completions = completions

    @cached_property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        return {parameter.name: parameter for parameter in resolved_parameters(self._function, skip=0)}

    @cached_property
    def _adapters(self) -> dict[str, TypeAdapter[Any]]:
        return {name: TypeAdapter(parameter.annotation) for name, parameter in self._parameters.items()}

    def described(self) -> list[PromptArgument]:
        return [
            PromptArgument(
                name=name,
                description=self._adapters[name].json_schema().get("description"),
                required=parameter.default is parameter.empty,
            )
            for name, parameter in self._parameters.items()
        ]

    def bind(self, given: Mapping[str, str | list[str]]) -> dict[str, Any]:
        """Typed arguments by name. Raises InvalidArguments, which names every bad one."""
        known = self._parameters
        problems = [f"`{name}`: not known. {did_you_mean(name, known)}" for name in given if name not in known]
        bound: dict[str, Any] = {}
        for name, parameter in known.items():
            if name not in given:
                problems += [f"`{name}`: this argument is required"] if parameter.default is parameter.empty else []
                continue
            try:
                bound[name] = _typed(self._adapters[name], given[name])
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False, include_context=False)[0]
                problems.append(f"`{name}`: {first['msg']}")
        if problems:
            raise InvalidArguments(f"{'; '.join(problems)}. Nothing was changed.")
        return bound

    async def complete(self, name: str, typed: str) -> list[str]:
        """The values of an argument that go with what was typed, from its completion function or its type."""
        complete = self._completions.get(name)
        if complete is None:
            choices = _choices(self._parameters[name].annotation) if name in self._parameters else ()
            return [choice for choice in choices if choice.lower().startswith(typed.lower())]
        made = complete(typed) if inspect.iscoroutinefunction(complete) else in_thread(complete, typed)
        return [str(value) for value in await made]


def _typed(adapter: TypeAdapter[Any], text: str | list[str]) -> Any:
    """Text as a value: as it is, as a number and the like, else as JSON."""
    if isinstance(text, list):
        return adapter.validate_python(text)
    try:
        return adapter.validate_strings(text)
    except ValidationError:
        try:
            return adapter.validate_json(text)
        except ValidationError:
            pass
        raise


def _choices(annotation: Any) -> Iterator[str]:
    """The values that a type allows, where it allows only some."""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        yield from map(str, typing.get_args(annotation))
    elif origin is typing.Annotated:
        yield from _choices(typing.get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in typing.get_args(annotation):
            yield from _choices(one)
    elif annotation is bool:
        yield from ("true", "false")
    elif inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        yield from (str(member.value) for member in annotation)

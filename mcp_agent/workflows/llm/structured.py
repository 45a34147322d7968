"""Answers of a type: the schema that a provider is given, and the reading of what comes back."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

from mcp_agent.executor.problems import describe_problems

T = TypeVar("T")

_FENCED = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


class AnswerType(Generic[T]):
    """A type that a model answers in: a pydantic model, a dataclass, or anything else with a JSON schema.

    Providers take schemas of objects only, so any other type travels as the `value` of one.

    Args:
        type_: The type.
    """

    def __init__(self, type_: type[T]) -> None:
        self.name: str = getattr(type_, "__name__", str(type_))
        adapter: TypeAdapter[Any] = TypeAdapter(type_)
        self._wrapped = adapter.json_schema().get("type") != "object"
        if self._wrapped:
            holder: type[BaseModel] = create_model(self.name, value=(type_, ...))
            adapter = TypeAdapter(holder)
        self._adapter = adapter

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema, of type `object`."""
        return self._adapter.json_schema()

    def read(self, text: str) -> T:
        """The value in an answer.

        Raises:
            ValueError: It does not fit; the text says where.
        """
        fenced = _FENCED.search(text)
        try:
            value = self._adapter.validate_json(fenced[1] if fenced else text)
        except ValidationError as error:
            raise ValueError(describe_problems(error)) from None
        return cast("T", value.value if self._wrapped else value)

"""A context variable that has a value in a block."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar, Token
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Scoped(Generic[T]):
    """`with Scoped(variable, value): ...`, to be entered once. A class, because steps and runs enter several on their way."""

    __slots__ = ("_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable = variable
        self._value = value
        self._token: Token[T] | None = None

    def __enter__(self) -> T:
        self._token = self._variable.set(self._value)
        return self._value

    def __exit__(self, *_: Any) -> None:
        assert self._token is not None
        with suppress(ValueError):  # a run that a worker has let go is collected in another context, whose value is its own
            self._variable.reset(self._token)

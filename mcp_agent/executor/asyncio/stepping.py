"""Tells a run after every step that one of its tasks takes, so that conditions wake without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol


class Owner(Protocol):
    """A run, as its tasks know it."""

    def wake(self) -> None:
        """Called after each step that a task takes."""

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Called with each task that code of the run makes."""


owner: ContextVar[Owner | None] = ContextVar("mcp_agent_owner", default=None)


class _Stepped(Coroutine[Any, Any, Any]):
    """Runs another coroutine and calls `after` each time it has run up to its next wait."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], after: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._after = after
        self.__name__ = getattr(coroutine, "__name__", "coroutine")
        self.__qualname__ = getattr(coroutine, "__qualname__", "coroutine")

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        finally:
            self._after()

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        finally:
            self._after()

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()


def _factory(inner: Any) -> Any:
    def make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        context = options.get("context")
        run = context.get(owner) if context is not None else owner.get()
        if run is not None:
            coroutine = _Stepped(coroutine, run.wake)
        task = asyncio.Task(coroutine, loop=loop, **options) if inner is None else inner(loop, coroutine, **options)
        if run is not None:
            run.adopt(task)
        return task

    return make_task


@contextmanager
def stepping(loop: asyncio.AbstractEventLoop) -> Any:
    """While entered, tasks that are created inside a run report their steps to it."""
    before = loop.get_task_factory()
    mine = _factory(before)
    loop.set_task_factory(mine)
    try:
        yield
    finally:
        if loop.get_task_factory() is mine:
            loop.set_task_factory(before)

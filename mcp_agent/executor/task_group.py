"""A task group for workflow code: cancels its tasks in the order in which they were made.

`asyncio.TaskGroup` cancels in the order of a set, which differs from replay to replay: tasks that then do something (a
compensation) would make the replay fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast


class _Ordered:
    """As much of a set as `asyncio.TaskGroup` uses, in the order of insertion."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def add(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None

    def discard(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(list(self._tasks))

    def __len__(self) -> int:
        return len(self._tasks)


class TaskGroup(asyncio.TaskGroup):
    """`asyncio.TaskGroup`, safe to replay: `async with workflow.TaskGroup() as group: group.create_task(...)`."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks = cast("set[asyncio.Task[Any]]", _Ordered())

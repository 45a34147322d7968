"""Waiting for what Temporal does for a run, so that cancellation has asyncio's meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio._backends._asyncio  # pyright: ignore[reportUnusedImport] - else imported lazily, inside the sandbox

T = TypeVar("T")


class Settling:
    """The operations of a run that were cancelled and have not ended yet: the run waits for them before it ends itself.

    `asyncio.gather` gives up at its first cancelled branch; a child of another branch would be terminated with its parent
    before it has cleaned up.
    """

    def __init__(self) -> None:
        self._operations: dict[asyncio.Future[Any], None] = {}

    def add(self, operation: asyncio.Future[Any]) -> None:
        self._operations[operation] = None

    async def wait(self) -> None:
        """Waits until all have ended."""
        under_way = [operation for operation in self._operations if not operation.done()]
        self._operations.clear()
        if under_way:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(under_way)


async def settled(
    operation: asyncio.Future[T], cancel: Callable[[], object] | None = None, settling: Settling | None = None
) -> T:
    """The result of an operation (an activity, a child, a signal), as a task or future.

    Who waits and is cancelled sees CancelledError, and decides what it becomes (a time-out, a cancelled run); the operation
    is asked once to stop, by `cancel`, and has ended before this does. Bare, temporalio's operations give errors of their own
    instead, or go on as if nothing had been cancelled (temporalio 1.35: no TimeoutError leaves `asyncio.timeout`, and an
    anyio scope spins).
    """
    try:
        return await asyncio.shield(operation)
    except asyncio.CancelledError:
        if not operation.done():
            if cancel is not None:
                cancel()
            if settling is not None:
                settling.add(operation)
            with anyio.CancelScope(shield=True):
                await asyncio.wait([operation])
        if not operation.cancelled():
            operation.exception()  # else asyncio would report that nobody has asked for it
        raise

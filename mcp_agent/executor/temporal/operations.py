"""Waiting for what Temporal does for a run, so that cancellation has asyncio's meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio._backends._asyncio  # pyright: ignore[reportUnusedImport] - else imported lazily, inside the sandbox

T = TypeVar("T")


async def settled(operation: asyncio.Future[T], cancel: Callable[[], object] | None = None) -> T:
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
            with anyio.CancelScope(shield=True):
                await asyncio.wait([operation])
        if not operation.cancelled():
            operation.exception()  # else asyncio would report that nobody has asked for it
        raise

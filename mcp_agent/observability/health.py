"""Whether a process is alive, and ready for work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

LOOK_WITHIN = 2.0
"""Seconds; who probes waits hardly longer."""
FRESH = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """Nothing in it is secret: whoever reaches the port reads it.

    Attributes:
        alive: `False` asks for this process to be restarted. An engine that cannot be reached is no reason to.
        ready: Whether work should be sent here.
        problem: What is wrong, in words.
    """

    alive: bool = True
    ready: bool = True
    problem: str = ""


WELL = Health()
Look = Callable[[], Awaitable[Health]]


def all_well(parts: Sequence[Health]) -> Health:
    """As well as the least well part; each problem once."""
    problems = dict.fromkeys(part.problem for part in parts if part.problem)
    return Health(all(part.alive for part in parts), all(part.ready for part in parts), "; ".join(problems))


def recent(look: Look, clock: Callable[[], float] = time.monotonic) -> Look:
    """The same, asked at most once a second, and bounded: one that takes too long is alive and not ready."""
    seen_at, seen = float("-inf"), WELL
    looking = asyncio.Lock()

    async def cached() -> Health:
        nonlocal seen_at, seen
        async with looking:
            if clock() - seen_at >= FRESH:
                try:
                    async with asyncio.timeout(LOOK_WITHIN):
                        seen = await look()
                except TimeoutError:
                    seen = Health(ready=False, problem=f"the engine does not answer within {LOOK_WITHIN:g} s")
                seen_at = clock()
            return seen

    return cached

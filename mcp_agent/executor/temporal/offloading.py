"""Work on payloads that leaves the event loop free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from temporalio.api.common.v1 import Payload

LARGE = 256 * 1024  # bytes; with more, the event loop would stand still for some milliseconds


async def each(change: Callable[[Payload], Payload], payloads: Sequence[Payload]) -> list[Payload]:
    """Every payload changed; in a thread where they are large."""
    if sum(len(payload.data) for payload in payloads) > LARGE:
        return await asyncio.to_thread(lambda: [change(payload) for payload in payloads])
    return [change(payload) for payload in payloads]

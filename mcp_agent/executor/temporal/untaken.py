"""Steps that wait for a worker that nobody runs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client

from mcp_agent.executor.temporal.history import time_of
from mcp_agent.executor.temporal.versioning import Serving, serving

UNTAKEN = timedelta(seconds=3)  # a step that nobody has taken for so long is worth a look at who serves its queue
FRESH = 1.0  # seconds; where many wait for their turn, many look at their queue


class UntakenSteps:
    """Looks at the queues where steps wait, at each once a second at most.

    Args:
        client: Where they are.
        served_here: Task queues of this process's workers; one that has only begun has not asked for work yet.
    """

    def __init__(self, client: Client, served_here: Collection[str]) -> None:
        self._client = client
        self._served_here = served_here
        self._seen: dict[str, tuple[float, Serving]] = {}

    async def why(self, steps: Iterable[PendingActivityInfo]) -> str | None:
        """Why nobody takes one of a run's steps, and what to do; `None` if all are taken, or wait their turn. Raises RPCError."""
        for step in steps:
            queue = step.activity_options.task_queue.name
            if queue and queue not in self._served_here and _waits(step):
                now = await self._serving(queue)
                if not now.workers:
                    return (
                        f"No worker serves task queue `{queue}`, where step `{step.activity_type.name}` waits: start the server, "
                        "or `mcp-agent worker`, with this queue. The run goes on then."
                    )
        return None

    async def _serving(self, queue: str) -> Serving:
        seen = self._seen.get(queue)
        if seen is not None and time.monotonic() - seen[0] < FRESH:
            return seen[1]
        now = await serving(self._client, queue, "steps", retry=True)
        self._seen[queue] = (time.monotonic(), now)
        return now


def _waits(step: PendingActivityInfo) -> bool:
    scheduled = step.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and not step.paused
    return scheduled and datetime.now(UTC) - time_of(step.scheduled_time) > UNTAKEN

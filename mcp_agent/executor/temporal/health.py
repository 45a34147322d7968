"""Whether Temporal answers, and whether the worker of this process takes its tasks."""

from __future__ import annotations

import time
from collections.abc import Callable

from temporalio.client import Client
from temporalio.service import RPCError

from mcp_agent.executor.temporal.lasting import LastingWorker
from mcp_agent.executor.temporal.versioning import Work, serving
from mcp_agent.observability.health import WELL, Health

FIRST_POLL_WITHIN = 60.0
"""Seconds; a worker that has not asked for tasks by then does not."""


class WorkerHealth:
    """Asks Temporal whether the worker asks for tasks, so that one which only seems to run is found out.

    Args:
        client: The worker's.
        task_queue: What it serves.
        worker: Alive from its start; one that takes the place of a dead one is so when it has asked for tasks.
        clock: Seconds that only go forward.
        work: What it is asked for.
    """

    def __init__(
        self,
        client: Client,
        task_queue: str,
        worker: LastingWorker,
        clock: Callable[[], float] = time.monotonic,
        *,
        work: Work = "workflows",
    ) -> None:
        self._work: Work = work
        self._client = client
        self._task_queue = task_queue
        self._worker = worker
        self._clock = clock
        self._began_at = clock()
        self._what = f"the worker of queue `{task_queue}`"

    async def __call__(self) -> Health:
        """How it is now."""
        if self._worker.stopping:
            return Health(ready=False, problem=f"{self._what} is stopping")
        if not self._worker.alive:
            problem = "has died" if self._worker.died else "does not run yet"
            return Health(self._starts(), ready=False, problem=f"{self._what} {problem}")
        try:
            now = await serving(self._client, self._task_queue, self._work)
        except RPCError:
            return Health(ready=False, problem="Temporal does not answer")
        if any(worker.identity == self._worker.identity for worker in now.workers):
            return WELL
        return Health(self._starts(), ready=False, problem=f"{self._what} does not ask for tasks")

    def _starts(self) -> bool:
        return not self._worker.died and self._clock() - self._began_at < FIRST_POLL_WITHIN


async def client_health(client: Client) -> Health:
    """Of a process without a worker: whether Temporal answers."""
    try:
        answers = await client.service_client.check_health()
    except RPCError:
        answers = False
    return WELL if answers else Health(ready=False, problem="Temporal does not answer")

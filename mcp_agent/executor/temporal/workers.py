"""The workers of one process: one for each task queue that it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from temporalio.client import Client

from mcp_agent.executor.temporal.health import WorkerHealth
from mcp_agent.executor.temporal.lasting import LastingWorker
from mcp_agent.executor.temporal.versioning import Work
from mcp_agent.observability.health import Health, all_well


@dataclass(frozen=True, slots=True)
class Served:
    """A task queue, as one of a process's.

    Attributes:
        name: In `temporal.queues`; `workflows` for that of the workflows.
        task_queue: What Temporal calls it.
        work: What is done there: a worker of workflows also does steps.
        worker: Who does it.
    """

    name: str
    task_queue: str
    work: Work
    worker: LastingWorker


class Workers:
    """All of them, which run and stop together."""

    def __init__(self, client: Client, served: Sequence[Served]) -> None:
        self.served = tuple(served)
        self._looks = [WorkerHealth(client, one.task_queue, one.worker, work=one.work) for one in served]

    @property
    def task_queues(self) -> dict[str, str]:
        """By their names."""
        return {one.name: one.task_queue for one in self.served}

    async def run(self) -> None:
        """Serves until `shutdown`, or until it is cancelled; both give steps their grace, on all queues at the same time."""
        running = [asyncio.create_task(one.worker.run(), name=f"worker-{one.name}") for one in self.served]
        try:
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def shutdown(self) -> None:
        """Asks for no more work. `run` returns when the steps under way have ended, or were given their time."""
        for one in self.served:
            one.worker.shutdown()

    async def health(self) -> Health:
        """As well as the least well of them."""
        return all_well(await asyncio.gather(*(look() for look in self._looks)))

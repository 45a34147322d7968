"""A bare worker of runs that wait for a signal: `python -m benchmarks.floor.waiting HOST:PORT QUEUE`. Answers each line with its
CPU seconds."""

import asyncio
import sys

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from benchmarks.floor.worker import tell_cpu


@workflow.defn(name="Open")
class FloorOpen:
    def __init__(self) -> None:
        self._gone_on = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._gone_on)

    @workflow.signal
    def go(self) -> None:
        self._gone_on = True


async def main(address: str, queue: str) -> None:
    client = await Client.connect(address)
    async with Worker(client, task_queue=queue, workflows=[FloorOpen], max_cached_workflows=20_000):
        await asyncio.to_thread(tell_cpu)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

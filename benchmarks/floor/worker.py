"""A bare Temporal worker: `python -m benchmarks.floor.worker HOST:PORT QUEUE [PROVIDER]`. As `benchmarks/worker.py`."""

import asyncio
import sys
import time

from temporalio.client import Client
from temporalio.worker import Worker

from benchmarks.floor.asking import Ask, LookUp, Models
from benchmarks.floor.counting import Count, step
from benchmarks.floor.greeting import Greet


def tell_cpu() -> None:
    """Prints the CPU seconds of this process for each line that comes, until there are no more."""
    for _ in sys.stdin:
        print(time.process_time(), flush=True)


async def main(address: str, queue: str, provider: str | None = None) -> None:
    client = await Client.connect(address)
    models = Models(provider) if provider else None
    activities = [step, models.ask, models.next, models.look_up] if models else [step]
    async with Worker(client, task_queue=queue, workflows=[Count, Greet, Ask, LookUp], activities=activities):
        await asyncio.to_thread(tell_cpu)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""A worker of this project: `python -m benchmarks.worker HOST:PORT QUEUE [PROVIDER]`.

Answers each line with its CPU seconds. PROVIDER is the base URL of the model provider.
"""

import asyncio
import sys

from benchmarks import asking
from benchmarks.counting import app
from benchmarks.floor.worker import tell_cpu
from mcp_agent.config import Settings
from mcp_agent.executor.temporal.worker import create_temporal_worker_for_app


async def main(address: str, queue: str, provider: str | None = None) -> None:
    assert asking.app is app
    host, port = address.rsplit(":", 1)
    openai = {"api_key": "no-key", "base_url": provider}
    temporal = {"host": host, "port": int(port), "task_queue": queue}
    app.use(Settings(execution_engine="temporal", temporal=temporal, openai=openai))
    await serve(create_temporal_worker_for_app(app))


async def serve(opening: create_temporal_worker_for_app) -> None:
    """Serves, and answers each line, until standard input ends."""
    async with opening as worker:
        serving = asyncio.create_task(worker.run())
        await asyncio.to_thread(tell_cpu)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

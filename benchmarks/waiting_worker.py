"""A worker of this project: `python -m benchmarks.waiting_worker HOST:PORT QUEUE SLOTS`, so many steps at the same time.

Answers each line with its CPU seconds.
"""

import asyncio
import sys

from benchmarks.waiting import app
from benchmarks.worker import serve
from mcp_agent.config import Settings
from mcp_agent.executor.temporal.worker import create_temporal_worker_for_app


async def main(address: str, queue: str, slots: str) -> None:
    host, port = address.rsplit(":", 1)
    temporal = {"host": host, "port": int(port), "task_queue": queue}
    app.use(Settings(execution_engine="temporal", temporal=temporal))
    options = {"max_concurrent_activities": int(slots), "max_cached_workflows": 20_000}
    await serve(create_temporal_worker_for_app(app, **options))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

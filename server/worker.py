"""`python -m server.worker`: a worker alone, for when servers and workers run apart."""

import asyncio

from mcp_agent.executor.temporal import create_temporal_worker_for_app
from workflows import app


async def main() -> None:
    async with create_temporal_worker_for_app(app) as worker:
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())

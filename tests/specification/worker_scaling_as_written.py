"""A code block of the specification, word for word; only imports are added around it."""
# pyright: basic

from tests.specification.quick_start_worker_as_written import app


# Section "Worker Scaling"

# worker.py for production
import asyncio
from concurrent.futures import ThreadPoolExecutor
from mcp_agent.executor.temporal import create_temporal_worker_for_app

async def main():
    # Create worker with production settings
    worker = await create_temporal_worker_for_app(
        app,
        task_queue="mcp-agent-production",
        max_concurrent_activities=50,
        max_concurrent_workflows=20,
        max_cached_workflows=100,
        activity_executor=ThreadPoolExecutor(max_workers=100),
    )

    # Run worker
    await worker.run()

if __name__ == "__main__":
    # Run multiple worker instances for scaling
    asyncio.run(main())

"""The specification's time-skipping test, as it is written there (section "Testing with Time Skipping")."""
# pyright: basic

from pathlib import Path

import pytest

from mcp_agent.config import Settings
from tests.specification.blocks_as_written import MonitoringWorkflow, app
from tests.specification.servers import settings


@pytest.fixture(autouse=True)
def configured(tmp_path: Path):
    app.use(Settings(**settings(tmp_path)))


import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker


@pytest.mark.asyncio
async def test_long_running_workflow():
    # Start test environment with time skipping
    async with await WorkflowEnvironment.start_time_skipping() as env:
        # Create worker
        worker = Worker(
            env.client,
            task_queue="test-queue",
            workflows=[MonitoringWorkflow],
        )

        async with worker:
            # Start workflow
            handle = await env.client.start_workflow(
                MonitoringWorkflow.run,
                {"systems": ["api", "database"]},
                id="test-monitoring",
                task_queue="test-queue",
            )

            # Time automatically advances during sleep
            # 30 days completes instantly in tests
            result = await handle.result()

            assert len(result["monitoring_complete"]) == 720  # 30 days * 24 hours

"""Opens the Temporal engine for an app, with or without a worker in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from mcp_agent.activities.builtin import app_tasks
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.changes import Changes
from mcp_agent.executor.temporal.connection import Connection, open_connection
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.search_attributes import own_attributes
from mcp_agent.executor.temporal.versioning import Deployment
from mcp_agent.executor.temporal.worker import deployment_of, make_worker

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_executor(registry: Registry, *, worker: bool = False) -> AsyncGenerator[TemporalExecutor, None]:
    """The engine for one app until the block ends. The runs go on after that, wherever a worker serves them.

    Args:
        registry: The app.
        worker: Also serve the app's runs in this process.

    Raises:
        EngineUnavailable: Temporal cannot be reached or started.
    """
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(open_connection(registry))
        retention = await _retention(connection.client)
        attributes = await own_attributes(connection.client, add=connection.embedded)
        if not worker or not registry.workflows:
            yield TemporalExecutor(registry, connection, None, retention, attributes)
            return
        changes, deployment = Changes(), deployment_of(connection, registry)
        await stack.enter_async_context(_worker(registry, connection, changes, deployment))
        yield TemporalExecutor(registry, connection, changes, retention, attributes, takes_starts=deployment is None)


@asynccontextmanager
async def _worker(
    registry: Registry, connection: Connection, changes: Changes, deployment: Deployment | None
) -> AsyncGenerator[None, None]:
    async with app_tasks(registry) as tasks:
        made = make_worker(connection, registry, tasks, deployment=deployment, changed=changes.hint)
        running = asyncio.create_task(made.run(), name="temporal-worker")
        running.add_done_callback(_note_end)
        try:
            yield
        finally:
            await made.shutdown()
            await asyncio.gather(running, return_exceptions=True)


def _note_end(running: asyncio.Task[None]) -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        logger.error("the Temporal worker ended: %s: %s", type(error).__name__, error)


async def _retention(client: Client) -> timedelta:
    answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    return answer.config.workflow_execution_retention_ttl.ToTimedelta()

"""Opens the Temporal engine for an app, with or without a worker in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from mcp_agent.activities.builtin import app_tasks
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.calls import reaching
from mcp_agent.executor.temporal.changes import Changes
from mcp_agent.executor.temporal.connection import Connection, open_connection
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.search_attributes import own_attributes
from mcp_agent.executor.temporal.worker import make_workers
from mcp_agent.executor.temporal.workers import Workers

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_executor(registry: Registry, *, worker: bool | Collection[str] = False) -> AsyncGenerator[TemporalExecutor, None]:
    """The engine for one app until the block ends. The runs go on after that, wherever a worker serves them.

    Args:
        registry: The app.
        worker: Also serve the app's runs in this process; or only these of its queues, by their names in `temporal.queues`,
            with `workflows` for that of the workflows.

    Raises:
        EngineUnavailable: Temporal cannot be reached or started.
        ConfigError: There is no such queue, or the configuration asks for what cannot be had.
    """
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(open_connection(registry))
        retention = await _retention(connection.client)
        attributes = await own_attributes(connection.client, add=connection.embedded)
        if not worker or not registry.workflows:
            yield TemporalExecutor(registry, connection, retention, attributes)
            return
        changes = Changes()
        workers = await stack.enter_async_context(_workers(registry, connection, changes, None if worker is True else worker))
        yield TemporalExecutor(registry, connection, retention, attributes, workers, changes)


@asynccontextmanager
async def _workers(
    registry: Registry, connection: Connection, changes: Changes, queues: Collection[str] | None
) -> AsyncGenerator[Workers, None]:
    async with app_tasks(registry) as tasks:
        made = make_workers(connection, registry, tasks, queues=queues, changed=changes.hint)
        running = asyncio.create_task(made.run(), name="temporal-workers")
        running.add_done_callback(_note_end)
        try:
            yield made
        finally:
            made.shutdown()
            await asyncio.gather(running, return_exceptions=True)


def _note_end(running: asyncio.Task[None]) -> None:
    if not running.cancelled() and (error := running.exception()) is not None:
        logger.error("the Temporal worker ended: %s: %s", type(error).__name__, error)


async def _retention(client: Client) -> timedelta:
    async with reaching(f"namespace `{client.namespace}`"):
        answer = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace), retry=True
        )
    return answer.config.workflow_execution_retention_ttl.ToTimedelta()

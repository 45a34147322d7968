"""Opens the in-process engine for an app."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

from mcp_agent.activities.builtin import app_tasks
from mcp_agent.executor.asyncio.executor import InProcessExecutor
from mcp_agent.executor.asyncio.executor import open_executor as _open
from mcp_agent.executor.registry import Registry


@asynccontextmanager
async def open_executor(registry: Registry, *, worker: bool | Collection[str] = True) -> AsyncGenerator[InProcessExecutor, None]:
    """The engine for one app until the block ends, and with it the app's runs. There is no worker to be apart from."""
    async with app_tasks(registry) as tasks, _open(registry, tasks) as executor:
        yield executor

"""Which Temporal an app talks to, and on which task queue: a given server, or the embedded one."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio.client import Client

from mcp_agent.config import Settings, TemporalSettings
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.blobs.owner import claim_store
from mcp_agent.executor.temporal.client import connect
from mcp_agent.executor.temporal.dev_server import data_dir, ensure
from mcp_agent.executor.temporal.measuring import measured_runtime
from mcp_agent.executor.temporal.renewal import renewed
from mcp_agent.executor.temporal.storing import configured_converter, driver_of
from mcp_agent.executor.temporal.target import Targets

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where an app's runs live.

    Attributes:
        client: Temporal's.
        task_queue: The app's.
        ui_url: Temporal's web page, where it is known.
        reconnect: Makes the client's connection anew. Raises ConfigError, EngineUnavailable.
        embedded: Whether this package brought the server.
    """

    client: Client
    task_queue: str
    ui_url: str | None
    reconnect: Callable[[], Awaitable[None]]
    embedded: bool = False


@asynccontextmanager
async def open_connection(registry: Registry, *, writes: bool = True) -> AsyncGenerator[Connection, None]:
    """Connects; the embedded server is kept running until the block ends.

    Args:
        registry: The app.
        writes: Whether runs are started or served; who only looks leaves nothing behind.

    Raises:
        EngineUnavailable: Temporal cannot be reached or started.
        ConfigError: The configuration asks for what cannot be had.
    """
    settings, telemetry = registry.settings, registry.telemetry
    converter = await asyncio.to_thread(configured_converter, settings.temporal, writes=writes)
    async with _temporal(settings.temporal) as (targets, ui_url), measured_runtime(telemetry.metrics) as runtime:
        target = await targets.read()
        client = await connect(target, converter, runtime=runtime, interceptors=telemetry.spans.interceptors())
        await _claim_store(client, writes)
        async with renewed(client, targets, target) as renewal:
            queue = task_queue(registry.name, settings)
            yield Connection(client, queue, ui_url, renewal.reconnect, settings.temporal.embedded)


@asynccontextmanager
async def _temporal(settings: TemporalSettings) -> AsyncGenerator[tuple[Targets, str | None], None]:
    """What to connect to, and where its web page is. The embedded server is kept running until the block ends."""
    if not settings.embedded:
        yield Targets(settings), settings.ui_url
        return
    binary = await find_or_make_binary(settings.binary, logger.info)
    async with ensure(data_dir(settings.data_dir), binary, logger.info) as server:
        logger.info("Temporal's web page: %s", server.ui_url)
        host, _, port = server.address.rpartition(":")
        yield Targets(TemporalSettings(host=host, port=int(port))), server.ui_url


async def _claim_store(client: Client, writes: bool) -> None:
    driver = driver_of(client.data_converter)
    if driver is not None and writes:
        await claim_store(client, driver)


def task_queue(app_name: str, settings: Settings) -> str:
    """The configured queue, else the app's name; on the embedded server apps of one name are told apart by their file."""
    if settings.temporal.task_queue is not None:
        return settings.temporal.task_queue
    if not settings.temporal.embedded:
        return app_name
    where = hashlib.sha256(str(settings.source).encode()).hexdigest()[:8]
    return f"{app_name}-{where}"

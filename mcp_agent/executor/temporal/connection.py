"""Which Temporal an app talks to, and on which task queue: a given server, or the embedded one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from temporalio.client import Client

from mcp_agent.config import Settings, TemporalSettings
from mcp_agent.executor.registry import Registry
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.client import connect
from mcp_agent.executor.temporal.dev_server import data_dir, ensure
from mcp_agent.executor.temporal.encryption import codec_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where an app's runs live.

    Attributes:
        client: Temporal's.
        task_queue: The app's.
        ui_url: Temporal's web page, where it is known.
        builds: Whether workers tell their builds apart, and the newest runs the workflows.
        embedded: Whether this package brought the server.
    """

    client: Client
    task_queue: str
    ui_url: str | None
    builds: bool
    embedded: bool = False


@asynccontextmanager
async def open_connection(registry: Registry) -> AsyncGenerator[Connection, None]:
    """Connects; the embedded server is kept running until the block ends.

    Raises:
        EngineUnavailable: Temporal cannot be reached or started.
        ConfigError: The configuration asks for what cannot be had.
    """
    settings = registry.settings
    codec = codec_of(settings.temporal.data_converter)
    if settings.temporal.host is not None:
        client = await connect(f"{settings.temporal.host}:{settings.temporal.port}", settings.temporal, codec)
        yield Connection(client, task_queue(registry.name, settings), None, bool(settings.temporal.worker_versioning))
        return
    binary = await find_or_make_binary(settings.temporal.binary, logger.info)
    async with ensure(data_dir(settings.temporal.data_dir), binary, logger.info) as server:
        client = await connect(server.address, TemporalSettings(), codec)
        logger.info("Temporal's web page: %s", server.ui_url)
        builds = settings.temporal.worker_versioning is not False
        yield Connection(client, task_queue(registry.name, settings), server.ui_url, builds, embedded=True)


def task_queue(app_name: str, settings: Settings) -> str:
    """The configured queue, else the app's name; on the embedded server apps of one name are told apart by their file."""
    if settings.temporal.task_queue is not None:
        return settings.temporal.task_queue
    if settings.temporal.host is not None:
        return app_name
    where = hashlib.sha256(str(settings.source).encode()).hexdigest()[:8]
    return f"{app_name}-{where}"

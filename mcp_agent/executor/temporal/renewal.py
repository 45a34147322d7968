"""Keeps a connection's key and certificates those of today, while it is used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from temporalio.client import Client

from mcp_agent.errors import ConfigError, EngineUnavailable
from mcp_agent.executor.temporal.client import open_service
from mcp_agent.executor.temporal.service import service_of
from mcp_agent.executor.temporal.target import Target, Targets

logger = logging.getLogger(__name__)

LOOK = 2.0  # files tell nobody that they change
LONGEST_PAUSE = 60.0


@asynccontextmanager
async def renewed(client: Client, targets: Targets, target: Target) -> AsyncGenerator[Renewal, None]:
    """Until the block ends, a changed key or certificate is used within seconds.

    Args:
        client: Over a `LiveService`.
        targets: What may change.
        target: What the client was connected with.
    """
    renewal = Renewal(client, targets, target)
    if not targets.changing:
        yield renewal
        return
    keeping = asyncio.create_task(renewal.run(), name="temporal-renewal")
    try:
        yield renewal
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


class Renewal:
    """Args: as `renewed`."""

    def __init__(self, client: Client, targets: Targets, target: Target) -> None:
        self._client = client
        self._targets = targets
        self._used = target
        self._told: str | None = None

    async def reconnect(self) -> None:
        """Makes the connection anew, with what it is made with now. Raises ConfigError, EngineUnavailable."""
        now = await self._targets.read()
        await self._replace(now)
        self._used = now

    async def run(self) -> None:
        """Looks again and again, until it is cancelled."""
        pause = LOOK
        while True:
            await asyncio.sleep(pause)
            try:
                await self._look()
                self._told, pause = None, LOOK
            except (ConfigError, EngineUnavailable) as error:
                self._tell(str(error))
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _look(self) -> None:
        now = await self._targets.read()
        if now == self._used:
            return
        if replace(now, api_key=self._used.api_key) == self._used and now.api_key is not None:
            self._client.api_key = now.api_key
            logger.info("Temporal's key was renewed")
        else:
            await self._replace(now)
        self._used = now

    async def _replace(self, target: Target) -> None:
        if target.namespace != self._client.namespace:
            raise ConfigError(f"The namespace has become `{target.namespace}`: that needs a restart.")
        service = service_of(self._client)
        service.replace(await open_service(target, service.config.runtime))
        logger.info("connected to Temporal anew: what the connection is made with has changed")

    def _tell(self, problem: str) -> None:
        """Once for each problem; what was used before goes on being used."""
        if problem != self._told:
            logger.warning("Temporal's key or certificates have changed, and cannot be used: %s", problem)
        self._told = problem

"""The engine of a server, started in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.executor import Executor
from mcp_agent.server.engine_host import EngineHost

pytestmark = pytest.mark.anyio


async def test_it_says_when_the_engine_is_up_and_not_before():
    app, up = MCPApp(name="hosted"), asyncio.Event()
    app.use(Settings())
    tries = 0

    @asynccontextmanager
    async def second_time_lucky() -> AsyncGenerator[Executor, None]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise EngineUnavailable("not yet")
        async with app.open_executor() as executor:
            yield executor

    host = EngineHost(second_time_lucky, up.set)
    async with host.running():
        host.want()
        try:
            await host.executor(5)
        except EngineUnavailable:
            assert not up.is_set()
        host.want()
        async with asyncio.timeout(5):
            await up.wait()
        assert (await host.executor(0)).engine == "asyncio"

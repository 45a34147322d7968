"""The probes of a server: who may ask, and what it says while it starts and stops."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import EngineUnavailable
from mcp_agent.observability.health import Health
from mcp_agent.server.app_server import AgentServer
from mcp_agent.server.engine_host import EngineHost
from tests.observability.collector import read
from tests.server.guarded import guarded

pytestmark = pytest.mark.anyio


async def test_probes_need_no_token_where_calls_do():
    tokens = [{"subject": "ann", "token": "a-token-of-the-tests"}]
    async with guarded(auth={"tokens": tokens}) as server:
        assert (await asyncio.to_thread(read, f"{server.base}/healthz")).text == "ok\n"
        assert (await asyncio.to_thread(read, f"{server.base}/mcp")).status == 401


async def test_a_server_that_drains_is_alive_and_not_ready():
    async with AgentServer.open(MCPApp(name="draining", settings=Settings())) as server:
        server.runs.drain()
        assert await server.health() == Health(ready=False, problem="the server is stopping")


async def test_a_server_whose_engine_cannot_be_opened_is_alive_and_not_ready_and_says_nothing_secret():
    failed = asyncio.Event()

    @asynccontextmanager
    async def failing():
        failed.set()
        raise EngineUnavailable("Temporal at `secret-host` does not answer")
        yield

    host = EngineHost(failing)
    async with host.running():
        assert await host.health() == Health(ready=False, problem="the engine is starting")
        await failed.wait()
        with pytest.raises(EngineUnavailable):
            await host.executor(5)
        assert await host.health() == Health(ready=False, problem="the engine cannot be used")

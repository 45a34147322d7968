from collections.abc import AsyncGenerator
from typing import Any

import pytest
from mcp import Client

from mcp_agent.config import Settings
from mcp_agent.server.app_server import AgentServer
from tests.mcp.able_server import serving
from tests.server import desk


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both protocol eras."""
    return request.param


@pytest.fixture
async def server() -> AsyncGenerator[AgentServer, None]:
    """The desk's server on the in-process engine."""
    app = desk.make()
    app.use(Settings(server={"wait_budget_seconds": 5}))
    async with AgentServer.open(app) as opened:
        yield opened


@pytest.fixture
async def client(server: AgentServer, mode: Any) -> AsyncGenerator[Client, None]:
    async with Client(server.mcp, mode=mode) as connected:
        yield connected


@pytest.fixture
async def url(server: AgentServer) -> AsyncGenerator[str, None]:
    """The desk's server over streamable HTTP."""
    async with serving(server.mcp.streamable_http_app()) as base:
        yield f"{base}/mcp"

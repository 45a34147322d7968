from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from mcp import Client

from mcp_agent.config import load_settings
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import DATA_VARIABLE, GRACE_VARIABLE, status
from mcp_agent.server.app_server import AgentServer
from tests.support import until_gone
from workflows import app

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["asyncio", "temporal"])
async def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Client, None]:
    """The repository's own server with its own configuration, the scripted model and private folders."""
    monkeypatch.setenv("BRIEFS_FOLDER", str(tmp_path / "briefs"))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv(GRACE_VARIABLE, "0")
    monkeypatch.setenv("MCP_AGENT__EXECUTION_ENGINE", request.param)
    monkeypatch.setenv("MCP_AGENT__SCRIPTED__FILE", str(ROOT / "server" / "demo_script.yaml"))
    if request.param == "temporal":
        monkeypatch.setenv("MCP_AGENT__TEMPORAL__BINARY", str(await find_or_make_binary(None, print)))
    app.use(load_settings(ROOT / "mcp_agent.config.yaml"))
    async with AgentServer.open(app) as server, Client(server.mcp) as connected:
        yield connected
        running = status(tmp_path / "data")
    if running is not None:
        await until_gone(running.keeper_pid, running.server_pid)

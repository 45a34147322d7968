from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal.dev_server import DevServer, status
from tests.specification import blocks_as_written as blocks
from tests.specification.servers import settings


@pytest.fixture
def dev_server(temporal: Path) -> DevServer:
    """Where that Temporal is."""
    server = status(temporal)
    assert server is not None
    return server


@pytest.fixture(scope="module", params=["asyncio", "temporal"])
async def executor(
    request: pytest.FixtureRequest, temporal: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Executor, None]:
    """An engine that runs the specification's blocks."""
    given = settings(tmp_path_factory.mktemp("documents"))
    blocks.app.use(Settings(execution_engine=request.param, temporal={"data_dir": temporal}, **given))
    async with blocks.app.open_executor(worker=True) as opened:
        yield opened

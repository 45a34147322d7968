from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import GRACE_VARIABLE, DevServer, data_dir, ensure, status
from tests.behaviour import desk, model_desk
from tests.support import until_gone

SCRIPT = """
agents:
  helper: [{text: "helper 1: {last_user}"}, {text: "helper 2: {last_user}"}]
"""


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Path, None]:
    """The folder of an embedded Temporal for the session."""
    folder = tmp_path_factory.mktemp("temporal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(GRACE_VARIABLE, "1")
        async with ensure(data_dir(folder), await find_or_make_binary(None, print), print):
            server = status(folder)
            yield folder
    assert isinstance(server, DevServer)
    await until_gone(server.keeper_pid, server.server_pid)


@pytest.fixture(scope="session", params=["asyncio", "temporal"])
async def executor(
    request: pytest.FixtureRequest, temporal: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Executor, None]:
    """An engine that runs the desk's workflows."""
    assert model_desk.app is desk.app
    script = tmp_path_factory.mktemp("script") / "script.yaml"
    script.write_text(SCRIPT)
    policies = {"configured.*": {"maximum_attempts": 1}}
    settings = {"execution_engine": request.param, "workflow_task_retry_policies": policies}
    settings["scripted"] = {"file": script}
    if request.param == "temporal":
        settings["temporal"] = {"data_dir": temporal}
    desk.app.use(Settings(**settings))
    async with desk.app.open_executor(worker=True) as opened:
        yield opened

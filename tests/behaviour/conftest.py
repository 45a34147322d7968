from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from tests.behaviour import desk, faults_desk, model_desk, values_desk

SCRIPT = """
agents:
  helper: [{text: "helper 1: {last_user}"}, {text: "helper 2: {last_user}"}]
"""


@pytest.fixture(scope="session", params=["asyncio", "temporal"])
async def executor(
    request: pytest.FixtureRequest, temporal: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Executor, None]:
    """An engine that runs the desk's workflows."""
    assert model_desk.app is desk.app is values_desk.app is faults_desk.app
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

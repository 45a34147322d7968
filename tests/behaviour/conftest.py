import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mcp_agent.config import Settings
from mcp_agent.executor.executor import Executor
from tests.behaviour import agents_desk, desk, faults_desk, model_desk, people_desk, records_desk, values_desk

HERE = Path(__file__).parent


@pytest.fixture(scope="session", params=["asyncio", "temporal"])
async def executor(request: pytest.FixtureRequest, temporal: Path) -> AsyncGenerator[Executor, None]:
    """An engine that runs the desk's workflows."""
    desks = (agents_desk, faults_desk, model_desk, people_desk, records_desk, values_desk)
    assert all(other.app is desk.app for other in desks)
    policies = {"configured.*": {"maximum_attempts": 1}}
    settings = {"execution_engine": request.param, "workflow_task_retry_policies": policies}
    settings["scripted"] = {"file": HERE / "agents_script.yaml"}
    settings["mcp"] = {"servers": {"shelf": {"command": sys.executable, "args": [str(HERE / "shelf.py")]}}}
    if request.param == "temporal":
        settings["temporal"] = {"data_dir": temporal}
    desk.app.use(Settings(**settings))
    async with desk.app.open_executor(worker=True) as opened:
        yield opened

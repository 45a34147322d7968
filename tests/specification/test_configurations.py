"""The configuration files of the specification, word for word."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest

from mcp_agent.config import Settings, TLSSettings, load_settings
from mcp_agent.executor.temporal.dev_server import DevServer
from tests.support import Desk, desk_in, until_file

AS_WRITTEN = Path(__file__).with_name("configurations_as_written")
APP = """
from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.workflow import Workflow

app = MCPApp(name="configured")


@app.workflow
class UsesModule(Workflow[str]):
    @app.workflow_run
    async def run(self, name: str) -> str:
        try:
            return await workflow.execute_activity("my_package.custom_temporal_tasks.my_activity", name)
        except WorkflowApplicationError as error:
            return f"{error.type}: {error}"
"""
TASKS = """
from mcp_agent.executor.step_context import current_step
from mcp_agent.executor.workflow_task import workflow_task


@workflow_task
async def my_activity(name: str) -> str:
    if name == "fails":
        raise ConnectionError(f"attempt {current_step().attempt}")
    return f"hello {name}"
"""


def read(name: str) -> Settings:
    return load_settings(AS_WRITTEN / f"{name}.yaml")


@pytest.mark.promise("specification: Configure mcp-agent")
def test_configure_mcp_agent():
    settings = read("configure_mcp_agent")
    assert settings.execution_engine == "temporal"
    assert settings.workflow_task_modules == ["my_package.custom_temporal_tasks"]
    policies = settings.retry_policies()
    assert policies.of("my_package.custom_temporal_tasks.my_activity", None).maximum_attempts == 1
    assert policies.of("my_package.custom_temporal_tasks.another", None).maximum_attempts != 1
    temporal = settings.temporal
    assert (temporal.host, temporal.port, temporal.namespace) == ("localhost", 7233, "default")
    assert (temporal.task_queue, temporal.max_concurrent_activities) == ("mcp-agent", 10)


@pytest.mark.promise("specification: Temporal Cloud")
def test_temporal_cloud(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEMPORAL_ENCRYPTION_KEY", "secret-of-converter")
    monkeypatch.setenv("TEMPORAL_API_KEY", "secret-of-account")
    settings = read("temporal_cloud")
    temporal = settings.temporal
    assert (temporal.host, temporal.namespace) == ("your-namespace.tmprl.cloud", "your-namespace")
    assert isinstance(temporal.tls, TLSSettings)
    assert temporal.tls.client_cert_path == Path("/path/to/client.crt")
    assert temporal.tls.server_name == "your-namespace.tmprl.cloud"
    assert temporal.data_converter is not None
    assert temporal.data_converter.codec == "aes256gcm"
    assert temporal.data_converter.encryption_key.get_secret_value() == "secret-of-converter"
    assert temporal.auth is not None
    assert temporal.auth.api_key is not None
    assert temporal.auth.api_key.get_secret_value() == "secret-of-account"
    policy = settings.retry_policies().of("any step", None)
    assert (policy.initial_interval, policy.maximum_interval) == (timedelta(seconds=1), timedelta(seconds=100))
    assert (policy.backoff_coefficient, policy.maximum_attempts) == (2, 50)
    assert "secret-of" not in repr(settings)


@pytest.mark.promise("specification: From Asyncio to Temporal")
def test_the_migration_changes_the_engine_and_nothing_else():
    before, after = read("before_the_migration"), read("after_the_migration")
    assert (before.execution_engine, after.execution_engine) == ("asyncio", "temporal")
    assert (after.temporal.host, after.temporal.task_queue) == ("localhost", "mcp-agent")
    assert before.logger == after.logger


@pytest.fixture
async def desk(tmp_path: Path, dev_server: DevServer) -> AsyncGenerator[Desk, None]:
    """The configuration of "Configure mcp-agent" with the package that it names; only the port is another."""
    config = (AS_WRITTEN / "configure_mcp_agent.yaml").read_text()
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "custom_temporal_tasks.py").write_text(TASKS)
    async with desk_in(tmp_path, Path("unused"), config, {"configured.py": APP}) as made:
        host, _, port = dev_server.address.rpartition(":")
        made.environment |= {"MCP_AGENT__TEMPORAL__HOST": host, "MCP_AGENT__TEMPORAL__PORT": port}
        yield made


STARTS = """
import asyncio
from mcp_agent.app import MCPApp

async def main():
    async with MCPApp(name="another process").run() as app:
        for name in ("world", "fails"):
            handle = await app.executor.start_workflow("UsesModule", name)
            print((await handle.result()).value)

asyncio.run(main())
"""


@pytest.mark.anyio
@pytest.mark.promise("specification: Configure mcp-agent, workflow_task_modules and workflow_task_retry_policies")
async def test_a_worker_in_another_process_has_the_modules_tasks_and_their_policies(desk: Desk):
    _, errors = desk.start("worker", "--app", "configured:app")
    await until_file(errors, "a worker for 1 workflows")
    main = subprocess.run(
        [sys.executable, "-c", STARTS],
        cwd=desk.folder,
        env={**os.environ, **desk.environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert main.stdout.startswith("hello world\nConnectionError: attempt 1"), (main.stderr, errors.read_text())

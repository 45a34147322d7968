"""The test server that skips time."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.temporal.making import CACHE_VARIABLE
from mcp_agent.testing.time_skipping import SERVER_VARIABLE, time_skipping_server_path
from tests import skips

pytestmark = pytest.mark.anyio


@workflow.defn(sandboxed=False)
class Month:
    @workflow.run
    async def run(self) -> datetime:
        await asyncio.sleep(timedelta(days=30).total_seconds())
        return workflow.now()


@pytest.mark.promise("fault: time-skipping tests get the test server without anything installed by hand")
async def test_a_month_passes_in_a_moment(tmp_path: Path):
    try:
        server = await time_skipping_server_path(print)
    except EngineUnavailable as error:
        pytest.skip(f"{skips.NO_TEST_SERVER}: {error}")
    environment = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(server))
    async with environment, Worker(environment.client, task_queue="q", workflows=[Month]):
        began = await environment.get_current_time()
        ended = await environment.client.execute_workflow(Month.run, id="month", task_queue="q")
    assert ended - began >= timedelta(days=29, hours=23)


async def test_the_variable_names_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "server"
    monkeypatch.setenv(SERVER_VARIABLE, str(program))
    with pytest.raises(EngineUnavailable, match=f"`{program}`.*{SERVER_VARIABLE}"):
        await time_skipping_server_path(print)
    program.touch(mode=0o755)
    assert await time_skipping_server_path(print) == program


async def test_without_a_download_and_java_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(EngineUnavailable) as told:
        await time_skipping_server_path(lambda _: None)
    for part in ("the SDK's download: ", "Maven: `java` and `mvn` not on PATH", SERVER_VARIABLE):
        assert part in str(told.value)
    assert capfd.readouterr().out == ""

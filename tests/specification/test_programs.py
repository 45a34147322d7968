"""Blocks of the specification that are programs: workers, migrations, replay, monitoring, best practices."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_agent.config import Settings
from mcp_agent.errors import IdempotencyConflict, RunFailedError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal import create_temporal_worker_for_app
from mcp_agent.executor.temporal.binary import find_or_make_binary
from tests import skips
from tests.specification import best_practices_as_written as best_practices
from tests.specification import migration_as_written as migration
from tests.specification import quick_start_worker_as_written as quick_start
from tests.specification import replay_as_written as replay
from tests.specification.servers import ROOT

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent


@asynccontextmanager
async def program(folder: Path, *arguments: str) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """A Python program of this folder, run in `folder`; ended with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


# Best practices


@pytest.fixture(params=["asyncio", "temporal"])
async def executor(request: pytest.FixtureRequest, temporal: Path) -> AsyncGenerator[Executor, None]:
    best_practices.app.use(Settings(execution_engine=request.param, temporal={"data_dir": temporal}))
    async with best_practices.app.open_executor(worker=True) as opened:
        yield opened


@pytest.mark.promise("specification: Set Appropriate Timeouts")
async def test_timeouts_of_a_run_are_taken(executor: Executor):
    handle = await best_practices.with_timeouts(executor, "in time")
    assert (await handle.result()).value == "in time"


@pytest.mark.promise("specification: Use Workflow IDs")
async def test_an_id_is_used_once_unless_its_run_failed(executor: Executor):
    failed = await best_practices.with_an_id(executor, 7, "")
    assert failed.id == "process-document-7"
    with pytest.raises(RunFailedError):
        await failed.result()
    done = await best_practices.with_an_id(executor, 7, "text")
    assert (await done.result()).value == "text"
    with pytest.raises(IdempotencyConflict):
        await best_practices.with_an_id(executor, 7, "text")


@pytest.mark.promise("specification: Handle Versioning")
async def test_new_runs_take_the_new_logic(executor: Executor):
    handle = await executor.start_workflow("VersionedWorkflow", "x")
    assert (await handle.result()).value == "new x"


# Running Workflows


@pytest.mark.promise("specification: Running Workflows, Before - Asyncio")
async def test_before_the_migration(capsys: pytest.CaptureFixture[str]):
    quick_start.app.use(Settings())
    await migration.before()
    assert capsys.readouterr().out == "Processed: input\n"


@pytest.mark.promise("specification: Running Workflows, After - Temporal")
async def test_after_the_migration(temporal: Path, capsys: pytest.CaptureFixture[str]):
    quick_start.app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal, "task_queue": "migrated"}))
    worker = asyncio.create_task(migration.after_in_worker())
    async with asyncio.timeout(30):
        await migration.after_in_main()
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert "Processed: input" in capsys.readouterr().out


# Worker Scaling


@pytest.fixture
async def folder(temporal: Path, tmp_path: Path) -> Path:
    """A folder with a configuration that leads to the session's Temporal."""
    binary = await find_or_make_binary(None, print)
    temporal_settings = {"binary": str(binary), "data_dir": str(temporal), "task_queue": "mcp-agent-production"}
    config = {"execution_engine": "temporal", "temporal": temporal_settings}
    (tmp_path / "mcp_agent.config.yaml").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.promise("specification: Worker Scaling")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_a_worker_for_production_serves_its_queue_and_stops(folder: Path, ending: signal.Signals):
    quick_start.app.use(Settings(**json.loads((folder / "mcp_agent.config.yaml").read_text())))
    async with program(folder, str(HERE / "worker_scaling_as_written.py")) as worker:
        async with asyncio.timeout(30), quick_start.app.run() as running:
            handle = await running.executor.start_workflow("MyWorkflow", "in production")
            assert (await handle.result()).value == "Processed: in production"
            assert worker.returncode is None
            worker.send_signal(ending)
            _, errors = await worker.communicate()
        if ending == signal.SIGINT:
            assert errors.decode().splitlines()[-1] == "KeyboardInterrupt"
        else:
            assert (worker.returncode, errors) == (0, b"")


@pytest.mark.promise("specification: Worker Scaling")
async def test_a_worker_keeps_to_the_limits_that_it_is_given(folder: Path):
    quick_start.app.use(Settings(**json.loads((folder / "mcp_agent.config.yaml").read_text())))
    limits: dict[str, Any] = {"max_concurrent_activities": 50, "max_concurrent_workflows": 20, "max_cached_workflows": 100}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Temporal warns of fewer threads than activities
        made = await create_temporal_worker_for_app(quick_start.app, task_queue="limited", **limits)
    kept = made._workers.served[0].worker.current.config()
    await made.aclose()
    assert made.task_queue == kept.get("task_queue") == "limited"
    names = ("max_concurrent_activities", "max_concurrent_workflow_tasks", "max_cached_workflows")
    assert [kept.get(name) for name in names] == [50, 20, 100]


# Monitoring and Observability


@pytest.mark.promise("specification: Monitoring and Observability")
async def test_a_metric_is_recorded_and_prometheus_reads_it(folder: Path, temporal: Path):
    with socket.socket() as wanted:
        wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if wanted.connect_ex(("127.0.0.1", 9090)) == 0:
            pytest.skip(skips.PORT_IN_USE)
    async with program(folder, "-m", "tests.specification.monitored_program", str(temporal)) as monitored, asyncio.timeout(60):
        out, errors = await monitored.communicate()
    printed = out.decode()
    assert printed.startswith("asyncio X\ntemporal X\n"), errors.decode()
    (total,) = re.findall(r'workflow_duration_sum\{.*status="success".*workflow="MetricWorkflow".*\} (\S+)', printed)
    assert 0.2 <= float(total) < 30


# Workflow Replay


@pytest.mark.promise("specification: Workflow Replay, and what stands in its place")
async def test_a_downloaded_history_is_replayed(
    temporal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    app = quick_start.app
    app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal, "task_queue": "replayed"}))
    async with app.open_executor(worker=True) as executor:
        handle: Any = await executor.start_workflow("MyWorkflow", "again")
        await handle.result()
        history = await handle.temporal.fetch_history()
    monkeypatch.chdir(tmp_path)
    Path("workflow_history.json").write_text(history.to_json())

    await replay.debug_workflow()
    assert capsys.readouterr().out.startswith("Replay failed - logic error: ")  # Temporal's replayer takes no dictionary

    replayed = await app.replayer().replay_workflow(json.loads(Path("workflow_history.json").read_text()))
    assert replayed.workflow == "MyWorkflow"

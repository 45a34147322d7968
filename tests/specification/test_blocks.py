"""The specification's blocks run as they are written; each test names the section."""

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_agent.config import Settings
from mcp_agent.errors import IdempotencyConflict
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import RunState
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import DATA_VARIABLE, GRACE_VARIABLE, status
from mcp_agent.executor.workflow_signal import Signal
from tests.specification import blocks_as_written as blocks
from tests.specification import blocks_of_best_practices_as_written as blocks_of_best_practices
from tests.specification import blocks_of_temporal_as_written as blocks_of_temporal
from tests.specification.servers import settings
from tests.support import until, until_gone

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent


async def result(executor: Executor, name: str, *args: Any) -> Any:
    return await (await executor.start_workflow(name, *args)).result()


async def shows(executor: Executor, run_id: str, what: Any) -> RunState:
    async def there() -> RunState | None:
        state = await executor.describe_run(run_id)
        return state if what(state) else None

    return await until(there, 30)


@pytest.mark.promise("specification: Benefits of Temporal Architecture")
async def test_resilient_workflow(executor: Executor):
    assert (await result(executor, "ResilientWorkflow", {"a": 1})).value == {
        "a": 1,
        "processed": True,
        "validated": True,
        "final": True,
    }


@pytest.mark.promise("specification: Automatic Retries & Exponential Backoff")
async def test_retry_workflow_with_an_agent_in_an_activity(executor: Executor):
    assert (await result(executor, "RetryWorkflow", "x")).value == "called: Process via API: x"


@pytest.mark.promise("specification: Activity vs Workflow Distinction")
async def test_proper_workflow(executor: Executor):
    assert await result(executor, "ProperWorkflow", {"a": 1}) == blocks.WorkflowResult(value={"a": 1})
    validated = await result(executor, "ProperWorkflow", {"requires_validation": True})
    assert validated.value == {"accepted": "this is valid"}


@pytest.mark.promise("specification: Workflow Versioning")
async def test_new_runs_take_the_newest_version(executor: Executor):
    done = await result(executor, "VersionedWorkflow", {"a": 1})
    assert done.value == {"final": "done: Process v3 with ML enhancement: {'a': 1, 'enriched': True}"}


@pytest.mark.promise("specification: Workflow Timeouts and Cancellation")
async def test_a_cancelled_timeout_workflow_ends_with_its_own_words(executor: Executor):
    handle = await executor.start_workflow("TimeoutWorkflow", {"a": 1})
    await shows(executor, handle.id, lambda state: [step.name for step in state.steps] == ["TimeoutWorkflow.long_process"])
    await handle.cancel()
    assert (await handle.result()).error == "Workflow was cancelled"
    assert (await handle.describe()).steps == ()


@pytest.mark.promise("specification: Workflow Definition")
async def test_durable_workflow(executor: Executor):
    done = await result(executor, "DurableWorkflow", {"data": "numbers"})
    assert done["report"].startswith("done: Generate report: done: Summarize findings: done: Analyze: numbers")


@pytest.mark.promise("specification: Signals for Human-in-the-Loop")
async def test_an_approval_that_is_sent_by_class_name_and_run_id(executor: Executor):
    handle = await executor.start_workflow("ApprovalWorkflow", "the plan")
    await shows(executor, handle.id, lambda state: state.status == "waiting_for_input")
    payload = {"approved_by": "john.doe", "comments": "Looks good!"}
    await executor.signal_bus.send_signal(
        Signal(name="approve", workflow_id="ApprovalWorkflow", run_id=handle.id, payload=payload)
    )
    assert (await handle.result()).value.startswith("done: Finalize approved document")


@pytest.mark.promise("specification: Parallel Agent Execution")
async def test_agents_in_parallel(executor: Executor):
    assert set((await result(executor, "ParallelAnalysisWorkflow", "text")).value) == {"sentiment", "entities", "summary"}


@pytest.mark.promise("specification: Workflow Composition")
async def test_composition_inline(executor: Executor):
    handle = await executor.start_workflow("DataPipelineWorkflow", "source")
    report = (await handle.result())["report"]
    assert report["stage"] == "ReportGenerationWorkflow"
    assert report["run"] == handle.id


@pytest.mark.promise("specification: Error Handling with Compensations")
async def test_a_failing_step_is_compensated_in_reverse_order(executor: Executor):
    done = await result(executor, "OrderProcessingWorkflow", {"items": ["a"], "total": 5, "address": "here"})
    assert done.value is None
    assert done.error.startswith("Order failed: ")
    assert done.error.endswith("Compensations executed.")


@pytest.mark.promise("specification: Monitoring and Observability")
async def test_a_metric_is_recorded_and_clocks_go(executor: Executor):
    assert (await result(executor, "MetricWorkflow", "x")).value == "X"


@pytest.mark.promise("specification: Polling External Systems")
async def test_polling_waits_durably_between_looks(executor: Executor):
    handle = await executor.start_workflow("PollingWorkflow", "7")
    await shows(executor, handle.id, lambda state: state.usage is not None)
    await asyncio.sleep(0.3)  # it must not poll again within the minute
    assert (await handle.describe()).status == "running"
    await handle.terminate()


@pytest.mark.promise("specification: Scheduled Workflows")
async def test_a_scheduled_workflow_continues_as_new_under_its_id(executor: Executor):
    handle = await executor.start_workflow("ScheduledWorkflow", {"seconds": 0.05})
    before = blocks.SCHEDULED.count(handle.id)

    async def several_rounds() -> bool:
        return blocks.SCHEDULED.count(handle.id) >= before + 3

    await until(several_rounds)
    assert (await handle.describe()).status == "running"
    await handle.cancel()


@pytest.mark.promise("specification: Best Practices, Set Appropriate Timeouts")
async def test_timeouts_are_taken(executor: Executor):
    handle = await executor.start_workflow(
        "ResilientWorkflow",
        {},
        execution_timeout=timedelta(hours=1),
        run_timeout=timedelta(minutes=30),
        task_timeout=timedelta(minutes=2),
    )
    assert (await handle.result()).value["final"]


@pytest.mark.promise("specification: Best Practices, Use Workflow IDs")
async def test_an_id_is_used_once_unless_its_run_failed(executor: Executor):
    options: dict[str, Any] = {
        "workflow_id": f"process-document-{executor.engine}",
        "id_reuse_policy": "allow_duplicate_failed_only",
    }
    await (await executor.start_workflow("ResilientWorkflow", {}, **options)).result()
    with pytest.raises(IdempotencyConflict):
        await executor.start_workflow("ResilientWorkflow", {}, **options)


@pytest.mark.promise("specification: Best Practices, Handle Versioning")
@pytest.mark.parametrize("engine", ["asyncio", "temporal"])
async def test_versions_of_the_best_practices(engine: str, temporal: Path):
    app = blocks_of_best_practices.app
    app.use(Settings(execution_engine=engine, temporal={"data_dir": temporal}))
    async with app.open_executor(worker=True) as executor:
        assert (await result(executor, "VersionedWorkflow", "x")).value == "new x"


@pytest.mark.promise("specification: Running Workflows, before and after the migration")
async def test_a_workflow_object_is_run_in_a_running_app(temporal: Path, tmp_path: Path):
    blocks_of_best_practices.app.use(Settings())
    async with blocks_of_best_practices.app.run():
        workflow = blocks_of_best_practices.VersionedWorkflow()
        done = await workflow.run("input")
        assert done.value == "new input"


@pytest.mark.promise("specification: Signal and Query Handlers, with temporalio's own decorators")
async def test_temporalio_s_own_handlers_work_on_temporal(temporal: Path, tmp_path: Path):
    app = blocks_of_temporal.app
    app.use(Settings(execution_engine="temporal", temporal={"data_dir": temporal}, **settings(tmp_path)))
    async with app.open_executor(worker=True) as executor:
        handle = await executor.start_workflow("ApprovalWorkflow", {"title": "plan"}, workflow_id="workflow-123")
        await executor.signal_workflow("ApprovalWorkflow", "workflow-123", "approve_signal", "Document looks good after review!")
        expected = {"status": "approved", "comments": "Document looks good after review!"}
        assert await executor.query_workflow("ApprovalWorkflow", "workflow-123", "get_status") == expected
        assert (await handle.result())["approval_comments"] == "Document looks good after review!"


@pytest.mark.promise("specification: Quick Start, in two processes")
async def test_quick_start(tmp_path: Path):
    binary = await find_or_make_binary(None, print)
    (tmp_path / "mcp_agent.config.yaml").write_text(
        f"execution_engine: temporal\ntemporal: {{binary: {binary}, data_dir: {tmp_path / 'data'}}}\n"
    )
    environment = {DATA_VARIABLE: str(tmp_path / "data"), GRACE_VARIABLE: "1", "PYTHONUNBUFFERED": "1"}
    main = await _start("quick_start_main_as_written.py", tmp_path, environment)
    assert main.stderr is not None
    assert main.stdout is not None
    begun: list[str] = []
    async with asyncio.timeout(30):
        while "No worker serves task queue" not in "".join(begun):
            begun.append((await main.stderr.readline()).decode())
            assert begun[-1], "main.py ended without a word"
    worker = await _start("quick_start_worker_as_written.py", tmp_path, environment)
    try:
        async with asyncio.timeout(30):
            assert "Processed: Hello Temporal!" in (await main.stdout.readline()).decode()
            assert await main.wait() == 0
        server = status(tmp_path / "data")
    finally:
        worker.kill()
        await worker.wait()
    assert server is not None
    await until_gone(server.keeper_pid, server.server_pid)


async def _start(program: str, folder: Path, environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / program),
        cwd=folder,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

"""The specification's blocks run as they are written; each test names the section."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import RunState
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import DATA_VARIABLE, GRACE_VARIABLE, status
from tests.specification import blocks_as_written as blocks
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
async def test_an_approval_that_is_sent_by_class_name_and_run_id(executor: Executor, capsys: pytest.CaptureFixture[str]):
    handle = await executor.start_workflow("ApprovalWorkflow", "the plan", workflow_id="run_abc123")
    await shows(executor, handle.id, lambda state: state.status == "waiting_for_input")
    await blocks.send_approval()
    assert (await handle.result()).value.startswith("done: Finalize approved document: done: Improve this document: the plan")
    assert capsys.readouterr().out.splitlines() == [
        "Waiting for approval. Workflow ID: run_abc123, Run ID: run_abc123",
        "Approval received! Finalizing document...",
    ]


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


@pytest.mark.promise("specification: Scheduled Workflows")
async def test_a_scheduled_workflow_continues_as_new_under_its_id(executor: Executor):
    handle = await executor.start_workflow("ScheduledWorkflow", {"seconds": 0.05})
    before = blocks.SCHEDULED.count(handle.id)

    async def several_rounds() -> bool:
        return blocks.SCHEDULED.count(handle.id) >= before + 3

    await until(several_rounds)
    assert (await handle.describe()).status == "running"
    await handle.cancel()


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

"""The blocks that wait for an approval: with `temporalio.workflow`, with `mcp_agent.workflow`, and over stdio."""

import asyncio
import json
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from mcp_agent.config import Settings
from mcp_agent.errors import RunFailedError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal.binary import find_or_make_binary
from tests.specification import approval_of_facade_as_written as of_facade
from tests.specification import approval_of_temporal_as_written as of_temporal
from tests.specification.servers import ROOT, settings
from tests.support import Desk, desk_in

pytestmark = pytest.mark.anyio
BLOCKS = [
    pytest.param(of_temporal, "temporal", id="temporalio on temporal"),
    pytest.param(of_facade, "temporal", id="mcp_agent on temporal"),
    pytest.param(of_facade, "asyncio", id="mcp_agent in-process"),
]


@pytest.fixture
async def opened(request: pytest.FixtureRequest, temporal: Path, tmp_path: Path) -> AsyncGenerator[tuple[Any, Executor], None]:
    block, engine = request.param
    block.app.use(Settings(execution_engine=engine, temporal={"data_dir": temporal}, **settings(tmp_path)))
    async with block.app.open_executor(worker=True) as executor:
        yield block, executor


def with_blocks(*values: Any) -> Any:
    ids = [value.id for value in values]
    return pytest.mark.parametrize("opened", [tuple(value.values) for value in values], ids=ids, indirect=True)


def test_the_blocks_differ_in_their_import_only():
    texts = [Path(block.__file__).read_text() for block in (of_temporal, of_facade)]
    temporal, facade = (text[text.index("# Section") :] for text in texts)
    assert temporal.replace("from temporalio import workflow", "from mcp_agent import workflow") == facade


@pytest.mark.promise("specification: Signal and Query Handlers")
@with_blocks(*BLOCKS)
async def test_an_approval_that_external_code_sends(opened: tuple[Any, Executor], capsys: pytest.CaptureFixture[str]):
    block, executor = opened
    handle = await executor.start_workflow("ApprovalWorkflow", {"title": "plan"}, workflow_id="workflow-123")
    if executor.engine == "temporal":  # as another process would: with a connection of its own
        block.app.use(block.app.settings.model_copy())
    await block.send_approval()
    said = "{'status': 'approved', 'comments': 'Document looks good after review!'}"
    assert capsys.readouterr().out == f"Workflow status: {said}\n"
    document = "Process document: {'title': 'plan'}"
    assert (await handle.result()).value == {
        "status": "completed",
        "document": f"done: Finalize approved document: done: {document}. Comments: Document looks good after review!",
        "approval_comments": "Document looks good after review!",
    }


@pytest.mark.promise("specification: Signal and Query Handlers")
@with_blocks(*BLOCKS)
async def test_a_rejection(opened: tuple[Any, Executor]):
    executor = opened[1]
    handle = await executor.start_workflow("ApprovalWorkflow", {"title": "plan"})
    await handle.signal("reject_signal", "too long")
    assert await handle.query("get_status") == {"status": "rejected", "comments": "too long"}
    assert (await handle.result()).error == "Document rejected: too long"


@pytest.mark.promise("design: in-process, a call of temporalio.workflow names the right import")
@with_blocks(pytest.param(of_temporal, "asyncio", id="temporalio in-process"))
async def test_temporalio_s_calls_in_process_name_the_right_import(opened: tuple[Any, Executor]):
    handle = await opened[1].start_workflow("ApprovalWorkflow", {"title": "plan"})
    with pytest.raises(RunFailedError, match="write `from mcp_agent import workflow`"):
        await handle.result()


@pytest.fixture(params=["asyncio", "temporal"])
async def desk(request: pytest.FixtureRequest, temporal: Path, tmp_path: Path) -> AsyncGenerator[Desk, None]:
    binary = await find_or_make_binary(None, print)
    given: dict[str, Any] = {
        "execution_engine": request.param,
        "server": {"app": "tests.specification.blocks_as_written:app"},
        "temporal": {"binary": str(binary)},
        **settings(tmp_path),
    }
    given["scripted"]["file"] = str(given["scripted"]["file"])
    async with desk_in(tmp_path, binary, json.dumps(given), {}) as made:
        made.environment |= {"PYTHONPATH": str(ROOT)}
        yield made


@pytest.mark.promise("specification: Signals for Human-in-the-Loop, its print() over stdio")
async def test_the_block_that_prints_does_not_disturb_the_protocol(desk: Desk):
    process = subprocess.Popen(
        desk.command("serve", "--stdio"),
        cwd=desk.folder,
        env=desk.env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        result, errors = await asyncio.to_thread(_approve_over, process)
    finally:
        process.kill()
    assert result["result"] == "done: Finalize approved document: done: Improve this document: plan"
    assert f"Waiting for approval. Workflow ID: {result['run_id']}, Run ID: {result['run_id']}" in errors
    assert "Approval received! Finalizing document..." in errors


def _approve_over(process: "subprocess.Popen[str]") -> tuple[dict[str, Any], str]:
    """Starts a run and approves it; each line of stdout must be a message of the protocol."""
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(method: str, number: int | None = None, **params: Any) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if number is None else {"id": number})
        process.stdin.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        while number is not None:
            answer = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            assert answer["jsonrpc"] == "2.0"
            if answer.get("id") == number:
                return answer["result"].get("structuredContent") or {}
        return {}

    ask("initialize", 1, protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "t", "version": "1"})
    ask("notifications/initialized")
    tool = "workflows-ApprovalWorkflow"
    arguments: dict[str, Any] = {"run_parameters": {"document": "plan"}, "wait_seconds": 30}
    run = ask("tools/call", 2, name=f"{tool}-run", arguments=arguments)
    assert run["status"] == "waiting_for_input", run
    ask("tools/call", 3, name=f"{tool}-resume", arguments={"run_id": run["run_id"], "payload": {"approved_by": "john.doe"}})
    arguments = {"run_id": run["run_id"], "wait_seconds": 30}
    result = ask("tools/call", 4, name=f"{tool}-get_status", arguments=arguments)
    rest, errors = process.communicate(timeout=30)
    assert rest == ""
    return result, errors

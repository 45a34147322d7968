"""The reference application over MCP, on both engines."""

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.support import call

pytestmark = pytest.mark.anyio


async def settled(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    """The run as soon as it is closed or waits for a person."""
    while run["status"] in ("queued", "running"):
        run = await call(client, f"workflows-{run['workflow']}-get_status", run_id=run["run_id"], wait_seconds=20)
    return run


async def started(client: Client, workflow: str, **parameters: Any) -> dict[str, Any]:
    return await settled(client, await call_when_ready(client, f"workflows-{workflow}-run", run_parameters=parameters))


async def call_when_ready(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The first call may meet an engine that is still starting."""
    while True:
        result = await client.call_tool(tool, arguments)
        data = result.structured_content or {}
        if data.get("code") != "engine_starting":
            assert not result.is_error, result.content
            return data


async def resumed(client: Client, run: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    answer = await call(client, f"workflows-{run['workflow']}-resume", run_id=run["run_id"], **arguments)
    assert answer["accepted"]
    return await settled(client, answer["run"])


async def test_a_brief_is_read_merged_changed_approved_and_stored(client: Client, tmp_path: Path):
    run = await started(client, "ResearchBrief", question="Sundays?")
    assert run["status"] == "waiting_for_input"
    assert "trial, from October to April" in run["pending_inputs"][0]["message"]
    assert run["progress"] == {"done": 3, "total": 4, "message": "waiting for a person"}
    first = run["pending_inputs"][0]["request_id"]

    run = await resumed(client, run, request_id=first, payload={"decision": "change", "comments": "shorter"})
    assert "changed as asked: Change the brief: shorter" in run["pending_inputs"][0]["message"]
    assert run["pending_inputs"][0]["request_id"] != first

    run = await resumed(client, run, payload={"decision": "approve"})
    assert run["status"] == "completed"
    assert run["result"]["rounds"] == 2
    stored = Path(run["result"]["stored_at"])
    assert stored.is_relative_to(tmp_path)
    assert run["result"]["text"] in stored.read_text()


async def test_a_decision_that_is_none_is_refused_and_the_run_still_waits(client: Client):
    run = await started(client, "ResearchBrief", question="Sundays?")
    result = await client.call_tool(
        "workflows-ResearchBrief-resume", {"run_id": run["run_id"], "payload": {"decision": "perhaps"}}
    )
    assert result.is_error
    assert (result.structured_content or {})["code"] == "invalid_arguments"
    status = await call(client, "workflows-ResearchBrief-get_status", run_id=run["run_id"])
    assert status["status"] == "waiting_for_input"
    await call(client, "workflows-ResearchBrief-cancel", run_id=run["run_id"])


@pytest.mark.promise("specification: Signals for Human-in-the-Loop")
async def test_approval_by_a_signal_that_is_waited_for(client: Client):
    run = await started(client, "ApprovalWorkflow", document="a plan")
    assert run["status"] == "waiting_for_input"
    run = await resumed(client, run)
    assert run["status"] == "completed"
    assert run["result"].startswith("A careful version of: Finalize approved document: A careful version of: Improve")


@pytest.mark.promise("specification: Signal and Query Handlers")
@pytest.mark.parametrize(("signal", "status"), [("approve_signal", "completed"), ("reject_signal", "failed")])
async def test_approval_by_signal_handlers(client: Client, signal: str, status: str):
    run = await call_when_ready(
        client, "workflows-DocumentApproval-run", run_parameters={"document": {"title": "t"}}, wait_seconds=0
    )
    assert [one["name"] for one in run["signals"]] == ["approve_signal", "reject_signal"]
    run = await resumed(client, run, signal_name=signal, payload="as said")
    assert run["status"] == status
    if status == "completed":
        assert run["result"]["approval_comments"] == "as said"
    else:
        assert run["error"]["code"] == "workflow_error"
        assert run["error"]["message"] == "Document rejected: as said"

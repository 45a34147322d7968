"""Recorded runs are replayed against the code of today; what no longer fits is named."""

import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.worker import Worker

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import MCPAgentError
from mcp_agent.executor.temporal import AgentPlugin
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import GRACE_VARIABLE, data_dir, ensure, status
from mcp_agent.executor.temporal.replaying import ReplayError
from mcp_agent.executor.workflow import Workflow
from tests.support import until_gone

pytestmark = pytest.mark.anyio
app = MCPApp("replayed")


@app.workflow_task(name="replay.first")
async def first(text: str) -> str:
    return f"{text} first"


@app.workflow_task(name="replay.second")
async def second(text: str) -> str:
    return f"{text} second"


@app.workflow
class Recorded(Workflow[str]):
    @app.workflow_run
    async def run(self, text: str) -> str:
        done = await first(text)
        await workflow.sleep(timedelta(milliseconds=20))
        if workflow.get_version("both", 1, 2) == 2:
            done = await second(done)
        return done


changed = MCPApp("changed")


@changed.workflow(name="Recorded")
class Changed(Workflow[str]):
    @changed.workflow_run
    async def run(self, text: str) -> str:
        return await second(text)


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Client, None]:
    folder = tmp_path_factory.mktemp("temporal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(GRACE_VARIABLE, "1")
        async with ensure(data_dir(folder), await find_or_make_binary(None, print), print) as server:
            yield await Client.connect(server.address)
        assert status(folder) is not None
    await until_gone(server.keeper_pid, server.server_pid)


@pytest.fixture(scope="module")
async def history(client: Client) -> dict[str, Any]:
    """A run's history as Temporal exports it; made with a worker of the user's own."""
    app.use(Settings())
    async with Worker(client, task_queue="replay", workflows=[Recorded], plugins=[AgentPlugin(app)]):
        handle = await client.start_workflow("Recorded", "x", id="recorded", task_queue="replay")
        result = await handle.result()
    assert result["value"] == "x first second"
    return (await handle.fetch_history()).to_json_dict()


@pytest.mark.promise("specification: Workflow Replay")
async def test_a_run_replays_against_its_own_code_in_every_form(history: dict[str, Any], tmp_path: Path):
    file = tmp_path / "history.json"
    file.write_text(json.dumps(history))
    app.use(Settings())
    for form in (history, json.dumps(history), file, str(file)):
        replayed = await app.replayer().replay_workflow(form)
        assert replayed.workflow == "Recorded"
        assert replayed.events == len(history["events"])


@pytest.mark.promise("issue: replay names the first event that differs")
async def test_code_that_went_another_way_is_refused(history: dict[str, Any]):
    changed.use(Settings())
    with pytest.raises(ReplayError, match=r"TMPRL1100.*replay\.first|replay\.first.*TMPRL1100|replay\.second"):
        await changed.replayer().replay_workflow(history)


@pytest.mark.parametrize("what", ["no JSON {", "{}", '{"events": []}', '{"events": [{"eventId": "1"}]}', "/nowhere/history.json"])
async def test_what_is_no_history_is_told(what: str):
    app.use(Settings())
    with pytest.raises(MCPAgentError, match=r"history|cannot be read"):
        await app.replayer().replay_workflow(what)


async def test_a_history_of_an_unknown_workflow_is_told(history: dict[str, Any]):
    other = MCPApp("other", settings=Settings())
    with pytest.raises(MCPAgentError, match="`Recorded`"):
        await other.replayer().replay_workflow(history)


@pytest.mark.promise("design: on a plain worker a workflow fails at once, and says what to add")
async def test_a_worker_that_knows_nothing_of_us_is_named(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()  # under pytest such a worker would be configured
    from temporalio.worker import UnsandboxedWorkflowRunner

    async with Worker(client, task_queue="plain", workflows=[Recorded], workflow_runner=UnsandboxedWorkflowRunner()):
        with pytest.raises(WorkflowFailureError) as told:
            await client.execute_workflow("Recorded", "x", id="plain", task_queue="plain")
    assert getattr(told.value.cause, "type", None) == "WorkerNotConfigured"
    assert "AgentPlugin(app)" in str(told.value.cause)


async def test_a_plain_worker_under_pytest_is_configured(client: Client):
    app.use(Settings())
    async with Worker(client, task_queue="tested", workflows=[Recorded]):
        result = await client.execute_workflow("Recorded", "x", id="tested", task_queue="tested")
    assert result["value"] == "x first second"

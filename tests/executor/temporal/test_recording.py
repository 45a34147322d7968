"""What Temporal has recorded of a run is read with or without a worker, and whatever is encrypted."""

import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from mcp_agent.config import Settings
from mcp_agent.errors import EncryptionError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import Answer, RunFilter, RunState
from mcp_agent.server.run_logs import RunLogs
from tests.executor.temporal.recording_app import CANARY, ENTRY, Diary, app
from tests.support import until

pytestmark = pytest.mark.anyio
KEY, OTHER = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def opened(temporal: Path, tmp_path: Path) -> Any:
    """Opens the engine with or without a worker."""
    script = tmp_path / "script.yaml"
    script.write_text("agents: {reader: [{turn: 0, tool_calls: [{name: entry}]}, {any_turn: true, text: done}]}")

    def engine(*, worker: bool, key: str = KEY) -> AbstractAsyncContextManager[Executor]:
        stored: dict[str, Any] = {"data_dir": temporal, "data_converter": {"encryption_key": key}}
        app.use(Settings(execution_engine="temporal", temporal=stored, scripted={"file": script}))  # type: ignore[arg-type]
        return app.open_executor(worker=worker)

    return engine


@pytest.fixture
async def run_id(opened: Any) -> AsyncGenerator[str, None]:
    """A run that waits for a person, and that no worker serves."""
    async with opened(worker=True) as executor:
        handle = await executor.start_workflow(Diary)

        async def asks() -> RunState | None:
            state = await executor.describe_run(handle.id)
            return state if state.pending_inputs else None

        await until(asks)
    yield handle.id
    async with opened(worker=False) as executor:
        await executor.get_handle(handle.id).terminate()


async def lines(executor: Executor, run_id: str) -> list[str]:
    return [entry.message or "" for entry in (await executor.run_log(run_id)).entries if entry.what == "line"]


@pytest.mark.promise("issue: what happened is told without a worker")
async def test_without_a_worker_all_is_told_but_the_lines_of_the_code(opened: Any, run_id: str):
    async with opened(worker=False) as executor:
        page = await executor.run_log(run_id)
        assert "need a worker" in (page.note or "")
        told = [(entry.what, entry.name) for entry in page.entries]
        assert told[0] == ("started", "Diary")
        assert told[1] == ("step_completed", "recording.count")
        assert ("asked", "go") in told
        assert not [what for what, _ in told if what == "line"]
        (question,) = [entry for entry in page.entries if entry.what == "asked"]
        assert question.message == f"May {CANARY} go?"
        transcript = (await executor.run_transcript(run_id)).entries
        assert [entry.role for entry in transcript] == ["user", "assistant", "user", "assistant"]
        assert transcript[2].content[0]["content"] == [{"type": "text", "text": ENTRY}]


@pytest.mark.promise("issue: the lines of a run's code are there after a replay, once, and cost no history")
async def test_another_worker_has_the_lines_again(opened: Any, run_id: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "mcp_agent.workflow")
    with RunLogs(str).installed() as logs, logs.of(run_id) as heard:
        await _has_the_lines_again(opened, run_id)
    assert [line.text async for line in heard] == ["third"]  # what is replayed is not written again


async def _has_the_lines_again(opened: Any, run_id: str) -> None:
    async with opened(worker=True) as executor:
        assert await lines(executor, run_id) == [f"first {CANARY}", "second"]
        length = len(await history(executor, run_id))
        assert await lines(executor, run_id) == [f"first {CANARY}", "second"]
        assert len(await history(executor, run_id)) == length
        await executor.answer_run(run_id, Answer(request_id="go#1", payload=True))
        await executor.get_handle(run_id).result()
        assert await lines(executor, run_id) == [f"first {CANARY}", "second", "third"]
        page = await executor.run_log(run_id)
        assert (page.note, page.entries[-1].what) == (None, "ended")
        found = await executor.list_runs(RunFilter(prefix=run_id[:-3]))
        assert [state.run_id for state in found.runs] == [run_id]


async def history(executor: Any, run_id: str) -> list[Any]:
    return list((await executor.client.get_workflow_handle(run_id).fetch_history()).events)


async def test_what_is_encrypted_is_told_to_nobody_without_the_key(opened: Any, run_id: str):
    async with opened(worker=False, key=OTHER) as executor:
        for read in (executor.run_log, executor.run_transcript):
            with pytest.raises(EncryptionError, match="previous_keys"):
                await read(run_id)

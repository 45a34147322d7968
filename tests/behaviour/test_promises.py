"""Promises of the design that are kept by running them: time-outs, cancellation downstream, names, signals, logs."""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_agent.config import Settings
from mcp_agent.errors import NotFound, RunCancelledError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import RunState
from mcp_agent.executor.temporal import create_temporal_worker_for_app
from mcp_agent.executor.workflow_signal import Signal
from tests.behaviour import promises_desk as desk
from tests.support import until, until_file

pytestmark = pytest.mark.anyio
SCRIPT = """
agents:
  clerk: [{tool_calls: [{name: archive_file, arguments: {}}]}, {text: filed}]
  twin: [{text: "1: {last_user}"}, {text: "2: {last_user}"}, {text: "3: {last_user}"}]
"""
ENGINES = pytest.mark.parametrize("executor", ["asyncio", "temporal"], indirect=True)
TEMPORAL = pytest.mark.parametrize("executor", ["temporal"], indirect=True)


@pytest.fixture
async def executor(request: pytest.FixtureRequest, temporal: Path, tmp_path: Path) -> AsyncGenerator[Executor, None]:
    desk.app.use(settings(request.param, temporal, tmp_path))
    async with desk.app.open_executor(worker=True) as opened:
        yield opened


def settings(engine: Any, temporal: Path, folder: Path) -> Settings:
    (folder / "script.yaml").write_text(SCRIPT)
    archive = {"command": sys.executable, "args": [str(Path(__file__).with_name("slow_archive.py")), str(folder / "log")]}
    return Settings(
        execution_engine=engine,
        temporal={"data_dir": temporal},
        scripted={"file": folder / "script.yaml"},
        mcp={"servers": {"archive": archive}},
    )


async def shows(handle: Any, what: Any) -> RunState:
    async def there() -> RunState | None:
        state = await handle.describe()
        return state if what(state) else None

    return await until(there, 30)


@TEMPORAL
@pytest.mark.promise("design: all four time-outs of a step on Temporal end in StepTimeoutError that names the kind")
@pytest.mark.parametrize("kind", ["start_to_close", "schedule_to_close", "schedule_to_start", "heartbeat"])
async def test_a_step_that_runs_out_of_time_names_the_kind(executor: Executor, kind: str):
    name = "promises." + {"schedule_to_start": "note", "heartbeat": "blocks"}.get(kind, "endless")
    result = await (await executor.start_workflow("RunsOut", kind)).result()
    assert result.value == ["StepTimeoutError", "TimeoutError", f"Step `{name}` ran out of time ({kind})."]


@ENGINES
async def test_a_step_that_is_put_off_for_longer_than_it_has_fails_at_once_with_its_own_error(executor: Executor):
    with anyio.fail_after(20):
        result = await (await executor.start_workflow("PutOff")).result()
    assert result.value == ["Busy", "come back in an hour"]


@ENGINES
@pytest.mark.promise("design: cancelling a run inside a downstream call reaches the downstream server")
async def test_a_cancelled_run_cancels_the_call_of_a_downstream_server(executor: Executor, tmp_path: Path):
    handle = await executor.start_workflow("Files", "the plan")
    await until_file(tmp_path / "log", "begun")
    await handle.cancel()
    with pytest.raises(RunCancelledError):
        await handle.result()
    await until_file(tmp_path / "log", "cancelled")
    state = await handle.describe()
    assert (state.status, state.steps) == ("cancelled", ())
    assert (tmp_path / "log").read_text().split() == ["begun", "cancelled"]


@ENGINES
@pytest.mark.promise("design: asyncio.gather over agents with the same name")
async def test_agents_of_one_name_side_by_side_keep_their_conversations_apart(executor: Executor):
    handle: Any = await executor.start_workflow("Twins", 6)
    words = ("1: first", "2: second", "3: third")
    assert (await handle.result()).value == [[f"{word} of {number}" for word in words] for number in range(6)]
    if executor.engine == "temporal":
        await desk.app.replayer().replay_workflow(await handle.temporal.fetch_history())


@ENGINES
@pytest.mark.promise("design: a run says who it is and how far it is, through app.context")
async def test_a_run_says_who_it_is_and_how_far_it_is(executor: Executor):
    handle = await executor.start_workflow("Tells", "one")
    state = await shows(handle, lambda state: state.status == "waiting_for_input")
    assert state.progress is not None
    assert (state.progress.done, state.progress.total, state.progress.message) == (3, 3, "noted 3")
    await handle.signal("end")
    result = await handle.result()
    assert result.value == f"{handle.id} Tells"
    assert result.metadata == {"own": handle.id}


@pytest.mark.promise("design: log lines of app.context.logger do not repeat on replay")
async def test_log_lines_do_not_repeat_on_replay(temporal: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    desk.app.use(settings("temporal", temporal, tmp_path))
    async with create_temporal_worker_for_app(desk.app, max_cached_workflows=0) as worker, desk.app.run() as running:
        serving = asyncio.create_task(worker.run())
        handle: Any = await running.executor.start_workflow("Tells", "again")
        await handle.signal("end")
        await handle.result()
        history = await handle.temporal.fetch_history()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    replays = [event for event in history.events if event.HasField("workflow_task_completed_event_attributes")]
    assert len(replays) > 3
    lines = [record.getMessage().partition(" ({")[0] for record in caplog.records if "again has" in record.getMessage()]
    assert lines == ["again has begun", *(f"again has noted {number}" for number in (1, 2, 3))]


@ENGINES
@pytest.mark.promise("issue: the base class reserves no public names but id and run_id")
async def test_a_workflow_may_use_every_name_but_id_and_run_id(executor: Executor):
    handle = await executor.start_workflow("Names")
    assert await handle.update("update", "new status") == "name"
    assert await handle.query("get_status") == "new status"
    await handle.signal("signal", "new state")
    own = {name: name for name in ("name", "context", "app", "executor", "logger", "result")}
    numbers = {"queue": 1, "config": 1, "metadata": 1}
    assert (await handle.result()).value == {
        **own,
        **numbers,
        "state": "new state",
        "status": "new status",
        "made": ["called by app", "STEP"],
        "run": True,
    }
    assert await handle.query("query") == "new state"


class TestSignalsThatAreWaitedFor:
    pytestmark = ENGINES

    async def test_a_payload_arrives_typed(self, executor: Executor):
        handle = await executor.start_workflow("Orders", "at once")
        await handle.signal("order", {"item": "tea", "count": 3})
        assert (await handle.result()).value == ["tea", "tea", "tea"]

    async def test_a_model_is_sent_as_it_is(self, executor: Executor):
        handle = await executor.start_workflow("Orders", "at once")
        await executor.signal_bus.send_signal(Signal("order", run_id=handle.id, payload=desk.Order(item="cup")))
        assert (await handle.result()).value == ["cup"]

    @pytest.mark.promise("fault: early signal lost")
    async def test_one_that_comes_early_is_kept_and_arrives_typed(self, executor: Executor):
        handle = await executor.start_workflow("Orders", "late")
        await executor.signal_bus.send_signal(
            Signal("order", workflow_id="Orders", run_id=handle.id, payload={"item": "tea", "count": 2})
        )
        assert (await handle.result()).value == ["tea", "tea"]

    async def test_none_in_time_is_a_timeout(self, executor: Executor):
        assert (await (await executor.start_workflow("Orders", "briefly")).result()).value == ["no order"]

    async def test_from_outside_by_id_alone(self, executor: Executor):
        handle = await executor.start_workflow("Orders", "at once")
        await executor.signal_bus.send_signal(Signal("order", workflow_id=handle.id, payload={"item": "tea"}))
        assert (await handle.result()).value == ["tea"]

    @pytest.mark.parametrize("how", ["by name and id", "by id alone"])
    async def test_from_inside_another_run(self, executor: Executor, how: str):
        handle = await executor.start_workflow("Orders", "at once")
        await (await executor.start_workflow("Orders", how, handle.id)).result()
        assert (await handle.result()).value == ["tea", "tea"]

    async def test_to_a_class_name_alone_is_not_found(self, executor: Executor):
        handle = await executor.start_workflow("Orders", "at once")
        with pytest.raises(NotFound, match="`Orders`"):
            await executor.signal_bus.send_signal(Signal("order", workflow_id="Orders", payload={"item": "tea"}))
        with pytest.raises(ValueError, match="give it a `run_id`"):
            await executor.signal_bus.send_signal(Signal("order", payload={"item": "tea"}))
        await handle.signal("order", {"item": "cup"})
        assert (await handle.result()).value == ["cup"]

"""With encryption on nothing of a run's content is readable where it is stored, and everything is read back right."""

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic_core import to_json
from temporalio.client import Client
from temporalio.worker import Replayer, Worker

from mcp_agent import workflow
from mcp_agent.app import MCPApp
from mcp_agent.config import Settings
from mcp_agent.errors import ConfigError, EncryptionError, NotFound, RunFailedError, WorkflowApplicationError
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import Answer, RunFilter, RunState
from mcp_agent.executor.temporal import (
    AgentPlugin,
    CompositeConverter,
    EncryptionConverter,
    create_temporal_worker_for_app,
    states,
)
from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import GRACE_VARIABLE, status
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.executor.temporal.replaying import ReplayError
from mcp_agent.executor.workflow import Workflow
from mcp_agent.executor.workflow_signal import Signal
from tests.executor.temporal import encrypted_app
from tests.executor.temporal.encrypted_app import CANARY, Fails, Patient, app
from tests.support import until, until_gone

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
KEY, OTHER = Fernet.generate_key().decode(), Fernet.generate_key().decode()
CANARIES = (CANARY.encode(), base64.b64encode(CANARY.encode())[:-4])


def settings(folder: Path, key: str | None = KEY, **more: Any) -> Settings:
    section = None if key is None else {"encryption_key": key, **more}
    return Settings(execution_engine="temporal", temporal={"data_dir": folder, "data_converter": section})


@dataclass
class Desk:
    folder: Path
    executor: TemporalExecutor
    address: str


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk, None]:
    folder = tmp_path_factory.mktemp("data")
    await find_or_make_binary(None, print)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(GRACE_VARIABLE, "0")
        app.use(settings(folder, compress=True))
        async with app.open_executor(worker=True) as executor:
            assert isinstance(executor, TemporalExecutor)
            server = status(folder)
            assert server is not None
            yield Desk(folder, executor, server.address)
    await until_gone(server.keeper_pid, server.server_pid)


async def raw(desk: Desk, run_id: str) -> bytes:
    """Everything that Temporal's API gives of a chain of runs: every event of each, and what `describe` shows."""
    handle = desk.executor.client.get_workflow_handle(run_id)
    description = await handle.describe()
    parts = [description.raw_description.SerializeToString()]
    found: Any = desk.executor.client.list_workflows(f"WorkflowId = '{run_id}'")
    runs = {description.run_id} | {run.run_id async for run in found}
    for each in runs:
        history = await desk.executor.client.get_workflow_handle(run_id, run_id=each).fetch_history()
        parts += [event.SerializeToString() for event in history.events]
    return b"\n".join(parts)


async def check_nothing_readable(desk: Desk, run_id: str) -> bytes:
    stored = await raw(desk, run_id)
    for canary in CANARIES:
        assert canary not in stored
    return stored


async def state(desk: Desk, run_id: str, what: Any) -> RunState:
    async def there() -> RunState | None:
        found = await desk.executor.describe_run(run_id)
        return found if what(found) else None

    return await until(there, 20)


@pytest.fixture(scope="module")
async def chain(desk: Desk) -> str:
    """The id of a run that used everything there is."""
    return await used_up(desk, CANARY)


async def used_up(desk: Desk, text: str) -> str:
    """The id of such a run; what it told on its way is checked here."""
    executor = desk.executor
    handle = await executor.start_workflow(Patient, text, memo={"note": text})
    asking = await state(desk, handle.id, lambda found: found.pending_inputs)
    assert asking.memo == {"note": text}
    (request,) = asking.pending_inputs
    assert request.message == f"May {text} go?"
    await executor.answer_run(handle.id, Answer(name="early", payload=f"{text} early"))
    assert await handle.query("look", text) == [text]
    with pytest.raises(WorkflowApplicationError, match=f"{text} bad is not there"):
        await handle.query("look", f"{text} bad")
    with pytest.raises(NotFound, match=r"`nothing`.*look"):
        await handle.query("nothing")
    with pytest.raises(WorkflowApplicationError, match=r"`look`.*do not fit"):
        await desk.executor.get_handle(handle.id).query("look", ["no text"])
    assert await handle.update("write", text) == f"{text} written"
    with pytest.raises(WorkflowApplicationError, match=f"{text} bad is no letter"):
        await handle.update("write", f"{text} bad")
    with pytest.raises(NotFound, match="`nothing`"):
        await handle.update("nothing")
    answer = Answer(request_id=request.request_id, payload=text)
    assert not (await executor.answer_run(handle.id, answer)).duplicate
    assert (await executor.answer_run(handle.id, answer)).duplicate
    await handle.signal("letter", f"{text} letter")
    result = await handle.result()
    beat = f"{text} noted, ('{text}',)"
    assert result.value == [beat, f"{text} of child", text, text, f"{text} letter", f"{text} early"]
    assert result.metadata == {"of": text}
    return handle.id


@pytest.mark.promise("specification: Temporal Cloud, data_converter")
async def test_a_run_that_uses_everything_leaves_nothing_readable(desk: Desk, chain: str):
    stored = await check_nothing_readable(desk, chain)
    assert b"binary/encrypted" in stored
    assert b"mcp_agent.carried" in stored  # the header of the second run
    assert stored.count(b"Encoded failure") >= 1
    assert hashlib.sha256(to_json(CANARY)).hexdigest()[:32].encode() not in stored
    assert KEY.encode() not in stored
    told = (await desk.executor.list_runs(RunFilter(workflows=("Patient",)))).runs
    assert [run.memo for run in told if run.run_id == chain] == [{"note": CANARY}]


@pytest.mark.promise("issue: a test greps the whole database file for planted plaintext")
async def test_nothing_that_was_planted_is_in_any_file_of_the_database(desk: Desk):
    planted = "planted-in-the-database"
    await used_up(desk, planted)
    asks = await desk.executor.start_workflow("Asks", planted)
    asking = await state(desk, asks.id, lambda found: found.pending_inputs)
    assert planted in asking.pending_inputs[0].message
    await desk.executor.answer_run(asks.id, Answer(request_id=asking.pending_inputs[0].request_id, payload={"dose": planted}))
    assert (await asks.result()).value == f"{planted} of {planted}"
    for how in ("step", "raw child"):
        failing = await desk.executor.start_workflow(Fails, how, planted)
        with pytest.raises(RunFailedError, match=planted):
            await failing.result()
    held = await desk.executor.start_workflow(Fails, "held", planted)
    await state(desk, held.id, lambda found: found.steps and found.steps[0].last_error)
    forms = (planted.encode(), *(base64.b64encode(b" " * lead + planted.encode())[4:-4] for lead in range(3)))
    searched = {path: path.read_bytes() for path in desk.folder.rglob("*") if path.is_file()}
    assert {"temporal.db", "temporal.db-wal"} <= {path.name for path in searched}
    assert any(held.id.encode() in content for content in searched.values())  # what is not encrypted is there to be found
    assert not [path for path, content in searched.items() if any(form in content for form in forms)]
    await held.terminate()


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("step", "Refused", f"{CANARY} is refused"),
        ("chain", "LookupError", f"{CANARY} is gone"),
        ("child", "RunFailedError", f"{CANARY} bad failed"),
        ("raw", "Refused", f"{CANARY} is refused"),
        ("raw child", "BadChild", f"{CANARY} bad failed"),
        ("error", "workflow_error", f"{CANARY} is an error"),
    ],
)
async def test_a_failure_is_told_and_not_stored_in_clear(desk: Desk, how: str, code: str, message: str):
    handle = await desk.executor.start_workflow(Fails, how, CANARY)
    if how == "error":
        assert (await handle.result()).error == message
    else:
        with pytest.raises(RunFailedError, match=message):
            await handle.result()
    told = (await handle.describe()).error
    assert told is not None
    assert told.code == code
    assert message in told.message
    await check_nothing_readable(desk, handle.id)


async def test_a_step_reads_the_run_s_own_history(desk: Desk):
    handle = await desk.executor.start_workflow("Recalls", CANARY)
    argument = json.dumps(CANARY)
    assert (await handle.result()).value == [argument, json.dumps(f"{CANARY} noted, ('{CANARY}',)"), argument]


async def test_why_a_step_is_tried_again_is_told(desk: Desk):
    handle = await desk.executor.start_workflow(Fails, "held", CANARY)
    held = await state(desk, handle.id, lambda found: found.steps and found.steps[0].last_error)
    assert f"{CANARY} is held" in held.steps[0].last_error
    await check_nothing_readable(desk, handle.id)
    await handle.terminate()


async def test_why_a_run_is_blocked_is_told(desk: Desk):
    queue = desk.executor.task_queue
    await desk.executor.client.start_workflow("Nobody", CANARY, id="blocked", task_queue=queue)
    blocked = await state(desk, "blocked", lambda found: found.status == "blocked")
    assert "Nobody is not registered" in (blocked.blocked or "")
    await check_nothing_readable(desk, "blocked")
    await desk.executor.terminate_run("blocked", None)


async def test_the_arguments_of_a_schedule_are_encrypted(desk: Desk):
    schedule = await desk.executor.create_schedule("encrypted", "Child", CANARY, cron=["0 0 1 1 *"])
    described = await desk.executor.client.get_schedule_handle("encrypted").describe()
    for canary in CANARIES:
        assert canary not in described.raw_description.SerializeToString()
    await schedule.trigger()

    async def started() -> tuple[str, ...]:
        return (await schedule.describe()).recent_runs

    (run_id,) = await until(started)
    assert (await desk.executor.get_handle(run_id, "Child").result()).value == f"{CANARY} of child"
    await schedule.delete()


@pytest.mark.promise("specification: Workflow Replay")
async def test_an_encrypted_run_is_replayed_with_the_app_s_key(desk: Desk, chain: str):
    client = desk.executor.client
    first = await client.get_workflow_handle(chain).describe()
    found = {run.run_id async for run in client.list_workflows(f"WorkflowId = '{chain}'")} | {first.run_id}
    for each in found:
        history = await client.get_workflow_handle(chain, run_id=each).fetch_history()
        assert (await app.replayer().replay_workflow(history.to_json_dict())).workflow == "Patient"
        plain = Replayer(workflows=[Patient], plugins=[AgentPlugin(app, {})])
        await plain.replay_workflow(history)
        given = CompositeConverter(EncryptionConverter(KEY))
        await Replayer(workflows=[Patient], plugins=[AgentPlugin(app, {})], data_converter=given).replay_workflow(history)


other = MCPApp("other")


@other.workflow(name="Fails")
class Otherwise(Workflow[Any]):
    @other.workflow_run
    async def run(self, how: str, text: str) -> Any:
        return await encrypted_app.note(text)


@pytest.fixture
async def history(desk: Desk) -> dict[str, Any]:
    handle = await desk.executor.start_workflow(Fails, "step", CANARY)
    with pytest.raises(RunFailedError):
        await handle.result()
    return (await desk.executor.client.get_workflow_handle(handle.id).fetch_history()).to_json_dict()


async def test_what_no_longer_fits_is_named_also_where_it_is_encrypted(desk: Desk, history: dict[str, Any]):
    other.use(settings(desk.folder, OTHER, previous_keys=[KEY]))
    with pytest.raises(ReplayError, match="TMPRL1100"):
        await other.replayer().replay_workflow(history)


async def test_a_history_is_not_replayed_without_its_key(desk: Desk, history: dict[str, Any]):
    other.use(settings(desk.folder, None))
    with pytest.raises(EncryptionError, match=r"`temporal\.data_converter\.encryption_key`"):
        await other.replayer().replay_workflow(history)
    other.use(settings(desk.folder, OTHER))
    with pytest.raises(EncryptionError, match=r"previous_keys"):
        await other.replayer().replay_workflow(history)
    other.use(settings(desk.folder, "planted"))
    with pytest.raises(ConfigError, match=r"`temporal\.data_converter\.encryption_key`"):
        await other.replayer().replay_workflow(history)


@pytest.mark.promise("issue: mcp-agent replay exits non-zero")
@pytest.mark.parametrize(
    ("key", "code", "told"),
    [
        (KEY, 0, "ok, Fails,"),
        (OTHER, 1, "which is not given"),
        (None, 1, "no key is configured"),
    ],
    ids=["its key", "another key", "no key"],
)
async def test_the_command_replays_encrypted_files(
    history: dict[str, Any], tmp_path: Path, key: str | None, code: int, told: str
):
    file, config = tmp_path / "history.json", tmp_path / "mcp_agent.config.yaml"
    file.write_text(json.dumps(history))
    assert not any(canary in file.read_bytes() for canary in CANARIES)
    config.write_text("" if key is None else "temporal: {data_converter: {encryption_key: '${REPLAY_KEY}'}}")
    command = [sys.executable, "-m", "mcp_agent.cli", "replay", str(file), "--config", str(config)]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "--app", "tests.executor.temporal.encrypted_app:app"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "REPLAY_KEY": key or ""},
    )
    assert told in done.stdout
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    assert key is None or key not in done.stdout + done.stderr


turning = MCPApp("turning")


@turning.workflow
class Turning(Workflow[str]):
    def __init__(self) -> None:
        self.letters: list[str] = []

    @workflow.signal
    def letter(self, text: str) -> None:
        self.letters.append(text)

    @workflow.query
    def look(self) -> list[str]:
        return self.letters

    @turning.workflow_run
    async def run(self, text: str) -> str:
        return f"{text} and {await turning.context.executor.signal_bus.wait_for_signal(Signal('go'))}"


@pytest.mark.parametrize("before", [None, KEY, "zstd"], ids=["in clear", "old key", "compressed"])
async def test_runs_go_on_when_encryption_is_turned_on_and_when_the_key_is_changed(desk: Desk, before: str | None):
    compressed = before == "zstd"
    before = None if compressed else before
    turning.use(settings(desk.folder, before) if not compressed else in_clear(desk.folder, compress="zstd"))
    async with turning.open_executor(worker=True) as executor:
        handle = await executor.start_workflow(Turning, CANARY, memo={"note": CANARY})
        await until(lambda: asks(executor, handle.id))
    turning.use(settings(desk.folder, OTHER, previous_keys=[] if before is None else [before]))
    async with turning.open_executor(worker=True) as executor:
        assert (await executor.describe_run(handle.id)).memo == {"note": CANARY}
        await executor.answer_run(handle.id, Answer(name="go", payload="on"))
        assert (await executor.get_handle(handle.id, "Turning").result()).value == f"{CANARY} and on"
        stored = await raw(desk, handle.id)
    assert (CANARY.encode() in stored) is (before is None)
    assert EncryptionConverter(OTHER).key_id.encode() in stored


@pytest.mark.promise("issue: turning it on with runs under way keeps old histories readable")
async def test_runs_go_on_when_compression_and_keys_with_ids_come_and_go(desk: Desk, tmp_path: Path):
    (tmp_path / "keys").write_text(f"second {OTHER}")
    text = CANARY * 100
    turning.use(settings(desk.folder, None))
    async with turning.open_executor(worker=True) as executor:
        handle = await executor.start_workflow(Turning, text)
        await until(lambda: asks(executor, handle.id))
    keys = [{"file": tmp_path / "keys"}, {"id": "first", "secret": KEY}]
    sections: list[dict[str, Any]] = [{"compress": "zstd"}, {"keys": keys[1:], "compress": "gzip"}, {"keys": keys}]
    for number, section in enumerate(sections):
        turning.use(in_clear(desk.folder, **section))
        async with turning.open_executor(worker=True) as executor:
            run = executor.get_handle(handle.id, "Turning")
            await run.signal("letter", f"{text} {number}")
            assert await run.query("look") == [f"{text} {each}" for each in range(number + 1)]
    async with turning.open_executor(worker=True) as executor:
        await executor.answer_run(handle.id, Answer(name="go", payload=text))
        assert (await executor.get_handle(handle.id, "Turning").result()).value == f"{text} and {text}"
        stored = await raw(desk, handle.id)
    for mark in (b"binary/zstd", b"gzip", b"first", b"second"):
        assert mark in stored


def in_clear(folder: Path, **section: Any) -> Settings:
    return Settings(execution_engine="temporal", temporal={"data_dir": folder, "data_converter": section})


async def asks(executor: Executor, run_id: str) -> bool:
    return bool((await executor.describe_run(run_id)).pending_inputs)


async def test_a_run_of_an_unknown_key_is_an_error_that_says_what_to_do(desk: Desk, chain: str):
    turning.use(settings(desk.folder, OTHER))
    async with turning.open_executor() as executor:
        with pytest.raises(EncryptionError, match=rf"`{EncryptionConverter(KEY).key_id}`.*previous_keys"):
            await executor.describe_run(chain)


async def test_a_listing_shows_a_run_of_an_unknown_key_as_such_and_hides_no_other(desk: Desk, chain: str):
    turning.use(settings(desk.folder, OTHER))
    async with turning.open_executor() as executor:
        assert isinstance(executor, TemporalExecutor)
        query = f"WorkflowId = '{chain}' AND ExecutionStatus = 'Completed'"
        found = {run.id: await states.listed(run, timedelta(days=1)) async for run in executor.client.list_workflows(query)}
    error = found[chain].error
    assert found[chain].status == "completed"
    assert error is not None
    assert error.code == "unreadable"


async def test_a_wrong_key_starts_nothing(tmp_path: Path):
    turning.use(settings(tmp_path, "planted"))
    for opening in (turning.open_executor(), create_temporal_worker_for_app(turning)):
        with pytest.raises(ConfigError, match=r"`temporal\.data_converter\.encryption_key`") as told:
            async with opening:
                pass
        assert "planted" not in str(told.value)
    assert status(tmp_path) is None


async def test_a_worker_whose_client_does_not_encrypt_is_refused(desk: Desk):
    client = await Client.connect(desk.address)
    with pytest.raises(ConfigError, match="CompositeConverter"):
        Worker(client, task_queue="clear", workflows=[Patient], plugins=[AgentPlugin(app)])


@pytest.mark.promise("specification: Security Best Practices, Data Encryption")
async def test_the_block_of_the_specification_encrypts(desk: Desk):
    encryption_key = Fernet.generate_key()
    client = await Client.connect(
        desk.address, namespace="default", data_converter=CompositeConverter(EncryptionConverter(encryption_key, compress=True))
    )
    turning.use(Settings())
    async with Worker(client, task_queue="block", workflows=[Turning], plugins=[AgentPlugin(turning)]):
        handle = await client.start_workflow("Turning", CANARY, id="block", task_queue="block", memo={"note": CANARY})
        await handle.signal("go", CANARY)
        assert (await handle.result())["value"] == f"{CANARY} and {CANARY}"
        assert await (await handle.describe()).memo_value("note") == CANARY
    stored = b"".join(event.SerializeToString() for event in (await handle.fetch_history()).events)
    stored += (await handle.describe()).raw_description.SerializeToString()
    for canary in CANARIES:
        assert canary not in stored
    plain = await Client.connect(desk.address)
    with pytest.raises(KeyError, match="binary/encrypted"):
        await plain.get_workflow_handle("block").result()

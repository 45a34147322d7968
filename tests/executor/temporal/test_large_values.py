"""Large values are kept outside of the history, encrypted where that is on, and as long as a run needs them."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.fernet import Fernet
from gcp_storage_emulator.server import create_server
from mcp import Client
from moto.server import ThreadedMotoServer
from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverClaim, StorageDriverRetrieveContext, StorageDriverStoreContext

from mcp_agent.cli.storing import collect_unneeded
from mcp_agent.config import ExternalStorageSettings, Settings
from mcp_agent.errors import ConfigError, InvalidArguments, PayloadMissing, StorageUnavailable, UnreadablePayload
from mcp_agent.executor.runs import RunState
from mcp_agent.executor.temporal.blobs.driver import BlobDriver
from mcp_agent.executor.temporal.blobs.store import BlobStore, open_store
from mcp_agent.executor.temporal.executor import TemporalExecutor
from mcp_agent.server.app_server import AgentServer
from mcp_agent.sockets import bound_socket
from tests.executor.temporal.large_app import Library, Refused, app
from tests.support import call, refusal, until

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
KEY = Fernet.generate_key().decode()
WORD = "a-planted-word "
TIMES = 200_000  # 3 MB: more than Temporal takes
BUCKET = "values"


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


def settings(temporal: Path, blobs: Path, **more: Any) -> Settings:
    stored = {"external_storage": {"folder": blobs}, "data_converter": {"encryption_key": KEY}, **more}
    return Settings(execution_engine="temporal", temporal={"data_dir": temporal, **stored})


@pytest.fixture
async def executor(temporal: Path, blobs: Path) -> AsyncGenerator[TemporalExecutor, None]:
    app.use(settings(temporal, blobs))
    async with app.open_executor(worker=True) as opened:
        assert isinstance(opened, TemporalExecutor)
        yield opened


def files(blobs: Path) -> list[Path]:
    return [path for path in blobs.rglob("*") if path.is_file() and path.name != "owner"]


def grow_old(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 8 * 86_400,) * 2)


async def finished(executor: TemporalExecutor) -> str:
    text = WORD * TIMES
    handle = await executor.start_workflow(Library, WORD, TIMES)
    await handle.signal("go", text)
    assert (await handle.result()).value == [len(text), [len(text) + 2], text, text]
    return handle.id


@pytest.mark.promise("issue: external storage by configuration above a threshold, ciphertext at rest")
async def test_values_that_temporal_would_refuse_are_kept_elsewhere_encrypted(executor: TemporalExecutor, blobs: Path):
    run_id = await finished(executor)
    kept = files(blobs)
    assert kept
    for path in kept:
        content = path.read_bytes()
        assert WORD.encode() not in content
        assert path.name == hashlib.sha256(content).hexdigest()
        assert path.stat().st_mode & 0o077 == 0
    history = await executor.client.get_workflow_handle(run_id).fetch_history()
    assert sum(event.ByteSize() for event in history.events) < 100_000
    assert (await executor.describe_run(run_id)).result[0] == len(WORD * TIMES)
    assert (await app.replayer().replay_workflow(history.to_json_dict())).workflow == "Library"
    assert sorted(files(blobs)) == sorted(kept)


async def test_what_is_as_large_as_no_store_takes_is_refused_by_name(executor: TemporalExecutor):
    with pytest.raises(InvalidArguments, match="50,000,000"):
        await executor.start_workflow(Library, "x" * 50_000_001, 1)


async def test_equal_values_are_kept_once_also_when_they_are_encrypted(executor: TemporalExecutor, blobs: Path):
    for _ in range(2):
        handle = await executor.start_workflow(Library, "y" * 300_000, 1)
        await handle.signal("go", "on")
        await handle.result()
    assert len(files(blobs)) == 2  # the text, and the result with it


@pytest.mark.promise("issue: a missing blob is a named error")
async def test_a_value_that_is_gone_is_named_and_the_run_goes_on_when_it_is_back(executor: TemporalExecutor, blobs: Path):
    handle = await executor.start_workflow(Library, WORD, TIMES)

    async def waits() -> bool:
        return len(files(blobs)) > 0 and (await handle.describe()).status == "waiting_for_input"

    await until(waits)
    blobs.rename(blobs.with_name("away"))
    assert (await handle.describe()).status == "waiting_for_input"  # what says so is not large
    recorded = await executor.client.get_workflow_handle(handle.id).fetch_history()
    with pytest.raises(PayloadMissing, match=r"`default/\w\w/\w{64}` in folder `.*`temporal\.external_storage`"):
        await app.replayer().replay_workflow(recorded)
    blobs.with_name("away").rename(blobs)
    await handle.signal("go", "on")
    assert (await handle.result()).value[0] == len(WORD * TIMES)


@dataclass
class Gate:
    """`mcp-agent replay --from-server`, as a process with a configuration of its own."""

    folder: Path
    section: dict[str, Any]

    async def __call__(self, name: str, **without: Any) -> tuple[int, str]:
        """Its status, and what it says, where some keys of the configuration are others, or `None`: left out."""
        section = {key: value for key, value in {**self.section, **without}.items() if value is not None}
        config = self.folder / f"{name}.yaml"
        config.write_text(json.dumps({"execution_engine": "temporal", "temporal": section}))
        options = ["--from-server", "--config", str(config), "--app", "tests.executor.temporal.large_app:app"]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "mcp_agent.cli", "replay", *options],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert KEY not in said
        return done.returncode, said


@pytest.mark.promise("issue 7: mcp-agent replay --from-server over recent runs as a gate before a rollout")
async def test_the_gate_reads_encrypted_runs_and_large_values_and_names_what_is_missing(
    temporal: Path, blobs: Path, tmp_path: Path
):
    queue = f"large-gate-{tmp_path.name}"
    app.use(settings(temporal, blobs, task_queue=queue))
    async with app.open_executor(worker=True) as executor:
        assert isinstance(executor, TemporalExecutor)
        ended, waiting = [await executor.start_workflow(Library, text * 300_000, 1) for text in "ew"]
        await ended.signal("go", "on")
        await ended.result()

        async def waits() -> bool:
            listed = (await executor.client.count_workflows(f"TaskQueue = '{queue}'")).count
            return listed == 2 and (await waiting.describe()).status == "waiting_for_input"

        await until(waits)
    section = {
        "data_dir": str(temporal),
        "task_queue": queue,
        "external_storage": {"folder": str(blobs)},
        "data_converter": {"encryption_key": KEY},
    }
    gate = Gate(tmp_path, section)
    kept = sorted(files(blobs))
    fits, *misfits = await asyncio.gather(
        gate("whole"),
        gate("keyless", data_converter=None),
        gate("storeless", external_storage=None),
        gate("elsewhere", external_storage={"folder": str(tmp_path / "elsewhere")}),
    )
    assert fits[0] == 0, fits[1]
    assert "2 runs replayed: 2 fit, 0 would break" in fits[1]
    named = ["set `temporal.data_converter.encryption_key`", "set `temporal.external_storage`", "is not where it was kept"]
    for (status, said), name in zip(misfits, named, strict=True):
        assert status == 1
        assert said.count(name) == 2, said
        assert "2 runs replayed: 0 fit, 2 would break" in said
    assert sorted(files(blobs)) == kept
    assert not (tmp_path / "elsewhere").exists()


async def test_a_worker_that_cannot_read_a_value_shows_the_run_as_blocked_with_the_cause(temporal: Path, blobs: Path):
    app.use(settings(temporal, blobs))
    async with app.open_executor(worker=False) as executor:
        handle = await executor.start_workflow(Library, "z" * 300_000, 1)
        away = blobs.with_name("away")
        blobs.rename(away)
    async with app.open_executor(worker=True) as executor:

        async def blocked() -> RunState | None:
            found = await executor.describe_run(handle.id)
            return found if found.status == "blocked" else None

        cause = (await until(blocked)).blocked or ""
        assert "is not where it was kept" in cause
        assert "Put it back" in cause
        await asyncio.to_thread(shutil.copytree, away, blobs, dirs_exist_ok=True)
        await executor.get_handle(handle.id, "Library").signal("go", "on")
        assert (await executor.get_handle(handle.id, "Library").result()).value[0] == 300_000


@pytest.mark.promise("issue: a missing blob is a named error")
async def test_clients_are_told_by_name_that_a_result_is_gone(temporal: Path, blobs: Path):
    app.use(settings(temporal, blobs))
    async with AgentServer.open(app) as server, Client(server.mcp) as client:
        run = await call(client, "workflows-Library-run", run_parameters={"text": "q", "times": 300_000}, wait_seconds=20)
        await call(client, "workflows-Library-resume", run_id=run["run_id"], payload="on")
        done = await call(client, "workflows-Library-get_status", run_id=run["run_id"], wait_seconds=20)
        assert done["status"] == "completed"
        blobs.rename(blobs.with_name("away"))
        told = await refusal(client, "workflows-Library-get_status", run_id=run["run_id"])
        assert (told["code"], told["retryable"]) == ("unreadable", False)
        assert "is not where it was kept" in told["message"]
        listed = await call(client, "workflows-runs-list")
        assert run["run_id"] in [one["run_id"] for one in listed["runs"]]


@pytest.mark.promise("issue: garbage collection offered as a command")
async def test_only_what_no_run_needs_is_collected(executor: TemporalExecutor, temporal: Path, blobs: Path):
    closed = await finished(executor)
    waiting = await executor.start_workflow(Library, "w" * 300_000, 1)
    await executor.create_schedule("large", "Library", "s" * 300_000, 1, cron=["0 0 1 1 *"])
    needed = set(files(blobs))
    unneeded = blobs / "default" / "ab" / ("ab" * 32)
    young = blobs / "default" / "cd" / ("cd" * 32)
    for path in (unneeded, young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 10)
    grow_old(unneeded, *needed)
    configured = settings(temporal, blobs)
    assert "1 values of 10 bytes would be removed" in await collect_unneeded(configured, "7d", dry_run=True)
    assert unneeded.exists()
    assert f"1 values of 10 bytes removed, {len(needed) + 1} kept" in await collect_unneeded(configured, "7d", dry_run=False)
    assert needed | {young} <= set(files(blobs))
    assert not unneeded.exists()
    assert (await executor.describe_run(closed)).result[0] == len(WORD * TIMES)
    await waiting.terminate()
    await executor.get_schedule("large").delete()


async def test_ages_that_are_none_or_too_small_are_refused(temporal: Path, blobs: Path):
    for age in ("7", "d", "-7d", "30m", "1.5h"):
        with pytest.raises(ConfigError, match="`--older-than` is"):
            await collect_unneeded(settings(temporal, blobs), age, dry_run=True)
    with pytest.raises(ConfigError, match=r"`temporal\.external_storage`"):
        await collect_unneeded(Settings(), "7d", dry_run=True)


async def test_a_folder_of_another_temporal_is_refused(temporal: Path, blobs: Path):
    (blobs / "default").mkdir(parents=True)
    (blobs / "default" / "owner").write_text("another")
    app.use(settings(temporal, blobs))
    with pytest.raises(ConfigError, match="keeps the large values of another Temporal"):
        async with app.open_executor():
            pass


@pytest.mark.promise("design: recorded histories replay")
async def test_a_run_that_was_refused_a_value_replays_when_storage_is_turned_on(temporal: Path, blobs: Path):
    app.use(settings(temporal, blobs, external_storage=None))
    async with app.open_executor(worker=True) as before:
        assert isinstance(before, TemporalExecutor)
        handle = await before.start_workflow(Refused, 2_000_000)
        assert (await handle.result()).value == "PayloadTooLarge"
        history = await before.client.get_workflow_handle(handle.id).fetch_history()
    app.use(settings(temporal, blobs))
    assert (await app.replayer().replay_workflow(history)).workflow == "Refused"
    async with app.open_executor(worker=True) as after:
        again = await after.start_workflow(Refused, 2_000_000)
        assert (await again.result()).value == "measured"
        assert isinstance(after, TemporalExecutor)
        recorded = await after.client.get_workflow_handle(again.id).fetch_history()
    assert (await app.replayer().replay_workflow(recorded)).workflow == "Refused"


async def test_the_in_process_engine_allows_as_much(blobs: Path):
    app.use(Settings(temporal={"external_storage": {"folder": blobs}}))
    async with app.open_executor() as executor:
        handle = await executor.start_workflow(Refused, 2_000_000)
        assert (await handle.result()).value == "measured"


# The stores themselves


@pytest.fixture(scope="module")
def s3_address() -> Generator[str, None, None]:
    """An independent fake of S3, over HTTP."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def s3(address: str, **more: Any) -> dict[str, Any]:
    keys = {"access_key_id": "key", "secret_access_key": "secret", "region": "us-east-1"}
    return {"s3": {"bucket": BUCKET, "prefix": "agents/", "endpoint_url": address, **keys, **more}}


@pytest.fixture
def gcs_bucket(monkeypatch: pytest.MonkeyPatch) -> Generator[str, None, None]:
    """A bucket of an independent fake of Google Cloud Storage, over HTTP."""
    with bound_socket("127.0.0.1", 0, "use another") as listener:
        port = listener.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    yield BUCKET
    server.stop()


@pytest.fixture(params=["folder", "s3", "gcs"])
def store(request: pytest.FixtureRequest, blobs: Path) -> BlobStore:
    if request.param == "gcs":
        bucket = request.getfixturevalue("gcs_bucket")
        return open_store(ExternalStorageSettings(gcs={"bucket": bucket, "prefix": "agents/", "project": "test"}))
    if request.param == "folder":
        return open_store(ExternalStorageSettings(folder=blobs))
    address = request.getfixturevalue("s3_address")
    client: Any = boto3.client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket=BUCKET)
    return open_store(ExternalStorageSettings(**s3(address, prefix=f"{uuid.uuid4().hex}/")))


def test_a_store_keeps_lists_and_removes(store: BlobStore):
    before = datetime.now(UTC) - timedelta(seconds=2)
    assert store.get("a/1") is None
    assert store.used_at("a/1") is None
    for key, content in (("a/1", b"one"), ("a/2", b"second"), ("b/1", b"other"), ("a/1", b"one")):
        store.put(key, content)
    assert store.get("a/1") == b"one"
    assert [(blob.key, blob.size) for blob in store.listed("a/")] == [("a/1", 3), ("a/2", 6)]
    assert all(blob.used_at >= before for blob in store.listed(""))
    store.delete("a/1")
    store.delete("a/1")
    assert [blob.key for blob in store.listed("a/")] == ["a/2"]


async def test_what_was_put_again_is_as_young_as_that(store: BlobStore, blobs: Path):
    store.put("a/1", b"one")
    if blobs.exists():
        grow_old(blobs / "a" / "1")
    began = datetime.now(UTC) - timedelta(seconds=2)
    store.put("a/1", b"one")
    used_at = store.used_at("a/1")
    assert used_at is not None
    assert used_at >= began


async def test_a_driver_gives_back_what_it_kept_and_names_what_is_wrong(store: BlobStore):
    driver = BlobDriver(store, "a/b")
    payload = Payload(metadata={"encoding": b"json/plain"}, data=os.urandom(300_000))
    (claim,) = await driver.store(StorageDriverStoreContext(), [payload])
    context = StorageDriverRetrieveContext()
    assert await driver.retrieve(context, [claim]) == [payload]
    (key,) = [blob.key for blob in store.listed("a%2Fb/")]
    store.put(key, b"changed")
    with pytest.raises(UnreadablePayload, match=f"`{key}`.*was changed"):
        await driver.retrieve(context, [claim])
    store.delete(key)
    with pytest.raises(PayloadMissing, match=f"`{key}`.*backup") as missing:
        await driver.retrieve(context, [claim])
    assert missing.value.key == key
    for digest in ("../../etc/passwd", ""):
        with pytest.raises(UnreadablePayload, match="names no digest"):
            await driver.retrieve(context, [StorageDriverClaim({"sha256": digest})])


def test_a_store_that_cannot_be_reached_is_named_with_its_setting(s3_address: str, tmp_path: Path):
    with pytest.raises(StorageUnavailable, match=r"S3 bucket `nowhere`.*NoSuchBucket.*`temporal\.external_storage\.s3`"):
        open_store(ExternalStorageSettings(**s3(s3_address, bucket="nowhere"))).put("a", b"b")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageUnavailable, match=r"`temporal\.external_storage\.folder`"):
        open_store(ExternalStorageSettings(folder=tmp_path / "file")).put("a", b"b")


@pytest.mark.promise("issue: external storage by configuration (folder, S3, GCS)")
async def test_large_values_of_a_run_go_to_s3(temporal: Path, s3_address: str):
    client: Any = boto3.client(
        "s3", endpoint_url=s3_address, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket=BUCKET)
    app.use(settings(temporal, Path(), external_storage=s3(s3_address)))
    async with app.open_executor(worker=True) as executor:
        assert isinstance(executor, TemporalExecutor)
        await finished(executor)
    names = [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert "agents/default/owner" in names
    assert sum(len(client.get_object(Bucket=BUCKET, Key=name)["Body"].read()) for name in names) > 3_000_000

"""Where an app connects to, as whom, and what happens while it is connected. On a server that asks for keys: `tests/cluster`."""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import PollerBehaviorAutoscaling, PollerBehaviorSimpleMaximum

from mcp_agent.config import Settings, TemporalSettings
from mcp_agent.errors import ConfigError, EngineUnavailable
from mcp_agent.executor.registry import new_run_id
from mcp_agent.executor.temporal import create_temporal_worker_for_app, lasting, renewal
from mcp_agent.executor.temporal.connection import open_connection
from mcp_agent.executor.temporal.dev_server import status
from mcp_agent.executor.temporal.service import service_of
from mcp_agent.executor.temporal.target import Target, Targets, expiry
from mcp_agent.executor.temporal.worker_options import worker_options
from tests.cluster.cluster import free_ports
from tests.executor.temporal.connected_app import app
from tests.support import until

pytestmark = pytest.mark.anyio

PROFILES = """
[profile.cloud]
address = "mine.a1b2c.tmprl.cloud:7233"
namespace = "mine.a1b2c"
api_key = "of-the-profile"
[profile.cloud.grpc_meta]
x-tenant = "one"
[profile.bare]
namespace = "mine"
"""


@pytest.fixture
def address(temporal: Path) -> str:
    server = status(temporal)
    assert server is not None
    return server.address


def own(address: str, **more: Any) -> TemporalSettings:
    host, port = address.split(":")
    return TemporalSettings(host=host, port=int(port), **more)


async def read(**section: Any) -> Target:
    return await Targets(TemporalSettings(**section)).read()


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "temporal.toml"
    file.write_text(PROFILES)
    return file


# Where, and as whom


@pytest.mark.promise("issue 7: Temporal's own profile files")
async def test_a_profile_says_what_the_section_does_not(profiles: Path):
    assert await read(profile="cloud", profile_file=profiles) == Target(
        "mine.a1b2c.tmprl.cloud:7233", "mine.a1b2c", None, {"x-tenant": "one"}, "of-the-profile"
    )
    over = await read(profile="cloud", profile_file=profiles, host="h", port=1, namespace="n", tls=False, auth={"api_key": "k"})
    assert over == Target("h:1", "n", False, {"x-tenant": "one"}, "k")


async def test_a_profile_follows_the_variables_that_temporals_own_program_follows(
    profiles: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(profiles))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "other:1")
    assert (await read(profile="cloud")).address == "other:1"


async def test_a_profile_that_does_not_do_is_an_error_that_names_it(profiles: Path):
    with pytest.raises(ConfigError, match=r"Profile `nowhere` \(`temporal.profile`\) cannot be read from `.*temporal.toml`"):
        await read(profile="nowhere", profile_file=profiles)
    with pytest.raises(ConfigError, match=r"Profile `bare` names no address: add it there, or give `temporal.host`"):
        await read(profile="bare", profile_file=profiles)
    profiles.write_text("[profile.cloud]\naddres = 'x'\n")
    with pytest.raises(ConfigError, match="addres"):
        await read(profile="cloud", profile_file=profiles)


async def test_a_key_is_read_from_a_file(tmp_path: Path):
    file = tmp_path / "key"
    with pytest.raises(ConfigError, match=r"key` \(`temporal.auth.api_key_file`\) cannot be read: No such file"):
        await read(host="h", auth={"api_key_file": file})
    file.write_text("\n")
    with pytest.raises(ConfigError, match="holds no key"):
        await read(host="h", auth={"api_key_file": file})
    file.write_text("  the-key\n")
    target = await read(host="h", auth={"api_key_file": file})
    assert target.api_key == "the-key"
    assert "the-key" not in repr(target)


def printing(*keys: str, status: int = 0) -> list[str]:
    return [sys.executable, "-c", f"import sys; print({' '.join(keys)!r}); sys.exit({status})"]


async def test_a_key_is_printed_by_a_command_whose_output_is_never_told():
    assert (await read(host="h", auth={"api_key_command": printing("the-key")})).api_key == "the-key"
    for command, told in (
        (printing("s3cret", status=3), "ended with 3: run it by hand"),
        (printing("s3cret", "more"), "holds no key"),
        (["/nowhere/vault"], r"`/nowhere/vault` \(`temporal.auth.api_key_command`\) cannot be run"),
    ):
        with pytest.raises(ConfigError, match=told) as caught:
            await read(host="h", auth={"api_key_command": command})
        assert "s3cret" not in str(caught.value)


async def test_a_command_runs_again_when_most_of_its_keys_life_is_over(tmp_path: Path):
    """A key that has ended is asked for again at once, one that lasts is not."""
    counted = tmp_path / "count"
    for life, runs in ((-5, 2), (3_600, 1)):
        counted.write_text("")
        key = jwt.encode({"exp": datetime.now(UTC) + timedelta(seconds=life)}, "k" * 32)
        program = f"open({str(counted)!r}, 'a').write('x'); print({key!r})"
        targets = Targets(TemporalSettings(host="h", auth={"api_key_command": [sys.executable, "-c", program]}))
        assert (await targets.read()).api_key == key

        async def ran(targets: Targets = targets, runs: int = runs) -> bool:
            await targets.read()
            return len(counted.read_text()) >= runs

        await until(ran)
        assert len(counted.read_text()) == runs


def test_the_end_of_a_key_is_read_where_it_says_so():
    ends = datetime(2030, 1, 2, tzinfo=UTC)
    assert expiry(jwt.encode({"exp": ends}, "k" * 32)) == ends
    assert expiry("no-jwt") is None
    assert expiry(jwt.encode({}, "k" * 32)) is None


async def test_a_certificate_that_is_none_is_an_error_that_names_the_setting(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"ca.pem` \(`temporal.tls.ca_cert_path`\) cannot be read: No such file"):
        await read(host="h", tls={"ca_cert_path": tmp_path / "ca.pem"})
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"\(`temporal.tls.ca_cert_path`\) is no PEM file"):
        await read(host="h", tls={"ca_cert_path": tmp_path / "ca.pem"})


# Refused


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"tls": True}, "it speaks no TLS: set `temporal.tls: false`"),
        ({"auth": {"api_key": "k"}}, "it speaks no TLS: set `temporal.tls: false`"),
        ({"namespace": "nowhere"}, "it has no such namespace, or its database is away: look at `temporal.namespace`"),
        ({"port": free_ports(1)[0]}, "nothing listens there: look at `temporal.host` and `port`"),
    ],
)
async def test_a_connection_that_cannot_be_names_the_setting(address: str, wrong: dict[str, Any], told: str):
    section = {**own(address).model_dump(exclude_unset=True), **wrong}
    app.use(Settings(execution_engine="temporal", temporal=section))
    with pytest.raises(EngineUnavailable) as caught:
        async with app.open_executor():
            pass
    assert told in str(caught.value)


# While it is used


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "LOOK", 0.02)
    monkeypatch.setattr(lasting, "FIRST_PAUSE", 0.02)


def holds(what: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        return what()

    return so


@pytest.mark.usefixtures("soon")
async def test_a_changed_key_is_used_and_a_bad_one_is_told_once(address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "key"
    file.write_text("first")
    app.use(Settings(execution_engine="temporal", temporal=own(address, tls=False, auth={"api_key_file": file})))
    async with open_connection(app) as connection:
        client = connection.client
        assert client.api_key == "first"
        file.write_text("")
        await until(holds(lambda: "holds no key" in caplog.text))
        assert client.api_key == "first"
        file.write_text("second")
        await until(holds(lambda: client.api_key == "second"))
    assert caplog.text.count("holds no key") == 1


async def test_a_call_that_seems_to_have_timed_out_is_made_again_and_does_nothing_twice(
    address: str, monkeypatch: pytest.MonkeyPatch
):
    """But not one that a worker answers: who asks knows what its silence means."""
    app.use(Settings(execution_engine="temporal", temporal=own(address, task_queue="late")))
    made: Counter[str] = Counter()
    async with app.open_executor(worker=True) as executor:
        service = service_of(executor.client)
        call = service._once

        async def late(rpc: str, *args: Any, **options: Any) -> Any:
            made[rpc] += 1
            answer = await call(rpc, *args, **options)
            if made[rpc] == 1:
                raise RPCError("Timeout expired", RPCStatusCode.CANCELLED, b"")
            return answer

        monkeypatch.setattr(service, "_once", late)
        run_id = new_run_id("Greets")
        handle = await executor.start_workflow("Greets", "you", workflow_id=run_id, id_reuse_policy="reject_duplicate")
        assert (await handle.result()).value == "hello you"
        assert (await handle.describe()).status == "completed"
        with pytest.raises(EngineUnavailable):
            await executor.query_run(run_id, "mcp_agent.log", [])
    assert (made["start_workflow_execution"], made["describe_workflow_execution"]) == (2, 2)
    assert made["query_workflow"] == 1


@pytest.mark.usefixtures("soon")
async def test_what_a_connection_is_made_with_changes_under_a_worker(address: str, profiles: Path):
    def profile(tenant: str) -> str:
        return f'[profile.dev]\naddress = "{address}"\n[profile.dev.grpc_meta]\nx-tenant = "{tenant}"\n'

    profiles.write_text(profile("one"))
    app.use(Settings(execution_engine="temporal", temporal={"profile": "dev", "profile_file": profiles}))
    async with app.open_executor(worker=True) as executor:
        client: Client = executor.client
        before = client.service_client.worker_service_client
        assert client.rpc_metadata == {"x-tenant": "one"}
        profiles.write_text(profile("two"))
        await until(holds(lambda: client.service_client.worker_service_client is not before))
        assert client.rpc_metadata == {"x-tenant": "two"}
        handle = await executor.start_workflow("Greets", "again")
        assert (await handle.result()).value == "hello again"


@pytest.mark.usefixtures("soon")
@pytest.mark.promise("issue 7: a dead worker is rebuilt")
async def test_a_worker_that_dies_is_made_anew(address: str, caplog: pytest.LogCaptureFixture):
    app.use(Settings(execution_engine="temporal", temporal=own(address, task_queue="dies")))
    async with create_temporal_worker_for_app(app) as worker, app.open_executor() as executor:
        running = asyncio.create_task(worker.run())
        handle = await executor.start_workflow("Greets", "you")
        assert (await handle.result()).value == "hello you"
        served = worker._workers.served[0].worker
        before = served.current
        tell = before.config().get("on_fatal_error")
        assert tell is not None
        await tell(RuntimeError("refused"))  # as Temporal's core does
        await until(holds(lambda: served.current is not before and served.alive))
        handle = await executor.start_workflow("Greets", "you again")
        assert (await handle.result()).value == "hello you again"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert "the Temporal worker has ended (RuntimeError: refused)" in caplog.text


# Workers


def test_a_workers_settings_are_temporals_options_and_what_code_gives_wins():
    settings = TemporalSettings(
        max_concurrent_activities=10,
        worker={
            "max_concurrent_workflows": 20,
            "max_cached_workflows": 30,
            "threads": 12,
            "max_activities_per_second": 4.5,
            "max_queue_activities_per_second": 9,
            "workflow_pollers": 3,
            "activity_pollers": {"maximum": 50},
        },
    )
    options = worker_options(settings, {"max_concurrent_activities": 11})
    assert options.pop("activity_executor")._max_workers == 12
    assert options == {
        "max_concurrent_activities": 11,
        "max_concurrent_workflow_tasks": 20,
        "max_cached_workflows": 30,
        "max_activities_per_second": 4.5,
        "max_task_queue_activities_per_second": 9,
        "workflow_task_poller_behavior": PollerBehaviorSimpleMaximum(3),
        "activity_task_poller_behavior": PollerBehaviorAutoscaling(2, 50, 5),
    }


async def test_a_tuned_worker_serves_runs(address: str):
    worker = {"tuner": {"target_cpu_usage": 1, "target_memory_usage": 1}, "activity_pollers": {}, "workflow_pollers": {}}
    app.use(Settings(execution_engine="temporal", temporal=own(address, task_queue="tuned", worker=worker)))
    async with app.open_executor(worker=True) as executor:
        assert (await (await executor.start_workflow("Greets", "you")).result()).value == "hello you"


@pytest.mark.promise("issue 7: fairness keys per caller")
async def test_the_owner_of_a_run_is_its_fairness_key(address: str):
    app.use(Settings(execution_engine="temporal", temporal=own(address, task_queue="fair")))
    async with app.open_executor() as executor:
        client: Client = executor.client
        for run_id, key in (("ann.Greets.one", "ann"), ("Greets.one", "")):
            await executor.start_run(app.workflows["Greets"], ["you"], run_id=run_id, input_digest="x")
            described = await client.get_workflow_handle(run_id).describe()
            assert described.raw_description.workflow_execution_info.priority.fairness_key == key
            await client.get_workflow_handle(run_id).terminate()

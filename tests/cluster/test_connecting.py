"""The `temporal` section against a server that asks for certificates and keys."""

import base64
import logging
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_agent.config import Settings, TemporalSettings
from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.temporal.client import connect
from mcp_agent.executor.temporal.target import Targets, expiry
from tests.cluster.cluster import Cluster
from tests.cluster.cluster_app import app
from tests.cluster.credentials import Authority, Issuer
from tests.support import until
from tests.tcp_balancer import balanced

pytestmark = pytest.mark.anyio

WRITE = "default:write"
LIFE = timedelta(seconds=20)  # of a key: long enough for a slow machine to do something with it


@pytest.fixture(autouse=True)
def no_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLUSTER_NOTES", raising=False)


@pytest.fixture(scope="module")
async def cluster(prepared_cluster: Cluster) -> Cluster:
    """Its requests for work end soon: one that has begun with a key that was good goes on to its end."""
    prepared_cluster.set({"matching.longPollExpirationInterval": "5s"})
    await prepared_cluster.start()
    return prepared_cluster


def use(temporal: dict[str, Any]) -> None:
    app.use(Settings(execution_engine="temporal", temporal=TemporalSettings(**temporal)))


async def greet(executor: Executor, name: str) -> None:
    with anyio.fail_after(60):
        handle = await executor.start_workflow("Greets", name)
        assert (await handle.result()).value == f"hello {name}"


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Nobody here believes what it signs."""
    made = Authority(tmp_path_factory.mktemp("stranger"))
    made.client()
    return made


def _expired(authority: Authority) -> dict[str, Path]:
    authority.client("expired", lasts=-timedelta(hours=1))
    return {"client_cert_path": authority.folder / "expired.pem", "client_key_path": authority.folder / "expired.key"}


Wrong = Callable[[Cluster, Authority], dict[str, Any]]

WRONG: dict[str, tuple[Wrong, str]] = {
    "port": (lambda c, s: c.temporal("127.0.0.1:1"), "nothing listens there: look at `temporal.host` and `port`"),
    "host": (lambda c, s: c.temporal("nowhere.invalid:1"), "there is no such host: look at `temporal.host`"),
    "authority": (
        lambda c, s: c.temporal(tls={**c.tls, "ca_cert_path": s.certificate}),
        "an authority that is not trusted: look at `temporal.tls.ca_cert_path`",
    ),
    "machine's authorities": (lambda c, s: c.temporal(tls=True), "look at `temporal.tls.ca_cert_path`"),
    "name": (
        lambda c, s: c.temporal(tls={**c.tls, "server_name": "elsewhere.test"}),
        "its certificate is for temporal.test, localhost, 127.0.0.1: look at `temporal.tls.server_name`",
    ),
    "no certificate": (
        lambda c, s: c.temporal(tls=without(c.tls, "client_cert_path", "client_key_path")),
        "it wants a certificate of ours: look at `temporal.tls.client_cert_path`",
    ),
    "foreign certificate": (
        lambda c, s: c.temporal(
            tls={**c.tls, "client_cert_path": s.folder / "client.pem", "client_key_path": s.folder / "client.key"}
        ),
        "it does not accept our certificate: look at `temporal.tls.client_cert_path`",
    ),
    "expired certificate": (
        lambda c, s: c.temporal(tls={**c.tls, **_expired(c.authority)}),
        "our certificate has expired, at ",
    ),
    "no pair": (
        lambda c, s: c.temporal(tls={**c.tls, "client_key_path": s.folder / "client.key"}),
        "certificate and key are no pair: look at `temporal.tls.client_cert_path` and `client_key_path`",
    ),
    "no TLS": (lambda c, s: c.temporal(tls=False), "it ends connections without TLS: look at `temporal.tls`"),
    "no key": (
        lambda c, s: without(c.temporal(), "auth"),
        "it lets nobody in without a key: look at `temporal.auth.api_key`",
    ),
    "key of another namespace": (
        lambda c, s: c.temporal(auth={"api_key": c.issuer.key("other:write")}),
        "unknown there or not for this namespace",
    ),
    "foreign key": (
        lambda c, s: c.temporal(auth={"api_key": Issuer(s.folder / "jwks").key(WRITE)}),
        "the key of `temporal.auth` is unknown there",
    ),
    "expired key": (
        lambda c, s: c.temporal(auth={"api_key": c.issuer.key(WRITE, lasts=timedelta(minutes=-5))}),
        "the key of `temporal.auth` has expired, at ",
    ),
    "namespace": (
        lambda c, s: c.temporal(namespace="nowhere", auth={"api_key": c.issuer.key("nowhere:write")}),
        "it has no such namespace, or its database is away: look at `temporal.namespace`",
    ),
}


@pytest.mark.promise("issue 7: each wrong setting of a connection is an error that says which setting to look at")
@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_setting_is_told_by_name(cluster: Cluster, stranger: Authority, what: str):
    make, told = WRONG[what]
    targets = Targets(TemporalSettings(**make(cluster, stranger)))
    with anyio.fail_after(30), pytest.raises(EngineUnavailable) as caught:
        await connect(await targets.read())
    assert told in str(caught.value)


@pytest.mark.promise("issue 7: a server's certificate that has expired is told")
async def test_a_server_whose_certificate_has_expired_is_told(cluster: Cluster):
    targets = Targets(TemporalSettings(**cluster.temporal()))

    async def told() -> bool:  # the server reads its files again from time to time
        try:
            await connect(await targets.read())
        except EngineUnavailable as error:
            return "its certificate has expired: that is for who runs the server" in str(error)
        return False

    cluster.authority.server(lasts=-timedelta(hours=1))
    try:
        await until(told)
    finally:
        cluster.authority.server()
        await cluster.until_well()


@pytest.mark.promise("specification: Temporal Cloud")
async def test_the_cloud_block_connects_and_runs(cluster: Cluster):
    block = cluster.temporal(
        task_queue="mcp-agent-production",
        data_converter={"encryption_key": base64.b64encode(bytes(32)).decode(), "codec": "aes256gcm"},
        retry_policy={"initial_interval": 1, "maximum_interval": 100, "backoff_coefficient": 2, "maximum_attempts": 50},
        auth={"api_key": cluster.issuer.key(WRITE), "namespace": "default"},
    )
    use(block)
    async with app.open_executor(worker=True) as executor:
        await greet(executor, "cloud")


async def test_certificates_may_be_text_in_the_configuration(cluster: Cluster):
    texts = {name.removesuffix("_path"): Path(path).read_text() for name, path in cluster.tls.items() if name.endswith("_path")}
    use(cluster.temporal(tls={**texts, "server_name": cluster.tls["server_name"]}))
    async with app.open_executor(worker=True) as executor:
        await greet(executor, "text")


async def after(moment: datetime | None) -> None:
    assert moment is not None
    await anyio.sleep(max((moment - datetime.now(UTC)).total_seconds(), 0) + 1)


@pytest.mark.promise("issue 7: keys are renewed while running")
async def test_a_key_in_a_file_is_renewed_while_running(cluster: Cluster, tmp_path: Path):
    file = tmp_path / "key"
    first = cluster.issuer.key(WRITE, lasts=LIFE)
    file.write_text(first)
    use(cluster.temporal(auth={"api_key_file": file}))
    async with app.open_executor(worker=True) as executor:
        await greet(executor, "first key")
        file.write_text(cluster.issuer.key(WRITE))
        await after(expiry(first))
        await greet(executor, "second key")


@pytest.mark.promise("issue 7: keys are renewed while running")
async def test_a_command_prints_a_new_key_before_the_old_one_ends(cluster: Cluster, tmp_path: Path):
    """The keys that it prints last longer each time."""
    keys = [cluster.issuer.key(WRITE, lasts=life) for life in (LIFE, timedelta(hours=1))]
    (tmp_path / "keys").write_text("\n".join(keys))
    program = (
        "import pathlib; file = pathlib.Path('keys'); key, _, more = file.read_text().partition('\\n'); "
        "file.write_text(more or key); print(key)"
    )
    command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {program}"]
    use(cluster.temporal(auth={"api_key_command": command}))
    async with app.open_executor(worker=True) as executor:
        await greet(executor, "first key")
        await after(expiry(keys[0]))
        await greet(executor, "second key")


@pytest.mark.timeout(400)
@pytest.mark.promise("issue 7: a dead worker is rebuilt")
async def test_a_worker_whose_key_was_expired_for_too_long_is_made_anew(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = tmp_path / "key"
    file.write_text(cluster.issuer.key(WRITE, lasts=LIFE))
    use(cluster.temporal(auth={"api_key_file": file}))

    def told(*texts: str) -> Callable[[], Awaitable[bool]]:
        async def so() -> bool:
            return any(text in record.message for record in caplog.records for text in texts)

        return so

    with caplog.at_level(logging.INFO, "mcp_agent"):
        async with app.open_executor(worker=True) as executor:
            await greet(executor, "alive")
            await until(told("the Temporal worker has ended"), 240)
            file.write_text(cluster.issuer.key(WRITE))
            await until(told("Temporal's key was renewed", "connected to Temporal anew"))
            await greet(executor, "alive again")


@pytest.mark.promise("issue 7: certificates that change on disk lead to a new connection")
async def test_changed_certificates_are_used_without_a_restart(cluster: Cluster):
    async with balanced([cluster.address]) as balancer:
        use(cluster.temporal(balancer.address))
        async with app.open_executor(worker=True) as executor:
            await greet(executor, "before")
            taken = balancer.connections
            cluster.authority.renew()
            cluster.authority.server()
            cluster.authority.client()

            async def connected_anew() -> bool:
                return balancer.connections > taken

            await until(connected_anew)
            balancer.cut()
            await greet(executor, "after")

"""A real Temporal cluster on this machine, without containers: PostgreSQL and server processes that can be killed."""

from __future__ import annotations

import http.server
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import ConnectConfig, RPCError, RPCStatusCode, ServiceClient, TLSConfig

from tests.cluster.credentials import SERVER_NAME, Authority, Issuer
from tests.cluster.programs import Programs

NAMESPACE = "default"
SEED = 7  # of the writes that fail
PORTS_OF_A_NODE = 10
STARTS_WITHIN = 60.0
LOOK = 0.1  # between processes there is no event to wait for
SERVICES = ("frontend", "internal-frontend", "history", "matching", "worker")
DYNAMIC = {"system.forceSearchAttributesCacheRefreshOnRead": True}


def free_ports(count: int) -> list[int]:
    """Below 32,768: Temporal keeps its nodes' ports in a small column."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 32_768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


@dataclass
class Postgres:
    """A server on a folder of its own. It refuses to run as root: then it runs as `postgres`."""

    folder: Path
    programs: Path
    port: int

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        if not self._data.exists():
            self.folder.mkdir(parents=True)
            if os.getuid() == 0:
                shutil.chown(self.folder, "postgres")
            self._run("initdb", "-D", str(self._data), "-U", "temporal", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c max_connections=200"
        end = time.monotonic() + STARTS_WITHIN
        while True:  # after kill -9 its children need a moment to go
            try:
                self._run("pg_ctl", "-D", str(self._data), "-l", str(self.folder / "log"), "-w", "-o", options, "start")
            except subprocess.CalledProcessError:
                if time.monotonic() > end:
                    raise
                time.sleep(LOOK)
            else:
                return

    def kill(self) -> None:
        """kill -9, like a crash."""
        os.kill(int((self._data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            with suppress(subprocess.CalledProcessError):  # it was killed
                self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        user: dict[str, Any] = {}
        if os.getuid() == 0:
            entry = pwd.getpwnam("postgres")
            user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)


@dataclass
class Node:
    """One server process with all services. `wanted`: it has been started, and was not ended since."""

    folder: Path
    program: Path
    ports: list[int]
    config: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports[0]}"

    def start(self) -> None:
        self.wanted = True
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "config.yaml"
        file.write_text(json.dumps(self.config))
        services = [option for service in SERVICES for option in ("--service", service)]
        command = [str(self.program), "--config-file", str(file), "--allow-no-auth", "start", *services]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._until_listening()

    def _until_listening(self) -> None:
        end = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < end:
            self.check()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[0])) == 0:
                    return
            time.sleep(LOOK)
        raise AssertionError(f"{self.folder.name} does not listen: {self._said}")

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def check(self) -> None:
        """Fails the test if it has ended by itself."""
        if self.process is not None and not self.runs:
            raise AssertionError(f"{self.folder.name} has ended: {self._said}")

    @property
    def _said(self) -> str:
        return (self.folder / "log").read_text()[-800:]

    def kill(self) -> None:
        """kill -9, like a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        self.wanted = False
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@dataclass
class Cluster:
    """Mutual TLS and JWTs are on: `authority` and `issuer` make what it believes."""

    folder: Path
    programs: Programs
    postgres: Postgres
    nodes: list[Node]
    authority: Authority
    issuer: Issuer
    _jwks: http.server.ThreadingHTTPServer | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return self.nodes[0].address

    @property
    def tls(self) -> dict[str, str]:
        """What `temporal.tls` says."""
        at = self.authority.folder
        return {
            "ca_cert_path": str(at / "ca.pem"),
            "client_cert_path": str(at / "client.pem"),
            "client_key_path": str(at / "client.key"),
            "server_name": SERVER_NAME,
        }

    def temporal(self, address: str | None = None, **more: Any) -> dict[str, Any]:
        """The `temporal` section that is right here."""
        host, port = (address or self.address).rsplit(":", 1)
        auth = {"api_key": self.issuer.key(f"{NAMESPACE}:write")}
        return {"host": host, "port": int(port), "namespace": NAMESPACE, "tls": self.tls, "auth": auth, **more}

    async def client(self, namespace: str = NAMESPACE, address: str | None = None) -> Client:
        """Of an administrator."""
        return Client(await self._service(address or self.address), namespace=namespace)

    async def _service(self, address: str) -> ServiceClient:
        at = self.authority.folder
        tls = TLSConfig(
            (at / "ca.pem").read_bytes(), SERVER_NAME, (at / "client.pem").read_bytes(), (at / "client.key").read_bytes()
        )
        return await ServiceClient.connect(ConnectConfig(address, tls=tls, api_key=self.issuer.key("temporal-system:admin")))

    def set(self, values: Mapping[str, Any]) -> None:
        """Temporal's dynamic configuration, on top of what every cluster here has."""
        constrained = {name: [{"value": value}] for name, value in {**DYNAMIC, **values}.items()}
        (self.folder / "dynamic.yaml").write_text(json.dumps(constrained))

    async def start(self) -> None:
        self.postgres.start()
        self._make_databases()
        for node in self.nodes:  # one after the other: two first starts would race for the cluster's metadata
            node.start()
        for namespace in (NAMESPACE, "other"):
            await self._make_namespace(namespace)

    def _make_databases(self) -> None:
        for name, schema in (("temporal", "temporal"), ("temporal_visibility", "visibility")):
            at = ["--plugin", "postgres12", "--ep", "127.0.0.1", "-p", str(self.postgres.port), "-u", "temporal", "--pw", ""]
            command = [str(self.programs.sql_tool), *at, "--db", name]
            steps = (["create"], ["setup-schema", "-v", "0.0"], ["update-schema", "--schema-name", f"postgresql/v12/{schema}"])
            for step in steps:
                subprocess.run([*command, *step], check=True, capture_output=True)

    async def _make_namespace(self, name: str) -> None:
        ttl = Duration()
        ttl.FromTimedelta(timedelta(days=1))
        request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=ttl)
        with anyio.fail_after(STARTS_WITHIN):
            while True:
                try:
                    service = await self._service(self.address)
                    await service.workflow_service.register_namespace(request)
                except (RPCError, RuntimeError) as error:
                    if isinstance(error, RPCError) and error.status is RPCStatusCode.ALREADY_EXISTS:
                        break
                    self.nodes[0].check()
                await anyio.sleep(LOOK)
        await self._until_known(name)

    async def until_well(self) -> None:
        """Until every node answers for the namespace."""
        await self._until_known(NAMESPACE)

    async def _until_known(self, name: str) -> None:
        """The nodes' caches learn of a namespace after a while."""
        with anyio.fail_after(STARTS_WITHIN):
            for node in self.nodes:
                while True:
                    try:
                        client = await self.client(name, node.address)
                        await client.count_workflows()
                        break
                    except (RPCError, RuntimeError):
                        await anyio.sleep(LOOK)

    @asynccontextmanager
    async def failing(self, writes: Mapping[str, Mapping[str, float]]) -> AsyncGenerator[None, None]:
        """In the block the nodes' writes about runs fail.

        Args:
            writes: How often each method of Temporal's store fails, and how, as its `faultInjection` has it.
        """
        methods = {name: {"errors": dict(errors), "seed": SEED} for name, errors in writes.items()}
        targets = {"dataStores": {"ExecutionStore": {"methods": methods}}}
        await self._restarted_with({"targets": targets})
        try:
            yield
        finally:
            await self._restarted_with(None)

    async def _restarted_with(self, faults: dict[str, Any] | None) -> None:
        for node in self.nodes:
            node.config["persistence"]["datastores"]["default"]["faultInjection"] = faults
            await anyio.to_thread.run_sync(node.stop)
            await anyio.to_thread.run_sync(node.start)
        await self.until_well()

    @asynccontextmanager
    async def supervised(self) -> AsyncGenerator[None, None]:
        """In the block, nodes that are wanted and do not run are started again and again: a start without a database fails."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._supervise)
            yield
            group.cancel_scope.cancel()

    async def _supervise(self) -> None:
        while True:
            for node in self.nodes:
                if node.wanted and not node.runs:
                    with suppress(AssertionError):
                        await anyio.to_thread.run_sync(node.start)
            await anyio.sleep(LOOK)

    def kill(self) -> None:
        """kill -9 of every node and of the database."""
        for node in self.nodes:
            node.kill()
        self.postgres.kill()

    async def restart(self) -> None:
        """After `kill`. Returns when it answers."""
        await anyio.to_thread.run_sync(self.postgres.start)
        for node in self.nodes:
            await anyio.to_thread.run_sync(node.start)
        await self.until_well()

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()
        self.postgres.stop()
        if self._jwks is not None:
            self._jwks.shutdown()
            self._jwks.server_close()

    def serve_jwks(self, folder: Path, port: int) -> None:
        self._jwks = http.server.ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(folder)))
        threading.Thread(target=self._jwks.serve_forever, daemon=True).start()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def prepared(folder: Path, programs: Programs, nodes: int) -> Generator[Cluster, None, None]:
    """A cluster that is not started yet, and is stopped at the end."""
    folder.chmod(0o755)  # PostgreSQL is another user
    authority, issuer = Authority(folder / "tls"), Issuer(folder / "jwks")
    authority.server()
    authority.client()
    sql_port, jwks_port, *ports = free_ports(2 + nodes * PORTS_OF_A_NODE)
    at = [ports[n * PORTS_OF_A_NODE : (n + 1) * PORTS_OF_A_NODE] for n in range(nodes)]
    made = [
        Node(folder / f"node{n}", programs.server, own, _config(folder, own, at[0][0], sql_port, jwks_port))
        for n, own in enumerate(at, 1)
    ]
    cluster = Cluster(folder, programs, Postgres(folder / "pg", programs.postgres, sql_port), made, authority, issuer)
    cluster.serve_jwks(folder / "jwks", jwks_port)
    cluster.set({})
    try:
        yield cluster
    finally:
        cluster.stop()


def _config(folder: Path, ports: list[int], first_frontend: int, sql_port: int, jwks_port: int) -> dict[str, Any]:
    tls = folder / "tls"
    ca = [str(tls / "ca.pem")]
    archival = {"history": {"state": "disabled"}, "visibility": {"state": "disabled"}}
    about = {
        "enabled": True,
        "initialFailoverVersion": 1,
        "rpcName": "frontend",
        "rpcAddress": f"127.0.0.1:{first_frontend}",
    }
    server = {
        "certFile": str(tls / "server.pem"),
        "keyFile": str(tls / "server.key"),
        "requireClientAuth": True,
        "clientCaFiles": ca,
    }
    return {
        "log": {"stdout": True, "level": "warn"},
        "persistence": {
            "defaultStore": "default",
            "visibilityStore": "visibility",
            "numHistoryShards": 8,
            "datastores": {"default": _store("temporal", sql_port, 20), "visibility": _store("temporal_visibility", sql_port, 5)},
        },
        "global": {
            "membership": {"maxJoinDuration": "30s", "broadcastAddress": "127.0.0.1"},
            "tls": {
                "refreshInterval": "2s",
                "frontend": {"server": server, "client": {"serverName": SERVER_NAME, "rootCaFiles": ca}},
            },
            "authorization": {
                "jwtKeyProvider": {"keySourceURIs": [f"http://127.0.0.1:{jwks_port}/jwks.json"], "refreshInterval": "2s"},
                "permissionsClaimName": "permissions",
                "authorizer": "default",
                "claimMapper": "default",
            },
        },
        "services": {name: _rpc(*ports[2 * n : 2 * n + 2]) for n, name in enumerate(SERVICES)},
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {"active": about},
        },
        "dcRedirectionPolicy": {"policy": "noop"},
        "archival": archival,
        "namespaceDefaults": {"archival": archival},
        "dynamicConfigClient": {"filepath": str(folder / "dynamic.yaml"), "pollInterval": "10s"},
    }


def _store(database: str, port: int, connections: int) -> dict[str, Any]:
    return {
        "sql": {
            "pluginName": "postgres12",
            "databaseName": database,
            "connectAddr": f"127.0.0.1:{port}",
            "connectProtocol": "tcp",
            "user": "temporal",
            "password": "",
            "maxConns": connections,
            "maxIdleConns": connections,
            "maxConnLifetime": "1h",
        }
    }


def _rpc(port: int, membership: int) -> dict[str, Any]:
    return {"rpc": {"grpcPort": port, "membershipPort": membership, "bindOnIP": "127.0.0.1"}}

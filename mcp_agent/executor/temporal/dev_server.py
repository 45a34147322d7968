"""The client's side of the embedded Temporal: finds the one that runs, or has a keeper start it (see `keeper.py`)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    GetClusterInfoRequest,
    UpdateNamespaceRequest,
)
from temporalio.service import ConnectConfig, RPCError, ServiceClient

from mcp_agent.errors import EngineUnavailable
from mcp_agent.executor.data_dir import DATA_VARIABLE as DATA_VARIABLE
from mcp_agent.executor.data_dir import data_dir as data_dir
from mcp_agent.executor.temporal.locks import Kind, is_held, locked

Report = Callable[[str], None]

GRACE_VARIABLE = "MCP_AGENT_KEEPER_GRACE_SECONDS"
STARTS_WITHIN = 40.0
ANSWERS_WITHIN = 5.0
LOOK = 0.05  # between processes there is no event to wait for, only locks and files to look at
KEEPER_CHECK = 2.0
RETENTION = timedelta(days=30)
LARGEST_LOG = 10_000_000
# The keeper outlives its client and must not keep the client's secrets: it gets these variables and no others.
KEEPER_ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "LC_ALL", "TZ")
_LOG_TAIL = 1_500


@dataclass(frozen=True, slots=True)
class DevServer:
    """Where the embedded Temporal is. Process ids are for `mcp-agent dev status`."""

    address: str
    ui_url: str
    keeper_pid: int
    server_pid: int


@asynccontextmanager
async def ensure(folder: Path, binary: Path, report: Report) -> AsyncGenerator[DevServer, None]:
    """The running server of `folder`, started if need be, and kept running until the block ends.

    Args:
        folder: From `data_dir`.
        binary: The `temporal` program, an absolute path.
        report: Told, in a line at a time, what is under way when it takes long, and what fails later on.

    Raises:
        EngineUnavailable: It could not be started; the text ends with the last lines of its log.
    """
    async with locked(folder / "clients.lock", Kind.SHARED):
        server = await _found_or_started(folder, binary, report)
        watching = asyncio.create_task(_keep_kept(folder, binary, report), name="keeper-watch")
        try:
            yield server
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def status(folder: Path) -> DevServer | None:
    """Where Temporal is, if it is up: what its keeper, which lives, has announced."""
    return _announced(folder) if _keeper_lives(folder) else None


def stop(folder: Path) -> bool:
    """Asks the keeper to stop Temporal. False if there is none."""
    if not _keeper_lives(folder):
        return False
    with suppress(ProcessLookupError, ValueError):
        os.kill(int((folder / "keeper.lock").read_text()), signal.SIGTERM)
    return True


def run_page(ui_url: str, namespace: str, workflow_id: str, run_id: str) -> str:
    """The address of a run's page. `run_id` is Temporal's own, not the public one."""
    names = [quote(name, safe="") for name in (namespace, workflow_id, run_id)]
    return f"{ui_url.rstrip('/')}/namespaces/{names[0]}/workflows/{names[1]}/{names[2]}/history"


async def _found_or_started(folder: Path, binary: Path, report: Report) -> DevServer:
    async with locked(folder / "start.lock", Kind.EXCLUSIVE):
        log = folder / "log"
        server = await _kept(folder, log_from=0)
        if server is not None:
            return server
        report("starting the embedded Temporal")
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(folder / "log.old")
        log_from = log.stat().st_size if log.exists() else 0
        await asyncio.to_thread(_start_keeper, folder, binary, log)
        server = await _kept(folder, log_from)
        if server is None:
            raise _not_started(folder, log_from)
        return server


async def _kept(folder: Path, log_from: int) -> DevServer | None:
    """The server as soon as it answers; None as soon as no keeper lives.

    Raises:
        EngineUnavailable: A keeper lives, but its Temporal does not answer.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(STARTS_WITHIN):
            while _keeper_lives(folder):
                server = _announced(folder)
                if server is not None and await _is_ours(folder, server):
                    return server
                await asyncio.sleep(LOOK)
            return None
    raise _not_started(folder, log_from)


def _not_started(folder: Path, log_from: int) -> EngineUnavailable:
    log = folder / "log"
    said = log.read_bytes()[log_from:].decode(errors="replace").strip() if log.exists() else ""
    return EngineUnavailable(
        f"The embedded Temporal did not start. Look into its log `{log}`, which ends with: {said[-_LOG_TAIL:] or '(nothing)'}"
    )


def _start_keeper(folder: Path, binary: Path, log: Path) -> None:
    """A keeper in a session of its own: it outlives this process, its terminal and its client."""
    command = [sys.executable, "-I", str(Path(__file__).with_name("keeper.py")), str(folder), str(binary)]
    grace = os.environ.get(GRACE_VARIABLE)
    if grace:
        command += ["--grace", grace]
    environment = {name: os.environ[name] for name in KEEPER_ENVIRONMENT if name in os.environ}
    with log.open("ab") as output:
        subprocess.run(  # ends at once: what it leaves running is the keeper
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=folder,
            env=environment,
            check=False,
        )


async def _keep_kept(folder: Path, binary: Path, report: Report) -> None:
    """Has another keeper started when ours was killed; it takes the same port, so that connections come back."""
    while True:
        await asyncio.sleep(KEEPER_CHECK)
        if _keeper_lives(folder):
            continue
        try:
            await _found_or_started(folder, binary, report)
        except (EngineUnavailable, OSError) as error:
            report(f"the embedded Temporal has ended and does not start again: {error}")


async def _is_ours(folder: Path, server: DevServer) -> bool:
    """Whether Temporal answers there with the cluster id that the folder remembers. Sets it up the first time."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN):
            client = await ServiceClient.connect(ConnectConfig(target_host=server.address))
            info = await client.workflow_service.get_cluster_info(GetClusterInfoRequest())
            remembered = folder / "cluster"
            if not remembered.exists():
                await _keep_runs_for_long(client)
                part = folder / "cluster.part"
                part.write_text(info.cluster_id)
                part.replace(remembered)
            return remembered.read_text() == info.cluster_id
    except (RuntimeError, RPCError, TimeoutError):  # a connection that fails is a RuntimeError
        return False


async def _keep_runs_for_long(client: ServiceClient) -> None:
    """The default of a day would break the promise that runs survive."""
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    if described.config.workflow_execution_retention_ttl.ToTimedelta() >= RETENTION:
        return
    ttl = Duration()
    ttl.FromTimedelta(RETENTION)
    config = NamespaceConfig(workflow_execution_retention_ttl=ttl)
    await client.workflow_service.update_namespace(UpdateNamespaceRequest(namespace="default", config=config))


def _announced(folder: Path) -> DevServer | None:
    try:
        said: dict[str, Any] = json.loads((folder / "server.json").read_text())
        return DevServer(said["address"], said["ui_url"], said["keeper_pid"], said["server_pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keeper_lives(folder: Path) -> bool:
    """By the keeper's lock: a process id alone may be another process's by now."""
    return is_held(folder / "keeper.lock")

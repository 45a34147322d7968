"""The client's side of the embedded Temporal: finds the one that runs, or has a keeper start it (see `keeper.py`)."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
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

Report = Callable[[str], None]

GRACE_VARIABLE = "MCP_AGENT_KEEPER_GRACE_SECONDS"
DATA_VARIABLE = "MCP_AGENT_DATA_DIR"
STARTS_WITHIN = 40.0
LOOK = 0.05
KEEPER_CHECK = 2.0
RETENTION = timedelta(days=30)
_LOG_TAIL = 1_500


@dataclass(frozen=True, slots=True)
class DevServer:
    """Where the embedded Temporal is. Process ids are for `mcp-agent dev status`."""

    address: str
    ui_url: str
    keeper_pid: int
    server_pid: int


def data_dir(configured: Path | None = None) -> Path:
    """The folder of the embedded server, made with access for its owner only."""
    if configured is None:
        configured = Path(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else _platform_dir()
    folder = configured.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


def _platform_dir() -> Path:
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "durable-mcp-agent"


@asynccontextmanager
async def ensure(folder: Path, binary: Path, report: Report) -> AsyncGenerator[DevServer, None]:
    """The running server of `folder`, started if need be, and kept running until the block ends.

    Raises:
        EngineUnavailable: It could not be started; the text ends with the last lines of its log.
    """
    clients = await _locked(folder / "clients.lock", fcntl.LOCK_SH)
    try:
        server = await _found_or_started(folder, binary, report)
        watching = asyncio.create_task(_keep_kept(folder, binary, report), name="keeper-watch")
        try:
            yield server
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    finally:
        os.close(clients)


def status(folder: Path) -> DevServer | None:
    """What `server.json` says, if its keeper lives."""
    return _announced(folder) if _keeper_lives(folder) else None


def stop(folder: Path) -> bool:
    """Asks the keeper to stop Temporal. False if there is none."""
    server = status(folder)
    if server is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(server.keeper_pid, signal.SIGTERM)
    return True


def run_page(ui_url: str, namespace: str, workflow_id: str, run_id: str) -> str:
    """The address of a run's page."""
    return f"{ui_url}/namespaces/{quote(namespace, safe='')}/workflows/{quote(workflow_id, safe='')}/{run_id}/history"


async def _found_or_started(folder: Path, binary: Path, report: Report) -> DevServer:
    start = await _locked(folder / "start.lock", fcntl.LOCK_EX)
    try:
        server = status(folder)
        if server is not None and await _is_ours(folder, server):
            return server
        report("starting the embedded Temporal")
        with _log(folder) as log:
            await asyncio.to_thread(_spawn, folder, binary, log)
        return await _started(folder)
    finally:
        os.close(start)


async def _started(folder: Path) -> DevServer:
    with suppress(TimeoutError):
        async with asyncio.timeout(STARTS_WITHIN):
            while _keeper_lives(folder):
                server = _announced(folder)
                if server is not None and await _is_ours(folder, server):
                    return server
                await asyncio.sleep(LOOK)  # two processes: there is no event to wait for but the file
    log = folder / "log"
    tail = log.read_text(errors="replace")[-_LOG_TAIL:].strip() if log.exists() else ""
    raise EngineUnavailable(f"The embedded Temporal did not start; its log `{log}` ends with: {tail or '(nothing)'}")


def _spawn(folder: Path, binary: Path, log: int) -> None:
    """Starts a keeper. It detaches itself, so that it outlives this process, its terminal and its client."""
    command = [sys.executable, "-I", str(Path(__file__).with_name("keeper.py")), str(folder), str(binary)]
    grace = os.environ.get(GRACE_VARIABLE)
    if grace:
        command += ["--grace", grace]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, check=False)


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
        client = await ServiceClient.connect(ConnectConfig(target_host=server.address))
        info = await client.workflow_service.get_cluster_info(GetClusterInfoRequest(), timeout=timedelta(seconds=5))
        remembered = folder / "cluster"
        if not remembered.exists():
            await _keep_runs_for_long(client)
            remembered.write_text(info.cluster_id)
        return remembered.read_text() == info.cluster_id
    except (RuntimeError, RPCError):
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
    except (OSError, ValueError, KeyError):
        return None


def _keeper_lives(folder: Path) -> bool:
    """Whether somebody holds the keeper's lock: a process id alone may be another process's by now."""
    try:
        file = os.open(folder / "keeper.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


async def _locked(path: Path, kind: int) -> int:
    """An open file with that lock. It may take as long as another process needs to start or stop Temporal."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, file, kind)
    except BaseException:
        os.close(file)
        raise
    return file


@contextmanager
def _log(folder: Path) -> Generator[int, None, None]:
    file = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.service import ConnectConfig, ServiceClient

from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import DATA_VARIABLE, GRACE_VARIABLE, DevServer, data_dir
from mcp_agent.executor.temporal.keeper import _free_port
from tests.support import until

GRACE = 0.25


@pytest.fixture(scope="session")
def keeper_binary() -> Path:
    return asyncio.run(find_or_make_binary(None, print))


StartServer = Callable[[Mapping[str, Any]], Awaitable[str]]


@pytest.fixture(scope="module")
async def start_server(keeper_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[StartServer, None]:
    """Starts a Temporal with settings of its own, and gives its address as soon as it answers."""
    processes: list[subprocess.Popen[bytes]] = []

    async def start(settings: Mapping[str, Any]) -> str:
        address = f"127.0.0.1:{(port := _free_port())}"
        command = [str(keeper_binary), "server", "start-dev", "--headless", "--port", str(port), "--log-level", "error"]
        for name, value in settings.items():
            command += ["--dynamic-config-value", f"{name}={json.dumps(value)}"]
        with (tmp_path_factory.mktemp("server") / "log").open("w") as log:
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

        async def up() -> bool:
            try:
                await ServiceClient.connect(ConnectConfig(target_host=address))
            except RuntimeError:
                return False
            return True

        await until(up)
        return address

    yield start
    for process in processes:
        process.terminate()
        process.wait()


@dataclass
class Client:
    """Another process that uses the embedded Temporal."""

    process: subprocess.Popen[str]

    def server(self) -> DevServer:
        assert self.process.stdout is not None
        return DevServer(**json.loads(self.process.stdout.readline()))

    def leave(self) -> str:
        """Ends it in order, and gives what else it printed to stdout."""
        return self.process.communicate()[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass
class Folder:
    """A data folder; what was started on it is gone at the end."""

    path: Path
    binary: Path
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("keeper_client.py")), str(self.binary)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.clients.append(Client(process))
        return self.clients[-1]

    @property
    def starts(self) -> int:
        """How often Temporal was started."""
        return (self.path / "log").read_text().count("Temporal Server:")

    def clear(self) -> None:
        for client in self.clients:
            client.kill()
        for name in ("keeper.lock", "temporal.lock"):
            with suppress(OSError, ValueError):
                os.kill(int((self.path / name).read_text()), signal.SIGKILL)


@pytest.fixture
def keeper_folder(tmp_path: Path, keeper_binary: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Folder, None, None]:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv(GRACE_VARIABLE, str(GRACE))
    folder = Folder(data_dir(), keeper_binary)
    yield folder
    folder.clear()

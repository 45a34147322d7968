"""Servers and workers of the app as processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import anyio

from tests.cluster.cluster import Cluster
from tests.support import until

ROOT = Path(__file__).parents[2]


class Processes:
    """They are killed at the end, if they were not before.

    Args:
        folder: For their configuration and what they say.
        cluster: Where their runs live.
    """

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self._folder = folder
        self._config = folder / "mcp_agent.config.yaml"
        server = {"app": "tests.cluster.cluster_app:app", "worker": False}
        section = {"execution_engine": "temporal", "temporal": cluster.temporal(), "server": server}
        self._config.write_text(json.dumps(section))
        self._begun = 0
        self.workers: list[subprocess.Popen[bytes]] = []
        self._servers: list[subprocess.Popen[bytes]] = []

    async def serve(self) -> str:
        """Starts a server without a worker. Its address, as soon as it listens."""
        process, log = self._started("serve", "--port", "0")
        self._servers.append(process)
        return await _told(process, log, r"(http://127\.0\.0\.1:\d+/mcp)")

    async def work(self, count: int = 1) -> None:
        """Starts workers; returns when they ask for work."""
        begun = [self._started("worker") for _ in range(count)]
        self.workers.extend(process for process, _ in begun)
        for process, log in begun:
            await _told(process, log, r"(a worker for)")

    async def replace(self, worker: subprocess.Popen[bytes]) -> None:
        """Starts a worker, then ends an old one in order."""
        await self.work()
        worker.terminate()
        assert await anyio.to_thread.run_sync(worker.wait) == 0
        self.workers.remove(worker)

    def kill(self) -> None:
        """kill -9 of all."""
        for process in self.workers + self._servers:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.workers.clear()
        self._servers.clear()

    def _started(self, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        self._begun += 1
        path = self._folder / f"{arguments[0]}-{self._begun}.log"
        command = [sys.executable, "-m", "mcp_agent.cli", *arguments, "--config", str(self._config)]
        with path.open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return process, path


async def _told(process: subprocess.Popen[bytes], log: Path, pattern: str) -> str:
    async def told() -> str | None:
        assert process.poll() is None, log.read_text()[-500:]
        found = re.search(pattern, log.read_text())
        return found[1] if found else None

    return await until(told)

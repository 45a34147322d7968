"""What tests share that work with processes: private folders, servers as children, looking until something is so."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent

from mcp_agent.executor.temporal.dev_server import DATA_VARIABLE, GRACE_VARIABLE, DevServer, status

T = TypeVar("T")
LIMIT = 60.0


async def until(what: Callable[[], Awaitable[T]], limit: float = LIMIT) -> T:
    """Looks again and again until `what` gives something true. Across processes there is no event to wait for."""
    with anyio.fail_after(limit):
        while True:
            found = await what()
            if found:
                return found
            await anyio.sleep(0.02)


async def until_file(path: Path, text: str = "") -> None:
    async def there() -> bool:
        return path.exists() and text in path.read_text()

    try:
        await until(there)
    except TimeoutError:
        held = path.read_text() if path.exists() else "nothing: it is not there"
        raise AssertionError(f"`{path.name}` holds no `{text}`, but {held}") from None


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet collected does not."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until_gone(*pids: int) -> None:
    async def gone() -> bool:
        return not any(alive(pid) for pid in pids)

    await until(gone)


@dataclass
class Desk:
    """A folder with a configuration and an app, and an embedded Temporal of its own."""

    folder: Path
    binary: Path
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """Where the app's steps and the downstream server note what they did."""
        return self.folder / "log.txt"

    def noted(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def open_gate(self, name: str) -> None:
        (self.folder / f"gate-{name}").touch()

    def server(self) -> DevServer | None:
        return status(self.data)

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**os.environ, **self.environment, **(more or {})}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "mcp_agent.cli", *arguments, "--config", str(self.folder / "mcp_agent.config.yaml")]

    def stdio(self, name: str = "stdio") -> StdioServerParameters:
        """A server over stdio that writes its process id to `<name>.pid`."""
        own_pid = f'echo $$ > "{self.folder / name}.pid"; exec "$@"'
        arguments = ["-c", own_pid, "sh", *self.command("serve", "--stdio")]
        return StdioServerParameters(command="sh", args=arguments, env=self.env(), cwd=self.folder)

    def pid(self, name: str = "stdio") -> int:
        return int((self.folder / f"{name}.pid").read_text())

    async def serve(self) -> HttpServer:
        """A server over HTTP, as soon as it listens."""
        process, errors = self.start("serve", "--port", "0")

        async def address() -> str | None:
            assert process.poll() is None, errors.read_text()
            found = re.search(r"(http://127\.0\.0\.1:\d+)/mcp", errors.read_text())
            return found[1] if found else None

        return HttpServer(process, await until(address))

    def work(self) -> subprocess.Popen[str]:
        """A worker alone. It need not be waited for: runs wait for it."""
        return self.start("worker")[0]

    async def run(self, *arguments: str, within: float = 60) -> subprocess.CompletedProcess[str]:
        """A command of `mcp-agent` with these arguments and no others, to its end."""
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "mcp_agent.cli", *arguments],
            cwd=self.folder,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> tuple[subprocess.Popen[str], Path]:
        """A command of `mcp-agent` that goes on, and the file that it writes to."""
        errors = self.folder / f"{arguments[0]}-{len(self.processes)}.log"
        with errors.open("w") as out:
            process = subprocess.Popen(
                self.command(*arguments),
                stdin=stdin,
                stdout=out,
                stderr=out,
                text=True,
                env=self.env(),
                cwd=self.folder,
            )
        self.processes.append(process)
        return process, errors

    async def aclose(self) -> None:
        """Ends what was started and waits until the keeper has ended Temporal."""
        server = self.server()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        if server is not None:
            await until_gone(server.keeper_pid, server.server_pid)


@dataclass
class HttpServer:
    process: subprocess.Popen[str]
    base: str

    @property
    def url(self) -> str:
        return f"{self.base}/mcp"

    @property
    def sse(self) -> str:
        return f"{self.base}/sse"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@asynccontextmanager
async def desk_in(folder: Path, binary: Path, config: str, files: Mapping[str, str]) -> AsyncGenerator[Desk, None]:
    """A desk with its files; everything it started is gone at the end."""
    (folder / "mcp_agent.config.yaml").write_text(config)
    for name, text in files.items():
        (folder / name).write_text(text)
    desk = Desk(folder, binary)
    desk.environment = {DATA_VARIABLE: str(desk.data), GRACE_VARIABLE: "1", "DESK_FOLDER": str(folder)}
    try:
        yield desk
    finally:
        await desk.aclose()


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """A tool's structured result; an error fails the test with its text."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content or {}


async def refusal(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The `{code, message, retryable}` of a call that must be refused."""
    result: CallToolResult = await client.call_tool(tool, arguments)
    assert result.is_error, result.content
    return result.structured_content or {}


async def call_text(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a tool's answer, which must be no error."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))

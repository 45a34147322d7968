"""The server that the clients talk to: `mcp-agent serve` with the app of `interop/app.py`, or another command."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_SECONDS = 30
STOP_SECONDS = 15
CONFIG = """
execution_engine: asyncio
server: {app: 'interop.app:app'}
logger: {transports: [console], level: warning}
"""


class NotServed(Exception):
    """The server did not start; the text is what it wrote."""


def command(folder: Path, *arguments: str) -> list[str]:
    """`mcp-agent serve` with a configuration that is written to `folder`."""
    config = folder / "mcp_agent.config.yaml"
    config.write_text(CONFIG)
    return [sys.executable, "-m", "mcp_agent.cli", "serve", *arguments, "--config", str(config)]


def environment() -> dict[str, str]:
    """What the server's process needs of this one's, and where the app is."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def over_http(serving: list[str], variables: Mapping[str, str], log: Path) -> AsyncGenerator[str, None]:
    """The address, without a path, of a server that listens. It tells the address on its output. Raises NotServed."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *serving, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, env=dict(variables)
        )
        try:
            yield await _address(process, log)
        finally:
            await _stopped(process)


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                found = re.search(r"(http://[\w.\[\]:]+:\d+)/", log.read_text())
                if found:
                    return found[1]
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise NotServed(f"The server told no address within {START_SECONDS} s:\n{log.read_text()}") from None
    raise NotServed(f"The server ended with {process.returncode}:\n{log.read_text()}")


async def _stopped(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

"""`make demo`, as a process: everything for real but the model."""

import asyncio
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from mcp_agent.executor.temporal.binary import find_or_make_binary
from mcp_agent.executor.temporal.dev_server import DATA_VARIABLE, GRACE_VARIABLE, status
from tests.support import until_gone

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


async def test_the_demo_runs_the_brief_on_temporal_and_says_what_it_does(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    environment |= {DATA_VARIABLE: str(tmp_path / "data"), GRACE_VARIABLE: "5", "BRIEFS_FOLDER": str(tmp_path / "briefs")}
    environment |= {"MCP_AGENT_TEMPORAL_BINARY": str(await find_or_make_binary(None, print)), "COLUMNS": "200"}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "server.demo"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for part in (
        "no OPENAI_API_KEY: the scripted model answers",
        "no terminal: the demo approves",
        "Recommendation",
        "completed",
    ):
        assert part in done.stdout
    (brief,) = (tmp_path / "briefs").iterdir()
    assert "Recommendation" in brief.read_text()
    server = status(tmp_path / "data")
    assert server is not None, "the page is up for a while"
    page = done.stdout.split("after its last client): ")[1].split()[0]
    with await asyncio.to_thread(urllib.request.urlopen, page) as response:
        assert response.status == 200
    await until_gone(server.keeper_pid, server.server_pid)

"""A client that is killed in the middle of `run`: the run goes on, there is one, and its key finds it again."""

import subprocess
import sys

import pytest
from mcp import Client

from tests.support import Desk, call, until_file

pytestmark = pytest.mark.anyio

CLIENT = """
import os, sys, warnings
import anyio
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters

warnings.simplefilter("ignore")
way, target = sys.argv[1], sys.argv[2]
targets = {
    "stdio": lambda: StdioServerParameters(command="sh", args=["-c", target], env=dict(os.environ)),
    "sse": lambda: sse_client(target),
    "modern": lambda: target,
    "legacy": lambda: target,
}


async def main():
    async with Client(targets[way](), mode="auto" if way in ("stdio", "modern") else "legacy") as client:
        await client.call_tool("workflows-Quick-run", {"run_parameters": {"name": "a"}, "workflow_id": "key"})


anyio.run(main)
"""


@pytest.mark.promise("fault: the client disconnects in the middle of run, over each transport")
@pytest.mark.parametrize("way", ["stdio", "sse", "modern", "legacy"])
async def test_a_killed_client_loses_no_run_and_doubles_none(desk: Desk, way: str):
    server = await desk.serve()
    command = " ".join(desk.command("serve", "--stdio"))
    target = {"stdio": command, "sse": server.sse, "modern": server.url, "legacy": server.url}[way]
    client = subprocess.Popen([sys.executable, "-c", CLIENT, way, target], env=desk.env(), cwd=desk.folder)
    await until_file(desk.log, "begin a")
    client.kill()
    client.wait()
    desk.open_gate("a")
    async with Client(server.url) as again:
        run = await call(again, "workflows-Quick-run", run_parameters={"name": "a"}, workflow_id="key")
        assert run["existing"]
        assert run["status"] == "completed"
        assert run["result"] == "a"
        runs = await call(again, "workflows-runs-list", workflow="Quick")
        assert [one["run_id"] for one in runs["runs"]] == ["Quick.key"]
    assert desk.noted().count("end a") == 1

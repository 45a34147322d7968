"""A server that is told to stop answers who waits, gives steps their time, and ends with 0; its runs go on elsewhere."""

import json
import signal
import subprocess
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.sse import sse_client

from tests.support import Desk, HttpServer, call, until_file

pytestmark = pytest.mark.anyio

RUN, ARGUMENTS = "workflows-Quick-run", {"run_parameters": {"name": "a"}, "workflow_id": "key"}


@pytest.fixture(autouse=True)
def short_grace(desk: Desk) -> None:
    desk.environment["MCP_AGENT__SERVER__GRACE_SECONDS"] = "1"


async def ended(process: subprocess.Popen[Any]) -> int:
    with anyio.fail_after(15):
        return await anyio.to_thread.run_sync(process.wait)


def client_of(server: HttpServer, way: str) -> Client:
    return Client(sse_client(server.sse), mode="legacy") if way == "sse" else Client(server.url, mode=way)  # type: ignore[arg-type]


@pytest.mark.promise("issue: SIGTERM drains: waits answered with handles, exit 0")
@pytest.mark.parametrize("way", ["auto", "legacy", "sse"])
async def test_who_waits_over_http_gets_the_handle_of_a_run_that_goes_on(desk: Desk, way: str):
    server = await desk.serve()
    async with client_of(server, way) as client, anyio.create_task_group() as tasks:

        async def stop() -> None:
            await until_file(desk.log, "begin a")
            server.process.send_signal(signal.SIGTERM)

        tasks.start_soon(stop)  # the client has not asked for the tools: it does so when it has its answer
        run = await call(client, RUN, **ARGUMENTS)
        assert run["status"] == "running"
        assert run["next_action"]["tool"] == "workflows-Quick-get_status"
    assert await ended(server.process) == 0
    desk.open_gate("a")
    async with Client((await desk.serve()).url) as again:
        done = await call(again, "workflows-Quick-get_status", run_id=run["run_id"], wait_seconds=20)
        assert (done["status"], done["result"]) == ("completed", "a")


@pytest.mark.promise("issue: stdin's end drains on stdio; so does SIGTERM")
@pytest.mark.parametrize("end", ["stdin", "SIGTERM"])
async def test_who_waits_over_stdio_is_answered_before_the_end(desk: Desk, end: str):
    process = subprocess.Popen(
        desk.command("serve", "--stdio"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=desk.env(), cwd=desk.folder
    )
    assert process.stdin is not None
    assert process.stdout is not None
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "0"}}
    for message in (
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": RUN, "arguments": ARGUMENTS}},
    ):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    process.stdin.flush()
    await until_file(desk.log, "begin a")
    if end == "stdin":
        process.stdin.close()
    else:
        process.send_signal(signal.SIGTERM)
    answers = [json.loads(line) for line in await anyio.to_thread.run_sync(process.stdout.readlines)]
    assert await ended(process) == 0
    process.stdin.close()
    process.stdout.close()
    [answer] = [one for one in answers if one.get("id") == 2]
    assert answer["result"]["structuredContent"]["status"] == "running"


@pytest.mark.promise("issue: a second signal stops at once")
async def test_a_second_signal_ends_the_process_at_once(desk: Desk):
    desk.environment["MCP_AGENT__SERVER__GRACE_SECONDS"] = "120"
    server = await desk.serve()
    async with Client(server.url) as client:
        await call(client, RUN, wait_seconds=0, **ARGUMENTS)
        await until_file(desk.log, "begin a")
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(0.5)
    server.process.send_signal(signal.SIGTERM)
    assert await ended(server.process) == 128 + signal.SIGTERM

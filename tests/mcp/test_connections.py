"""Downstream servers that do not do what they should: each ends in a clear error, and nothing is left running."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT, TextContent

from mcp_agent.config import MCPServerSettings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.mcp.connections import ConnectionManager
from mcp_agent.mcp.definitions import CallDownstreamTool
from tests.mcp.odd_server import NAMES
from tests.support import alive, until, until_gone

pytestmark = pytest.mark.anyio
ODD = Path(__file__).with_name("odd_server.py")
SECRET = "planted-token-of-odd"


class Odd:
    """One odd server behind a connection manager."""

    def __init__(self, folder: Path, habit: str, settings: dict[str, Any]) -> None:
        self.pid_file = folder / "pid"
        environment = {"ODD_PID": str(self.pid_file), "GIVEN": "yes", "ODD_TOKEN": SECRET}
        given = {"command": sys.executable, "args": [str(ODD), habit], "env": environment} | settings
        self.connections = ConnectionManager({"odd": MCPServerSettings(**given)})

    @property
    def pids(self) -> list[int]:
        """Of all processes that were started."""
        return [int(line) for line in self.pid_file.read_text().split()]

    async def call(self, tool: str, **arguments: Any) -> str:
        result = await self.connections.call_tool(CallDownstreamTool(server="odd", tool=tool, arguments=arguments))
        (block,) = result.content
        assert isinstance(block, TextContent)
        return block.text


@asynccontextmanager
async def odd(folder: Path, habit: str = "", **settings: Any) -> AsyncGenerator[Odd, None]:
    server = Odd(folder, habit, settings)
    try:
        yield server
    finally:
        await server.connections.aclose()
    if server.pid_file.exists():
        assert not any(alive(pid) for pid in server.pids)


async def test_all_pages_of_tools_are_listed_over_one_connection(tmp_path: Path):
    async with odd(tmp_path) as server:
        first = await server.call("pid")
        tools = await server.connections.list_tools("odd")
        assert [tool.name for tool in tools] == NAMES
        assert await server.call("pid") == first


async def test_the_process_gets_its_own_variables_and_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with odd(tmp_path) as server:
        assert await server.call("environment", name="GIVEN") == "yes"
        assert await server.call("environment", name="OPENAI_API_KEY") == "unset"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"command": "no-such-program-anywhere"}, "no such program"),
        ({"command": "no-such-program -x"}, "no such program; put arguments into `args`"),
        ({"command": "/etc/hostname"}, "(not executable|`/etc/hostname` cannot be run)"),
        ({"cwd": Path("/nowhere")}, "its `cwd`, `/nowhere`, is no folder"),
    ],
)
@pytest.mark.promise("fault: a downstream command that does not exist")
async def test_a_command_that_cannot_be_started_is_no_passing_trouble(tmp_path: Path, settings: dict[str, Any], why: str):
    async with odd(tmp_path, **settings) as server:
        with pytest.raises(WorkflowApplicationError, match=f"cannot be started: {why}") as told:
            await server.call("pid")
    assert told.value.type == "DownstreamUnavailable"
    assert told.value.non_retryable
    assert "mcp.servers.odd" in str(told.value)


@pytest.mark.promise("fault: a downstream server that dies at start")
async def test_a_server_that_dies_at_start_is_told_soon_with_its_last_words(tmp_path: Path):
    async with odd(tmp_path, "dies at start") as server:
        with anyio.fail_after(15), pytest.raises(WorkflowApplicationError, match="cannot find my database") as told:
            await server.call("pid")
    assert told.value.type == "DownstreamUnavailable"
    assert not told.value.non_retryable


@pytest.mark.promise("fault: a downstream server that dies at start again and again is not started in a tight loop")
async def test_a_server_that_dies_at_start_is_left_alone_for_longer_and_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with odd(tmp_path, "dies at start") as server:
        delays: list[float] = []
        for _ in range(10):
            with pytest.raises(WorkflowApplicationError, match=r"cannot find my database.*tried again in \d+ s") as told:
                await server.call("pid")
            assert told.value.next_retry_delay is not None
            delays.append(told.value.next_retry_delay.total_seconds())
        assert len(server.pids) == 1
        assert 0 < delays[-1] <= delays[0] == 1.0
        for expected in (2.0, 4.0):
            server.connections._of("odd")._connection._closed_until = 0.0  # the time has passed
            with pytest.raises(WorkflowApplicationError) as told:
                await server.call("pid")
            assert told.value.next_retry_delay is not None
            assert told.value.next_retry_delay.total_seconds() == expected
        assert len(server.pids) == 3


@pytest.mark.promise("fault: a downstream server that never answers")
@pytest.mark.parametrize("habit", ["never answers", "hangs on list"])
async def test_a_server_that_never_answers_is_told_within_its_limit(tmp_path: Path, habit: str):
    async with odd(tmp_path, habit, connect_timeout_seconds=2, call_timeout_seconds=2) as server:
        with anyio.fail_after(15), pytest.raises(WorkflowApplicationError, match="2 s") as told:
            await server.connections.list_tools("odd")
    assert told.value.type == "DownstreamTimeout"


async def test_a_call_that_takes_too_long_does_not_cost_the_connection(tmp_path: Path):
    async with odd(tmp_path, call_timeout_seconds=3) as server:
        first = await server.call("pid")
        with pytest.raises(WorkflowApplicationError, match="tool `hangs` of MCP server `odd` took longer than 3 s"):
            await server.call("hangs")
        assert await server.call("pid") == first


async def test_a_server_that_dies_in_a_call_is_started_again_for_the_next(tmp_path: Path):
    async with odd(tmp_path) as server:
        first = await server.call("pid")
        with anyio.fail_after(15), pytest.raises(WorkflowApplicationError) as told:
            await server.call("dies")
        assert told.value.type == "DownstreamUnavailable"
        assert not told.value.non_retryable
        assert await server.call("pid") != first


async def test_a_server_that_was_killed_between_two_calls_is_started_again(tmp_path: Path):
    async with odd(tmp_path) as server:
        first = int(await server.call("pid"))
        os.kill(first, signal.SIGKILL)
        await until_gone(first)

        async def again() -> str | None:
            try:
                return await server.call("pid")
            except WorkflowApplicationError:  # a call that meets the break is repeated, as a step would be
                return None

        assert int(await until(again)) != first


@pytest.mark.promise("fault: a downstream server that prints rubbish on stdout")
async def test_rubbish_on_stdout_is_passed_over(tmp_path: Path):
    async with odd(tmp_path, "chatters at start") as server:
        assert await server.call("echo", text="a") == "a"
        assert await server.call("chatters") == "said"
        assert await server.call("echo", text="b") == "b"


async def test_a_result_of_10_mb_passes_the_connection(tmp_path: Path):
    async with odd(tmp_path) as server:
        assert len(await server.call("big", size=10_000_000)) == 10_000_000


async def test_what_the_server_refuses_is_not_tried_again(tmp_path: Path):
    async with odd(tmp_path) as server:
        with pytest.raises(WorkflowApplicationError, match="refused") as told:
            await server.call("echo")  # the server has a bug: an argument is missing
        assert told.value.type == "DownstreamError"
        assert await server.call("echo", text="still there") == "still there"


@pytest.mark.parametrize("code", [CONNECTION_CLOSED, REQUEST_TIMEOUT, -32099])
async def test_an_error_of_the_server_does_not_cost_the_connection_whatever_its_code(tmp_path: Path, code: int):
    async with odd(tmp_path) as server:
        first = await server.call("pid")
        with pytest.raises(WorkflowApplicationError, match="the ledger is locked") as failed:
            await server.call("raises", code=code)
        assert (failed.value.type, failed.value.non_retryable) == ("DownstreamError", True)
        assert await server.call("pid") == first


async def test_a_server_that_is_not_configured_is_named_with_one_that_is_near(tmp_path: Path):
    async with odd(tmp_path) as server:
        with pytest.raises(WorkflowApplicationError, match=r"has no `od`.*`odd`") as told:
            await server.connections.list_tools("od")
    assert told.value.type == "DownstreamNotConfigured"


async def test_an_idle_connection_is_closed_and_the_next_use_opens_another(tmp_path: Path):
    async with odd(tmp_path, idle_timeout_seconds=0.3) as server:
        first = int(await server.call("pid"))
        await until_gone(first)
        assert int(await server.call("pid")) != first


async def test_calls_at_once_share_a_connection(tmp_path: Path):
    async with odd(tmp_path) as server:
        pids: set[str] = set()

        async def ask() -> None:
            pids.add(await server.call("pid"))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)
        assert len(pids) == 1


async def test_closing_ends_a_server_in_the_middle_of_a_call(tmp_path: Path):
    async with odd(tmp_path) as server:
        pid = int(await server.call("pid"))
        async with anyio.create_task_group() as group:

            async def hang() -> None:
                with pytest.raises(WorkflowApplicationError):
                    await server.call("hangs")

            group.start_soon(hang)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(15):
                await server.connections.aclose()
        assert not alive(pid)


async def test_an_address_that_refuses_is_told(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
    async with odd(tmp_path, command=None, args=[], env={}, url=url) as server:
        with anyio.fail_after(15), pytest.raises(WorkflowApplicationError, match=url) as told:
            await server.connections.list_tools("odd")
    assert told.value.type == "DownstreamUnavailable"
    assert not told.value.non_retryable


@pytest.mark.promise("fault: a downstream server that dies in a call: its last words are told, its secrets are not")
async def test_what_a_server_says_on_its_standard_error_is_logged_without_its_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "mcp_agent")
    async with odd(tmp_path) as server:
        with pytest.raises(WorkflowApplicationError, match=r"closed its connection \(lost my key \*\*\*\)"):
            await server.call("dies")
    assert "MCP server `odd`: lost my key ***" in caplog.text
    assert SECRET not in caplog.text


async def test_a_step_that_is_cancelled_while_the_server_starts_leaves_no_second_one_behind(tmp_path: Path):
    async with odd(tmp_path, "never answers", connect_timeout_seconds=60) as server:
        first = asyncio.create_task(server.call("pid"))

        async def started() -> bool:
            return server.pid_file.exists()

        await until(started)
        first.cancel()
        await asyncio.wait({first})
        second = asyncio.create_task(server.call("pid"))
        await anyio.wait_all_tasks_blocked()
        assert len(server.pids) == 1
        second.cancel()
        await asyncio.wait({second})


@pytest.mark.promise("fault: a downstream server that answers after it was told to stop")
async def test_an_answer_after_the_cancel_goes_nowhere(tmp_path: Path):
    async with odd(tmp_path, call_timeout_seconds=2) as server:
        first = await server.call("pid")
        with pytest.raises(WorkflowApplicationError, match="took longer than 2 s") as told:
            await server.call("obstinate", seconds=3)
        assert told.value.non_retryable
        for text in ("a", "b", "c"):
            with anyio.fail_after(15):
                assert await server.call("echo", text=text) == text
        assert await server.call("pid") == first


@pytest.mark.promise("fault: kill -9 of a worker: no process of a downstream server outlives it, nor what that has started")
async def test_no_process_outlives_a_worker_that_is_killed(tmp_path: Path):
    program = f"""
import asyncio
from mcp_agent.config import MCPServerSettings
from mcp_agent.mcp.connections import ConnectionManager
from mcp_agent.mcp.definitions import CallDownstreamTool

async def main():
    line = {{"command": {sys.executable!r}, "args": [{str(ODD)!r}], "env": {{"ODD_PID": {str(tmp_path / "pid")!r}}}}}
    connections = ConnectionManager({{"odd": MCPServerSettings(**line)}})
    result = await connections.call_tool(CallDownstreamTool(server="odd", tool="parent"))
    print(result.content[0].text, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    worker = await anyio.open_process([sys.executable, "-c", program], stderr=None)
    assert worker.stdout is not None
    server, grandchild = map(int, (await worker.stdout.receive()).split())
    assert alive(server)
    assert alive(grandchild)
    worker.kill()
    await worker.wait()
    await until_gone(server, grandchild)
    await worker.aclose()


@pytest.mark.parametrize("habit", ["", "deaf"])
async def test_what_a_server_has_started_ends_with_its_connection(tmp_path: Path, habit: str):
    async with odd(tmp_path, habit) as server:
        _, grandchild = map(int, (await server.call("parent")).split())
        assert alive(grandchild)
    await until_gone(grandchild)


async def test_what_a_server_has_started_ends_with_the_server(tmp_path: Path):
    async with odd(tmp_path) as server:
        pid, grandchild = map(int, (await server.call("parent")).split())
        os.kill(pid, signal.SIGKILL)
        await until_gone(pid, grandchild)

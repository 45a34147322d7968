"""Two servers share one Temporal; each part may be killed, and the rest goes on."""

import os
import signal
from contextlib import AsyncExitStack, suppress

import pytest
from mcp import Client

from tests.support import Desk, alive, call, until, until_file, until_gone

pytestmark = pytest.mark.anyio


async def start(client: Client, name: str) -> None:
    await call(client, "workflows-Quick-run", run_parameters={"name": name}, workflow_id=name, wait_seconds=0)


async def until_completed(client: Client, name: str) -> None:
    async def completed() -> bool:
        run = await call(client, "workflows-Quick-get_status", run_id=f"Quick.{name}", wait_seconds=10)
        return run["status"] == "completed"

    await until(completed)


@pytest.mark.promise("fault: two stdio servers share one Temporal; kill -9 one: the other's runs go on")
async def test_two_stdio_servers_share_one_temporal_and_one_may_be_killed(desk: Desk):
    async with Client(desk.stdio("kept")) as kept:
        await start(kept, "a")
        with suppress(Exception):  # closing a client whose server was killed may complain, as it likes
            async with Client(desk.stdio("killed")) as killed:
                await start(killed, "b")
                await until_file(desk.log, "begin a")
                await until_file(desk.log, "begin b")
                before = desk.server()
                os.kill(desk.pid("killed"), signal.SIGKILL)
        await until_gone(desk.pid("killed"))
        desk.open_gate("a")
        desk.open_gate("b")
        await until_completed(kept, "a")
        await until_completed(kept, "b")
        assert before is not None
        assert desk.server() == before


@pytest.mark.promise("fault: kill -9 Temporal itself: both servers go on within seconds, nothing lost")
async def test_temporal_may_be_killed_under_two_servers(desk: Desk):
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(Client(desk.stdio("one")))
        two = await stack.enter_async_context(Client(desk.stdio("two")))
        await start(one, "a")
        await start(two, "b")
        await until_file(desk.log, "begin a")
        await until_file(desk.log, "begin b")
        before = desk.server()
        assert before is not None
        os.kill(before.server_pid, signal.SIGKILL)
        desk.open_gate("a")
        desk.open_gate("b")
        await until_completed(two, "a")
        await until_completed(one, "b")
        after = desk.server()
        assert after is not None
        assert after.address == before.address
        assert after.server_pid != before.server_pid


@pytest.mark.promise("design: the keeper is replaced when it was killed")
async def test_the_keeper_may_be_killed(desk: Desk):
    async with Client(desk.stdio()) as client:
        await start(client, "a")
        await until_file(desk.log, "begin a")
        before = desk.server()
        assert before is not None
        os.kill(before.keeper_pid, signal.SIGKILL)

        async def another() -> bool:
            server = desk.server()
            return server is not None and server.keeper_pid != before.keeper_pid

        await until(another)
        desk.open_gate("a")
        await until_completed(client, "a")
        after = desk.server()
        assert after is not None
        assert after.address == before.address
        assert not alive(before.server_pid)


@pytest.mark.promise("fault: after the last client leaves, the keeper stops Temporal and leaves no process")
async def test_the_last_client_s_end_is_temporal_s_end(desk: Desk):
    async with Client(desk.stdio()) as client:
        desk.open_gate("a")
        await start(client, "a")
        await until_completed(client, "a")
        server = desk.server()
        assert server is not None
        assert alive(server.server_pid)
    await until_gone(server.keeper_pid, server.server_pid)
    assert desk.server() is None
    assert not (desk.data / "server.json").exists()

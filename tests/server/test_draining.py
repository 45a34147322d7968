"""A server that stops answers whoever waits, also those who are being asked, and calls that take longer than its grace."""

import asyncio
from typing import Any

import anyio
import pytest
from mcp import Client

from mcp_agent.server.app_server import AgentServer
from tests.server import desk
from tests.support import call

pytestmark = pytest.mark.anyio


@pytest.mark.promise("issue: SIGTERM drains: waits answered with handles, exit 0")
async def test_a_call_whose_client_is_being_asked_gets_the_handle(server: AgentServer):
    asked = anyio.Event()

    async def thinking(context: Any, params: Any) -> Any:
        asked.set()
        await anyio.sleep_forever()

    async with Client(server.mcp, mode="legacy", elicitation_callback=thinking) as client:
        waiting = asyncio.create_task(call(client, "workflows-Permission-run", run_parameters={}))
        with anyio.fail_after(10):
            await asked.wait()
            await server.drain()
            run = await waiting
    assert run["status"] == "waiting_for_input"
    assert run["next_action"]["tool"] == "workflows-Permission-resume"


@pytest.mark.promise("contract: no call ends in a bare -32603")
async def test_a_call_that_is_longer_than_the_grace_is_told_so(server: AgentServer, mode: Any):
    desk.GATES.append(anyio.Event())
    server.settings = server.settings.model_copy(update={"grace_seconds": 0.1})
    async with Client(server.mcp, mode=mode) as client:
        waiting = asyncio.create_task(client.call_tool("slow", {}))
        while not server.tools.calls.count:
            await asyncio.sleep(0.01)
        with anyio.fail_after(10):
            await server.drain()
            result = await waiting
    assert result.is_error
    assert (result.structured_content or {})["code"] == "cancelled"
    assert "stopping" in (result.structured_content or {})["message"]

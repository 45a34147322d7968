"""A client of the time before 2026-07-28 whose stream was closed comes back for what it has missed."""

import anyio
import httpx2
import pytest
from mcp.server.streamable_http import EventMessage
from mcp_types import JSONRPCNotification, TextContent

from mcp_agent.app import MCPApp
from mcp_agent.server.resuming import MOST_EVENTS, RecentEvents
from tests.server.guarded import INITIALIZE, guarded

pytestmark = pytest.mark.anyio


@pytest.fixture
def app() -> MCPApp:
    app = MCPApp(name="desk")

    @app.tool
    async def drops() -> str:
        """Closes its client's stream before it answers."""
        close = app.context.request.context.close_sse_stream
        assert close is not None
        await close()
        return "answered"

    return app


async def test_a_client_whose_stream_was_closed_gets_its_answer(app: MCPApp):
    async with guarded(app=app) as served, served.client("http-legacy") as client:
        with anyio.fail_after(30):
            result = await client.call_tool("drops", {})
        assert result.content == [TextContent(text="answered")]


async def test_events_of_one_session_are_not_told_to_another(app: MCPApp):
    """Streams are named by ids of requests, and events are counted: both are the same in every session."""
    async with guarded(app=app) as served, httpx2.AsyncClient(timeout=30) as http:
        sessions = [await _begun(http, served.base) for _ in range(2)]
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "drops", "arguments": {}}}
        async with http.stream("POST", f"{served.base}/mcp", json=call, headers=sessions[0]) as answer:
            lines = [line async for line in answer.aiter_lines()]
        (last,) = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
        assert "answered" in await _missed(http, served.base, {**sessions[0], "Last-Event-ID": last})
        assert "answered" not in await _missed(http, served.base, {**sessions[1], "Last-Event-ID": last})


async def test_only_the_newest_events_are_kept():
    events = RecentEvents()
    ids = [await events.store_event("a" if number % 2 else "b", _message(number)) for number in range(MOST_EVENTS + 2)]
    assert await _replayed(events, ids[0]) == (None, [])
    assert await _replayed(events, "nothing") == (None, [])
    assert await _replayed(events, ids[-4]) == ("b", [MOST_EVENTS])
    assert await _replayed(events, ids[-1]) == ("a", [])


async def _begun(http: httpx2.AsyncClient, base: str) -> dict[str, str]:
    """The headers of a new session."""
    accept = {"Accept": "application/json, text/event-stream"}
    begun = await http.post(f"{base}/mcp", json=INITIALIZE, headers=accept)
    headers = {**accept, "Mcp-Session-Id": begun.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    await http.post(f"{base}/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
    return headers


async def _missed(http: httpx2.AsyncClient, base: str, headers: dict[str, str]) -> str:
    """What a client is told that comes back, until there is an answer or the stream is live again."""
    heard = ""
    async with http.stream("GET", f"{base}/mcp", headers=headers) as stream:
        async for line in stream.aiter_lines():
            heard += line
            if "answered" in heard or line.startswith("retry:"):
                break
    return heard


def _message(number: int) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method="n", params={"number": number})


async def _replayed(events: RecentEvents, last: str) -> tuple[str | None, list[int]]:
    heard: list[int] = []

    async def hear(event: EventMessage) -> None:
        assert isinstance(event.message, JSONRPCNotification)
        heard.append((event.message.params or {})["number"])

    return await events.replay_events_after(last, hear), heard

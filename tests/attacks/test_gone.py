"""A client that is gone, at every point of every call: no run is lost or doubled, and nothing is left of the call."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client

from tests.attacks import desk
from tests.attacks.leftovers import LEFT, collected
from tests.attacks.storm import KNOWING_TASKS, MODERN
from tests.server.guarded import INITIALIZE, Guarded, guarded
from tests.support import call, until

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(LEFT)]

TURNS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 100)
"""Turns of the event loop, which server and client share, that the server has for a call."""
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "run": ("tools/call", {"name": "workflows-Ask-run", "arguments": {"workflow_id": "{key}"}}),
    "status": ("tools/call", {"name": "workflows-Forever-get_status", "arguments": {"run_id": "{run}", "wait_seconds": 5}}),
    "resume": ("tools/call", {"name": "workflows-Ask-resume", "arguments": {"run_id": "{ask}", "payload": "word"}}),
    "cancel": ("tools/call", {"name": "workflows-Ask-cancel", "arguments": {"run_id": "{ask}"}}),
    "function": ("tools/call", {"name": "later", "arguments": {"text": "x"}}),
    "read": ("resources/read", {"uri": "run://{run}/log"}),
    "complete": (
        "completion/complete",
        {"ref": {"type": "ref/resource", "uri": "run://{run_id}"}, "argument": {"name": "run_id", "value": "For"}},
    ),
    "subscribe": ("resources/subscribe", {"uri": "run://{run}"}),
    "listen": ("subscriptions/listen", {"notifications": {"taskIds": ["{run}"], "resourceSubscriptions": ["run://{run}"]}}),
    "task": ("tasks/get", {"taskId": "{run}"}),
    "answer": (
        "tasks/update",
        {"taskId": "{ask}", "inputResponses": {"word#1": {"action": "accept", "content": {"answer": "x"}}}},
    ),
    "task cancel": ("tasks/cancel", {"taskId": "{ask}"}),
}
OF_ONE_ERA = {"modern": ("subscribe",), "legacy": ("listen", "task", "answer", "task cancel")}
WAITING = ("watch ", "listen ", "ask ", "lines of ", "tell a session")


@pytest.fixture
async def server() -> AsyncGenerator[Guarded, None]:
    async with guarded(app=desk.make(), wait_budget_seconds=0.3) as listening:
        yield listening
    collected()


@pytest.fixture
async def client(server: Guarded) -> AsyncGenerator[Client, None]:
    async with Client(server.agent.mcp) as connected:
        yield connected


async def started(client: Client, workflow: str, key: str) -> str:
    return (await call(client, f"workflows-{workflow}-run", workflow_id=key, wait_seconds=0))["run_id"]


def message(kind: str, era: str, **names: str) -> bytes:
    method, params = CALLS[kind]
    text = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    body = json.loads(text)
    if era == "modern":
        body["params"]["_meta"] = KNOWING_TASKS
    return json.dumps(body).encode()


def posted(url: str, body: bytes, **headers: str) -> bytes:
    """A request as it goes over the wire."""
    address = httpx2.URL(url)
    head = {
        "Host": f"{address.host}:{address.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **headers,
    }
    lines = [f"POST {address.raw_path.decode()} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def http(server: Guarded, era: str, body: bytes, session: str | None) -> bytes:
    parsed = json.loads(body)
    own = (
        {"MCP-Protocol-Version": MODERN, "Mcp-Method": parsed["method"]} if era == "modern" else {"Mcp-Session-Id": session or ""}
    )
    name = parsed["params"].get("name") or parsed["params"].get("uri")
    named = {"Mcp-Name": name} if era == "modern" and name else {}
    return posted(f"{server.base}/mcp", body, Accept="application/json, text/event-stream", **own, **named)


async def gone_after(server: Guarded, request: bytes, turns: int) -> None:
    """Sends a request, or the beginning of one, and goes away so much later."""
    address = httpx2.URL(server.base)
    _, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(request)
    await writer.drain()
    for _ in range(turns):
        await asyncio.sleep(0)
    writer.transport.abort()


async def nothing_is_left(server: Guarded) -> None:
    async def nothing() -> bool:
        waiting = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(WAITING)]
        return not (waiting or len(server.agent.runs.watches) or server.agent.tools.calls.count)

    await until(nothing, limit=20)


@pytest.mark.promise("fault: a client is gone at every point of every call, over streamable HTTP")
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_no_call_leaves_anything_behind(server: Guarded, client: Client, era: str):
    opened = await server.begin()
    session = opened.headers["mcp-session-id"]
    run = await started(client, "Forever", "kept")
    before = len(asyncio.all_tasks())
    for kind in CALLS:
        if kind in OF_ONE_ERA[era]:
            continue
        names = {"key": f"key-{kind}", "run": run}
        for n, turns in enumerate(TURNS):
            ask = (
                await started(client, "Ask", f"{kind.replace(' ', '-')}-{n}")
                if kind in ("resume", "cancel", "answer", "task cancel")
                else ""
            )
            request = http(server, era, message(kind, era, ask=ask, **names), session)
            await gone_after(server, request, turns)
        for part in (1, len(request) // 3, len(request) - 1):
            await gone_after(server, request[:part], turns=2)
    if era == "legacy":
        async with httpx2.AsyncClient() as ending:
            await ending.delete(f"{server.base}/mcp", headers={"Mcp-Session-Id": session})
    await nothing_is_left(server)
    await only_runs_are_left(client, before)


async def only_runs_are_left(client: Client, before: int) -> None:
    """Each key stands for one run, which goes on; when all runs have ended, no task is left."""
    again = await call(client, "workflows-Ask-run", workflow_id="key-run", wait_seconds=0)
    assert again["existing"]
    listed: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await call(client, "workflows-runs-list", limit=100, **({"cursor": cursor} if cursor else {}))
        listed, cursor = listed + page["runs"], page["next_cursor"]
    assert len({one["run_id"] for one in listed}) == len(listed)
    assert [one["run_id"] for one in listed].count("Ask.key-run") == 1
    for one in listed:
        if one["workflow"] == "Ask" and one["status"] != "completed":
            await call(client, "workflows-Ask-cancel", run_id=one["run_id"])

    async def ended() -> bool:
        return len(asyncio.all_tasks()) <= before

    await until(ended, limit=20)


@pytest.mark.promise("fault: a client is gone at every point of every call, over SSE")
async def test_no_call_of_a_stream_leaves_anything_behind(server: Guarded, client: Client):
    run = await started(client, "Forever", "kept")
    await gone_from_stream(server, b"{}", turns=0)  # the first one leaves a watcher of the process's shutdown
    before = len(asyncio.all_tasks())
    for kind in CALLS:
        if kind in OF_ONE_ERA["legacy"]:
            continue
        for n, turns in enumerate(TURNS[::2]):
            ask = await started(client, "Ask", f"{kind}-{n}") if kind in ("resume", "cancel") else ""
            await gone_from_stream(server, message(kind, "legacy", run=run, ask=ask, key=f"key-{kind}"), turns)
    await nothing_is_left(server)
    await only_runs_are_left(client, before)


async def gone_from_stream(server: Guarded, body: bytes, turns: int) -> None:
    """Opens a stream, posts a message, and goes away so much later."""
    async with httpx2.AsyncClient(timeout=20) as http, http.stream("GET", f"{server.base}/sse") as stream:
        lines = stream.aiter_lines()
        while not (line := await anext(lines)).startswith("data:"):
            pass
        url = server.base + line[5:].strip()
        for one in (json.dumps(INITIALIZE).encode(), b'{"jsonrpc": "2.0", "method": "notifications/initialized"}', body):
            await http.post(url, content=one, headers={"Content-Type": "application/json"})
        for _ in range(turns):
            await asyncio.sleep(0)
        await lines.aclose()  # type: ignore[attr-defined]


@pytest.mark.promise("fault: a client is gone at every point of a call, over stdio")
async def test_the_end_of_stdin_ends_the_process_in_order(tmp_path: Path):
    (tmp_path / "attacked.py").write_text("from tests.attacks.desk import make\napp = make()\n")
    (tmp_path / "mcp_agent.config.yaml").write_text("server: {app: 'attacked:app', wait_budget_seconds: 20}\n")
    begin = json.dumps(INITIALIZE).encode() + b"\n"
    run = message("run", "legacy", key="key") + b"\n"

    async def ended_after(sent: bytes) -> tuple[int, bytes]:
        process = await anyio.run_process(
            [sys.executable, "-m", "mcp_agent.cli", "serve", "--stdio", "--config", str(tmp_path / "mcp_agent.config.yaml")],
            input=sent,
            stderr=subprocess.DEVNULL,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        return process.returncode, process.stdout

    with anyio.fail_after(60):
        ends = await asyncio.gather(*(ended_after((begin + run)[:part]) for part in (0, 10, len(begin), -20, None)))
    assert [code for code, _ in ends] == [0] * len(ends)
    for _, written in ends:
        answers = [json.loads(one) for one in written.splitlines()]
        assert all(answer["jsonrpc"] == "2.0" for answer in answers)

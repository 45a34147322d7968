"""Many clients, and slow ones: nobody else is kept waiting, and what they cost is bounded."""

import asyncio
import gc
import resource
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client

from mcp_agent.executor.asyncio.executor import InProcessExecutor
from tests.attacks import desk
from tests.attacks.leftovers import LEFT, collected
from tests.attacks.storm import KNOWING_TASKS
from tests.attacks.test_gone import http as as_http
from tests.attacks.test_gone import message, nothing_is_left
from tests.server.guarded import INITIALIZE, Guarded, guarded
from tests.server.tasks_client import Wire
from tests.support import call, until

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings(LEFT)]

WAITS = 200
SESSIONS = 1_000
PER_SESSION = 100_000
"""Bytes that one idle session may cost."""


@pytest.fixture
async def server() -> AsyncGenerator[Guarded, None]:
    async with guarded(app=desk.make(), wait_budget_seconds=20) as listening:
        yield listening
    collected()


@pytest.mark.promise("fault: 200 waits at once on one run: one look at the engine, all answered")
async def test_many_waits_on_one_run_cost_one_watch(server: Guarded, monkeypatch: pytest.MonkeyPatch):
    watched: list[str] = []
    watch_run = InProcessExecutor.watch_run

    def counted(self: InProcessExecutor, run_id: str, **more: Any) -> Any:
        watched.append(run_id)
        return watch_run(self, run_id, **more)

    monkeypatch.setattr(InProcessExecutor, "watch_run", counted)
    async with Client(server.agent.mcp) as client, Client(server.agent.mcp, mode="legacy") as legacy:
        run_id = (await call(client, "workflows-Forever-run", wait_seconds=0))["run_id"]
        waits = [
            asyncio.create_task(call((client, legacy)[n % 2], "workflows-Forever-get_status", run_id=run_id, wait_seconds=20))
            for n in range(WAITS)
        ]

        async def all_wait() -> bool:
            return server.agent.tools.calls.count == WAITS

        await until(all_wait)
        await call(client, "workflows-Forever-cancel", run_id=run_id)
        with anyio.fail_after(20):
            answers = await asyncio.gather(*waits)
    assert {answer["status"] for answer in answers} == {"cancelled"}
    assert watched == [run_id]
    await nothing_is_left(server)


@pytest.mark.promise("fault: 1,000 idle sessions, and the next one is served")
async def test_idle_sessions_keep_nobody_out_and_cost_little(server: Guarded):
    transport = httpx2.ASGITransport(app=server.app)
    async with httpx2.AsyncClient(transport=transport, base_url=server.base, timeout=30) as http:
        before = resident()
        await asyncio.gather(*(opened(http) for _ in range(SESSIONS)))
        assert resident() - before < SESSIONS * PER_SESSION
    async with server.client("http-legacy") as client:
        run = await call(client, "workflows-Ask-run")
        done = await call(client, "workflows-Ask-resume", run_id=run["run_id"], payload="word")
        assert done["accepted"]


def resident() -> int:
    """Bytes of this process, of which what was let go is no part."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def opened(http: httpx2.AsyncClient) -> None:
    headers = {"Accept": "application/json, text/event-stream"}
    answer = await http.post("/mcp", json=INITIALIZE, headers=headers)
    assert answer.status_code == 200
    headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
    answer = await http.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
    assert answer.status_code == 202


@pytest.mark.promise("fault: a slow reader keeps nobody else waiting")
@pytest.mark.parametrize("kind", ["read", "listen"])
async def test_who_does_not_read_keeps_nobody_waiting(server: Guarded, kind: str):
    """Each reads nothing of some megabytes that it has asked for."""
    address = httpx2.URL(server.base)
    writers: list[asyncio.StreamWriter] = []
    async with Client(server.agent.mcp) as client:
        large = {"text": "x" * 500_000}
        run_id = (await call(client, "later", **large))["run_id"]
        for _ in range(20):
            body = message(kind, "modern", run=run_id).replace(b"/log", b"")
            _, writer = await asyncio.open_connection(address.host, address.port, limit=1)
            writer.write(as_http(server, "modern", body, None) * (8 if kind == "read" else 1))
            writers.append(writer)
        async with httpx2.AsyncClient(timeout=20) as http, server.client("http-auto") as other:
            wire = Wire(http, f"{server.base}/mcp")
            for _ in range(10):
                assert (await call(other, "workflows-Ask-run", wait_seconds=0))["run_id"]
                assert "error" not in await wire.call("tasks/get", {"taskId": run_id, "_meta": KNOWING_TASKS})
    for writer in writers:
        writer.transport.abort()
    await nothing_is_left(server)

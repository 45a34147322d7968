"""MCP clients that start runs, wait for them and answer them, as models do."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp import Client

from mcp_agent.config import ServerSettings, Settings, TemporalSettings
from mcp_agent.server.app_server import AgentServer
from tests.cluster.cluster_app import app
from tests.mcp.able_server import serving
from tests.support import call

STEPS = 5
UNDER_WAY = ("queued", "running", "blocked")


@asynccontextmanager
async def served(temporal: dict[str, Any]) -> AsyncGenerator[Client, None]:
    """A client, over HTTP, of a server with a worker in this process."""
    app.use(Settings(execution_engine="temporal", temporal=TemporalSettings(**temporal), server=ServerSettings()))
    async with (
        AgentServer.open(app) as server,
        serving(server.mcp.streamable_http_app()) as base,
        Client(f"{base}/mcp") as connected,
    ):
        yield connected


async def followed(client: Client, workflow: str, argument: Any, key: str) -> dict[str, Any]:
    """Starts a run, and calls `get_status` until somebody has to act or it has ended. Every answer must be no error."""
    run = await call(client, f"workflows-{workflow}-run", run_parameters=argument, workflow_id=key, wait_seconds=10)
    while run["status"] in UNDER_WAY:
        run = await call(client, f"workflows-{workflow}-get_status", run_id=run["run_id"], wait_seconds=10)
    return run


class Runs:
    """Runs under way with open calls, and what became of them. No call may be told of an error.

    Args:
        client: Who calls.
        name: A part of the keys.
    """

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self._counting: set[str] = set()
        self._asking: set[str] = set()
        self._ended: dict[str, dict[str, Any]] = {}

    def begin(self, group: TaskGroup, counting: int, asking: int) -> None:
        for number in range(counting):
            group.start_soon(self.count, f"{self._name}-{number}")
        for number in range(asking):
            group.start_soon(self.ask, f"{self._name}-{number}")

    def keep_beginning(self, group: TaskGroup, callers: int, enough: anyio.Event) -> None:
        """Each caller has run after run, until there is enough."""

        async def again_and_again(caller: int) -> None:
            for turn in itertools.count():
                await (self.ask if turn % 2 else self.count)(f"{self._name}-{caller}-{turn}")
                if enough.is_set():
                    return

        for caller in range(callers):
            group.start_soon(again_and_again, caller)

    async def have_waiting(self, count: int, at_once: int) -> None:
        """Starts runs that ask, and returns when all of them do."""
        self._asking.update(f"{self._name}-{number}" for number in range(count))
        keys = sorted(self._asking)
        await _for_each(keys, self._start, at_once)
        await _for_each(keys, self._until_it_asks, at_once)

    async def answer_all(self, client: Client, at_once: int) -> None:
        """Answers all that ask, again where a run did not take it in time, and returns when they have ended."""
        self._client = client
        keys = sorted(self._asking)
        await _for_each(keys, self._answer_until_taken, at_once)
        await _for_each(keys, self._until_it_ends, at_once)

    async def count(self, key: str) -> None:
        self._counting.add(key)
        self._ended[f"Counts.{key}"] = await followed(self._client, "Counts", {"steps": STEPS}, key)

    async def ask(self, key: str) -> None:
        self._asking.add(key)
        await self._until_it_asks(key)
        await self._answer(key)
        await self._until_it_ends(key)

    async def _start(self, key: str) -> None:
        await call(self._client, "workflows-Asks-run", run_parameters={"name": key}, workflow_id=key, wait_seconds=0)

    async def _until_it_asks(self, key: str) -> None:
        run = await followed(self._client, "Asks", {"name": key}, key)
        assert run["status"] == "waiting_for_input"

    async def _answer(self, key: str) -> None:
        await call(self._client, "workflows-Asks-resume", run_id=f"Asks.{key}", payload="yes")

    async def _answer_until_taken(self, key: str) -> None:
        while True:
            told = await self._client.call_tool("workflows-Asks-resume", {"run_id": f"Asks.{key}", "payload": "yes"})
            if not told.is_error:
                return
            refused = told.structured_content or {}
            assert (refused["code"], refused["retryable"]) == ("engine_unavailable", True)

    async def _until_it_ends(self, key: str) -> None:
        self._ended[f"Asks.{key}"] = await followed(self._client, "Asks", {"name": key}, key)

    def check(self) -> None:
        """All have completed, with the right results."""
        results = {f"Counts.{key}": STEPS for key in self._counting} | {f"Asks.{key}": f"{key}: yes" for key in self._asking}
        ended = {run_id: (run["status"], run["result"]) for run_id, run in self._ended.items()}
        assert ended == {run_id: ("completed", result) for run_id, result in results.items()}

    @property
    def steps(self) -> set[tuple[str, int]]:
        """What must have been done: the run and the number of each step."""
        counting = {(f"Counts.{key}", number) for key in self._counting for number in range(STEPS)}
        return counting | {(f"Asks.{key}", 0) for key in self._asking}


async def _for_each(keys: Sequence[str], do: Callable[[str], Awaitable[None]], at_once: int) -> None:
    limiter = anyio.CapacityLimiter(at_once)

    async def in_turn(key: str) -> None:
        async with limiter:
            await do(key)

    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(in_turn, key)

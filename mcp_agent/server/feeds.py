"""What one client follows: the newest states of its runs. Who is late is told the newest state, never a queue of old ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress

from mcp_agent.errors import CallError
from mcp_agent.executor.runs import RunState
from mcp_agent.server.runs import Runs
from mcp_agent.server.watching import Watch

logger = logging.getLogger(__name__)

SPACING = 0.05
"""Seconds between two rounds of telling one client."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds before a run is looked for again whose engine cannot be reached."""


class Feed:
    """The newest states of the runs that one client follows."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._followers: dict[str, asyncio.Task[None]] = {}
        self._newest: dict[str, RunState] = {}
        self._touched: set[str] = set()
        self._some = asyncio.Event()
        self._failure: BaseException | None = None
        self._over = asyncio.Event()

    def follow(self, run_id: str) -> None:
        if run_id not in self._followers:
            follower = asyncio.create_task(self._follow(run_id), name=f"listen {run_id}")
            follower.add_done_callback(self._note_end)
            self._followers[run_id] = follower

    def leave(self, run_id: str) -> None:
        self._followers.pop(run_id).cancel()
        self._newest.pop(run_id, None)

    def touch(self, uri: str) -> None:
        """What is read at an address has changed."""
        self._touched.add(uri)
        self._some.set()

    def end(self) -> None:
        """Ends `news` after what is there now."""
        self._over.set()
        self._some.set()

    def close(self) -> None:
        for follower in self._followers.values():
            follower.cancel()

    async def news(self) -> AsyncGenerator[RunState | str]:
        """Each run's state now, then the newest after each change, and addresses that were touched, until the feed is ended."""
        while True:
            await self._some.wait()
            self._some.clear()
            for run_id in list(self._newest):
                state = self._newest.pop(run_id, None)
                if state is not None:
                    yield state
            while self._touched:
                yield self._touched.pop()
            if self._failure is not None:
                raise self._failure
            if self._over.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), SPACING)

    def _note_end(self, follower: asyncio.Task[None]) -> None:
        if not follower.cancelled() and follower.exception() is not None:
            self._failure = follower.exception()
            self._some.set()

    async def _follow(self, run_id: str) -> None:
        """Until the run is closed or gone; an engine that cannot be reached is tried again."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while not self._runs.draining:
            began = loop.time()
            try:
                async with self._runs.watches.of(await self._runs.executor(), run_id) as watch:
                    await self._note(run_id, watch)
                return
            except CallError as error:
                if not error.retryable:
                    return
                logger.info("run %s cannot be followed: %s", run_id, error)
            if loop.time() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _note(self, run_id: str, watch: Watch) -> None:
        seen, state = 0, None
        while not self._runs.draining and (state is None or not state.closed):
            number, state = await watch.after(seen)
            if number > seen and state is not None:
                seen, self._newest[run_id] = number, state
                self._some.set()

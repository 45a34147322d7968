"""A worker that goes on: one that dies is made anew, and one whose connection was replaced takes the new one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio.worker import Worker

from mcp_agent.errors import MCPAgentError
from mcp_agent.executor.temporal.service import LiveService

logger = logging.getLogger(__name__)

OnFatalError = Callable[[BaseException], Awaitable[None]]

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LASTED = 60.0  # a worker that lived so long was well: the next pause is a short one
ENDS_WITHIN = 5.0  # beyond the grace of its steps


class LastingWorker:
    """Serves a task queue for as long as it is wanted.

    Args:
        make: Makes a worker of the given identity, which calls the function when it cannot go on.
        identity: What Temporal knows the first one by. Each has its own: the dead are on Temporal's list for a while.
        service: What its client is connected by.
        reconnect: Makes that connection anew; it may raise an error of this package.
        grace: How long steps may go on when it is stopped.
    """

    def __init__(
        self,
        make: Callable[[str, OnFatalError], Worker],
        identity: str,
        service: LiveService,
        reconnect: Callable[[], Awaitable[None]],
        grace: timedelta,
    ) -> None:
        self._make = make
        self._first_identity = identity
        self._generation = 1
        self._service = service
        self._connect_anew = reconnect
        self._ends_within = grace.total_seconds() + ENDS_WITHIN
        self._stop = asyncio.Event()
        self._died: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.current = make(self.identity, self._note_death)

    @property
    def identity(self) -> str:
        """Of the worker of the moment."""
        return self._first_identity if self._generation == 1 else f"{self._first_identity}#{self._generation}"

    @property
    def died(self) -> bool:
        """Whether one of them has."""
        return self._generation > 1 or self._died.done()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    @property
    def alive(self) -> bool:
        """Whether the worker of the moment asks for work."""
        return self.current.is_running and not self._died.done()

    async def run(self) -> None:
        """Serves until `shutdown`, or until it is cancelled; both give steps their grace."""
        pause = FIRST_PAUSE
        while True:
            begun = time.monotonic()
            error = await self._serve()
            if error is not None:
                await self._note_death(error)
            while error is not None:
                pause = FIRST_PAUSE if time.monotonic() - begun > LASTED else min(pause * 2, LONGEST_PAUSE)
                logger.error("the Temporal worker has ended (%s); the next one begins in %g s", _told(error), pause)
                await _within(self._stop.wait(), pause)
                error = await self._renewed()
            if self._stop.is_set():
                return

    def shutdown(self) -> None:
        """Asks for no more work. `run` returns when the steps under way have ended, or were given their time."""
        self._stop.set()

    async def _serve(self) -> BaseException | None:
        """Runs the worker of the moment. What it died of; `None` when it was stopped, or is to be."""
        if self._stop.is_set():
            return None
        running = asyncio.create_task(self.current.run(), name="temporal-worker")
        stopping = asyncio.create_task(self._stop.wait())
        try:
            with self._service.told(self._reconnect):
                await asyncio.wait({running, stopping, self._died}, return_when=asyncio.FIRST_COMPLETED)
                if self._stop.is_set():
                    await self._shut_down(running)
                    return None
                if self._died.done():  # `run` may never return
                    await _within(asyncio.wait({running}), ENDS_WITHIN)
            return self._died.result() if self._died.done() else await _outcome(running)
        finally:
            stopping.cancel()
            await self._cancelled(running)

    async def _shut_down(self, running: asyncio.Task[None]) -> None:
        shutting_down = asyncio.create_task(self.current.shutdown())
        await _within(asyncio.wait({running}), self._ends_within)
        shutting_down.cancel()
        if not running.done():
            logger.warning("steps did not end within their grace and are left: %g s", self._ends_within)

    async def _cancelled(self, running: asyncio.Task[None]) -> None:
        if not running.done():
            running.cancel()
            await _within(asyncio.wait({running}), self._ends_within)
        if running.done() and not running.cancelled():
            running.exception()  # told already

    async def _renewed(self) -> Exception | None:
        """Another worker takes the place, on a connection of its own: Temporal's core has the dead one's still on its list."""
        if self._stop.is_set():
            return None
        try:
            await self._connect_anew()
            self._generation += 1
            self._died = asyncio.get_running_loop().create_future()
            self.current = self._make(self.identity, self._note_death)
        except (MCPAgentError, RuntimeError) as error:
            return error
        return None

    async def _note_death(self, error: BaseException) -> None:
        if not self._died.done():
            self._died.set_result(error)

    def _reconnect(self) -> None:
        self.current.client = self.current.client  # it asks the client for its connection


async def _within(waiting: Awaitable[Any], seconds: float) -> None:
    """Waits, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return


async def _outcome(running: asyncio.Task[None]) -> BaseException | None:
    await asyncio.wait({running})
    return None if running.cancelled() else running.exception()


def _told(error: BaseException) -> str:
    """The error and what it came from: temporalio's own says only that there was one."""
    cause = error.__cause__
    return f"{type(error).__name__}: {error}" + (f" <- {cause}" if cause is not None else "")

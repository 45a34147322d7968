"""Holds the engine for a server: started in the background, so that no client waits for it to connect."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from mcp_agent.errors import EngineStarting, EngineUnavailable, MCPAgentError
from mcp_agent.executor.executor import Executor
from mcp_agent.observability.health import Health

logger = logging.getLogger(__name__)

START_DELAY = 1.0
TRY_AGAIN_AFTER = 3.0
FIRST_PAUSE = 2.5
LONGEST_PAUSE = 60.0


class EngineHost:
    """One engine for all connections of a server.

    Args:
        open_engine: Opens it. What it raises is told to callers; it is tried again when somebody calls, or after a while.
        when_up: Called once it can be used.
    """

    def __init__(
        self, open_engine: Callable[[], AbstractAsyncContextManager[Executor]], when_up: Callable[[], None] = lambda: None
    ) -> None:
        self._open_engine = open_engine
        self._when_up = when_up
        self._wanted = asyncio.Event()
        self._changed = asyncio.Condition()
        self._executor: Executor | None = None
        self._failure: str | None = None
        self._failed_at = 0.0

    @property
    def kept(self) -> str:
        """How long runs are kept, in a sentence. Of an engine that is up; runs are not looked for before."""
        return "" if self._executor is None else self._executor.kept

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Keeps the engine for the block. It is opened and closed by one task, which is not the block's."""
        stop = asyncio.Event()
        owner = asyncio.create_task(self._own(stop), name="engine")
        try:
            yield
        finally:
            stop.set()
            self._wanted.set()
            if self._executor is None:
                owner.cancel()
            await asyncio.gather(owner, return_exceptions=True)

    def want(self) -> None:
        """Starts it now, if it has not been started: called when the first request has been answered."""
        self._wanted.set()

    async def executor(self, timeout: float) -> Executor:
        """The engine, waited for at most `timeout` seconds.

        Raises:
            EngineStarting: It is not up yet.
            EngineUnavailable: It cannot be started, with the reason.
        """
        if self._executor is not None:
            return self._executor
        if self._failure is not None and time.monotonic() - self._failed_at > TRY_AGAIN_AFTER:
            self._failure = None
        if self._failure is None:
            self._wanted.set()
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self._executor is not None or self._failure is not None)
        except TimeoutError:
            raise EngineStarting("The engine is still starting; nothing was changed. Call again in 5 seconds.") from None
        if self._executor is None:
            raise EngineUnavailable(f"The engine cannot be used; nothing was changed. {self._failure}")
        return self._executor

    async def health(self) -> Health:
        """How the engine is now; one that is not up yet is no reason to start this process again."""
        if self._executor is None:
            problem = "the engine is starting" if self._failure is None else "the engine cannot be used"
            self._wanted.set()
            return Health(ready=False, problem=problem)
        return await self._executor.health()

    async def _own(self, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().call_later(START_DELAY, self._wanted.set)
        pause = None
        while not stop.is_set():
            await self._next_try(pause)
            self._wanted.clear()
            if stop.is_set():
                return
            try:
                async with self._open_engine() as executor:
                    await self._note(executor, None)
                    self._when_up()
                    await stop.wait()
            except MCPAgentError as error:
                pause = min(2 * (pause or FIRST_PAUSE), LONGEST_PAUSE)
                logger.error("the engine cannot be used: %s", error)
                await self._note(None, str(error))
            except Exception as error:
                logger.exception("the engine cannot be used")
                await self._note(None, f"{type(error).__name__}: {error}")
            finally:
                self._executor = None

    async def _next_try(self, pause: float | None) -> None:
        """Until somebody calls; after a failure at most `pause` seconds: a worker's runs wait without calling."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wanted.wait()

    async def _note(self, executor: Executor | None, failure: str | None) -> None:
        async with self._changed:
            self._executor, self._failure, self._failed_at = executor, failure, time.monotonic()
            self._changed.notify_all()

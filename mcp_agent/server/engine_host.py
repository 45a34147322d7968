"""Holds the engine for a server: started in the background, so that no client waits for it to connect."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from mcp_agent.errors import EngineStarting, EngineUnavailable, MCPAgentError
from mcp_agent.executor.executor import Executor

logger = logging.getLogger(__name__)

START_DELAY = 1.0
TRY_AGAIN_AFTER = 3.0


class EngineHost:
    """One engine for all connections of a server.

    Args:
        open_engine: Opens it. What it raises is told to callers, and it is tried again when somebody calls later.
    """

    def __init__(self, open_engine: Callable[[], AbstractAsyncContextManager[Executor]]) -> None:
        self._open_engine = open_engine
        self._wanted = asyncio.Event()
        self._changed = asyncio.Condition()
        self._executor: Executor | None = None
        self._failure: str | None = None
        self._failed_at = 0.0

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

    async def _own(self, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().call_later(START_DELAY, self._wanted.set)
        while not stop.is_set():
            await self._wanted.wait()
            self._wanted.clear()
            if stop.is_set():
                return
            try:
                async with self._open_engine() as executor:
                    await self._note(executor, None)
                    await stop.wait()
            except MCPAgentError as error:
                logger.error("the engine cannot be used: %s", error)
                await self._note(None, str(error))
            except Exception as error:
                logger.exception("the engine cannot be used")
                await self._note(None, f"{type(error).__name__}: {error}")
            finally:
                self._executor = None

    async def _note(self, executor: Executor | None, failure: str | None) -> None:
        async with self._changed:
            self._executor, self._failure, self._failed_at = executor, failure, time.monotonic()
            self._changed.notify_all()

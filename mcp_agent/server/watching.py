"""One look at a run for all who wait for it: calls, subscriptions, tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import RunState


class Watch:
    """What is known of a run, and when there is more. Made by `Watches`."""

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.users = 0
        self._version = 0
        self._state: RunState | None = None
        self._failure: Exception | None = None
        self._changed = asyncio.Event()
        self._released = False

    @property
    def released(self) -> bool:
        """Nobody is to wait any more: `after` answers at once, with nothing new."""
        return self._released

    def release(self) -> None:
        """Lets all go who wait."""
        self._released = True
        self._tell()

    async def after(self, seen: int = 0) -> tuple[int, RunState | None]:
        """The run's newest state with its number, once there is one beyond number `seen`; what there is once it is released.

        Raises:
            NotFound: There is no such run, or no longer.
            EngineUnavailable: It cannot be told at the moment.
        """
        while self._version <= seen and not self._released:
            if self._failure is not None:
                raise self._failure
            await self._changed.wait()
        return self._version, self._state

    async def follow(self, executor: Executor, run_id: str, started: bool) -> None:
        """Keeps it up to date until the run is closed."""
        try:
            async with aclosing(executor.watch_run(run_id, started=started)) as states:
                async for state in states:
                    self._state = state
                    self._version += 1
                    self._tell()
        except Exception as error:
            self._failure = error
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Watches:
    """The runs that somebody in this process waits for. Nothing is kept of a run that nobody waits for."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def release(self) -> None:
        """Lets all go who wait now."""
        for watch in self._watches.values():
            watch.release()

    @asynccontextmanager
    async def of(self, executor: Executor, run_id: str, *, started: bool = False) -> AsyncGenerator[Watch, None]:
        """The run's watch, which ends with the last block that uses it.

        Args:
            executor: Where the run is.
            run_id: The run.
            started: It was started just now, so that its first state can wait until there is something to tell.
        """
        watch = self._watches.get(run_id)
        if watch is None:
            watch = self._watches[run_id] = Watch()
            watch.task = asyncio.create_task(self._follow(watch, executor, run_id, started), name=f"watch {run_id}")
        watch.users += 1
        try:
            yield watch
        finally:
            watch.users -= 1
            if watch.users == 0:
                self._forget(run_id, watch)
                watch.task.cancel()

    async def _follow(self, watch: Watch, executor: Executor, run_id: str, started: bool) -> None:
        try:
            await watch.follow(executor, run_id, started)
        finally:
            self._forget(run_id, watch)

    def _forget(self, run_id: str, watch: Watch) -> None:
        if self._watches.get(run_id) is watch:
            del self._watches[run_id]

"""An orderly end: nothing new is begun, who waits gets a handle, and then the transports close."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)
SENDING_SECONDS = 1.0
"""In which a call that was given up makes its answer."""
SENDING_TURNS = 100
"""Turns of the event loop in which an answer passes the streams of its transport, on its way out."""


async def on_its_way() -> None:
    """Lets out what was answered just now, or the end of a stream."""
    for _ in range(SENDING_TURNS):
        await asyncio.sleep(0)


class InFlight:
    """Knows the calls under way.

    Attributes:
        given_up: Those that were left have been cancelled, so that each can still be answered.
    """

    def __init__(self) -> None:
        self.given_up = False
        self._tasks = set[asyncio.Task[Any]]()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._tasks)

    @contextmanager
    def one(self) -> Generator[None, None, None]:
        """The current task's call, for as long as the block lasts."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._tasks.discard(task)
            if not self._tasks:
                self._idle.set()

    async def over(self, seconds: float) -> bool:
        """Waits until none is under way, for `seconds` at most. Whether none is."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def give_up(self) -> None:
        """Cancels those that are under way, and waits until they are answered."""
        self.given_up = True
        for task in self._tasks:
            task.cancel()
        await self.over(SENDING_SECONDS)


@contextmanager
def on_signals() -> Generator[asyncio.Event, None, None]:
    """An event that the first SIGINT or SIGTERM sets; the second ends the process at once.

    What is durable survives that, and processes of downstream servers end with their guard.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def received(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in ENDING:
        loop.add_signal_handler(number, received, number)
    try:
        yield stop
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)

"""Calls functions of an app while a client waits: under `@app.tool`, `@app.prompt` and `@app.resource`."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from mcp_types import InputResponseRequestParams

from mcp_agent.call_request import CallRequest, DirectCall, direct_call
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.failures import contained, error_text, in_thread
from mcp_agent.executor.runs import Progress
from mcp_agent.executor.scoped import Scoped
from mcp_agent.server.entries import Request
from mcp_agent.server.run_logs import LEVELS, LoggedLine, level_named, level_wanted, send_line

logger = logging.getLogger(__name__)

MOST_WAITING = 1_000
"""Messages that wait for a slow client; the oldest make room for the newest."""


class CallMessages(DirectCall):
    """Progress and log lines of a call, on their way to its client in the order in which they were given.

    Args:
        request: The call.
        name: Of the function, for its log lines.
        masked: Masks secrets in them.
    """

    def __init__(self, request: CallRequest, name: str, masked: Callable[[str], str]) -> None:
        self.request = request
        self.began_at = datetime.now(UTC)
        self.progress: Progress | None = None
        self._name = name
        self._masked = masked
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Callable[[], Awaitable[None]]] = deque(maxlen=MOST_WAITING)
        self._sending: asyncio.Task[None] | None = None
        self._detached = False

    def report_progress(self, progress: Progress) -> None:
        self.progress = progress
        self._put(partial(self.request.session.report_progress, progress.done, progress.total, progress.message))

    def log(self, level: int, message: object, args: tuple[object, ...]) -> None:
        least, name = level_wanted(self.request.context), level_named(level)
        if least is not None and LEVELS.index(name) >= LEVELS.index(least):
            line = LoggedLine(name, self._name, self._masked(_text(message, args)))
            self._put(partial(send_line, self.request.context, line))

    def _put(self, send: Callable[[], Awaitable[None]]) -> None:
        if not self._detached:
            self._waiting.append(send)
            self._loop.call_soon_threadsafe(self._send_soon)

    def _send_soon(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = self._loop.create_task(self._send(), name=f"messages of {self._name}")

    async def _send(self) -> None:
        try:
            while self._waiting:
                await self._waiting.popleft()()
        except Exception as error:
            self._end()
            logger.info("the client of `%s` can be told nothing any more: %s", self._name, error_text(error))

    async def flush(self) -> None:
        """Returns when all that was given has been sent."""
        if self._waiting:
            self._send_soon()
        if self._sending is not None:
            await asyncio.wait({self._sending})

    def detach(self) -> None:
        """From now on nothing is sent: the client does not wait any longer."""
        self._end()
        if self._sending is not None:
            self._sending.cancel()

    def _end(self) -> None:
        self._detached = True
        self._waiting.clear()


class DirectCalls:
    """Args:
    around: What each call of a function is made in.
    masked: Masks secrets in what clients are told.
    """

    def __init__(self, around: Callable[[], AbstractAsyncContextManager[None]], masked: Callable[[str], str]) -> None:
        self._around = around
        self._masked = masked

    def begin(self, request: Request, params: InputResponseRequestParams, name: str) -> CallMessages:
        """For a call of the function `name`, which answers `request`."""
        return CallMessages(CallRequest(request, params), name, self._masked)

    async def invoke(self, messages: CallMessages, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What the function gives or raises, once its client has been sent its messages. A plain function runs in a thread."""
        target = partial(function, *args, **kwargs)
        with contained(), Scoped(direct_call, messages):
            try:
                async with self._around():
                    return await (target() if inspect.iscoroutinefunction(function) else in_thread(target))
            except asyncio.CancelledError:
                messages.detach()
                raise
            finally:
                await messages.flush()

    async def call(self, messages: CallMessages, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As `invoke`, in a task of its own: what the function raises past `Exception` ends this call and nothing else."""
        task = asyncio.create_task(self.invoke(messages, function, *args, **kwargs))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            kind = type(error).__name__
            raise WorkflowApplicationError(f"`{kind}` was raised", type=kind, non_retryable=True) from error
        return task.result()


def _text(message: object, args: tuple[object, ...]) -> str:
    """A log line as `logging` would write it; one that does not fit its arguments is told as it is."""
    try:
        return logging.LogRecord("", logging.INFO, "", 0, message, args, None).getMessage()
    except Exception as error:
        return f"{message!r} ({error_text(error)})"

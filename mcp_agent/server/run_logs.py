"""What runs and their steps log, for the clients that wait for them and want to see it; to nobody else.

Only of runs and steps in this process: what a worker logs elsewhere stays there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, cast, get_args

from mcp.server import Server
from mcp_types import (
    LOG_LEVEL_META_KEY,
    EmptyResult,
    LoggingLevel,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
    SetLevelRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_agent.executor.lines import LINE, run_of, text_of
from mcp_agent.server.entries import Request

logger = logging.getLogger(__name__)

LINES_WAITING = 200
"""How many lines wait for a client that reads slowly; then the oldest of them are left out."""
REST_WITHIN = 1.0  # seconds that a call's answer waits for the lines before it
LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
_FROM_PYTHON: tuple[tuple[int, LoggingLevel], ...] = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO + 1, "notice"),
    (logging.INFO, "info"),
    (logging.NOTSET, "debug"),
)
# What libraries tell of themselves in a step is for whoever runs the server.
_LIBRARIES = ("anthropic", "asyncio", "google", "grpc", "httpcore", "httpcore2", "httpx", "httpx2", "mcp", "openai", "urllib3")
_CHOSEN = "mcp_agent.log_level"


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """One line, without secrets."""

    level: LoggingLevel
    logger: str
    text: str


class Lines:
    """The lines of one run for one reader, who loses the oldest where they come faster than they are read."""

    def __init__(self, least: LoggingLevel) -> None:
        self._least = LEVELS.index(least)
        self._waiting: deque[LoggedLine] = deque()
        self._lost = 0
        self._closed = False
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def put(self, line: LoggedLine) -> None:
        """Called from any thread, one at a time; never waits."""
        if LEVELS.index(line.level) < self._least:
            return
        self._waiting.append(line)
        if len(self._waiting) > LINES_WAITING:
            self._waiting.popleft()
            self._lost += 1
        self._loop.call_soon_threadsafe(self._news.set)

    def close(self) -> None:
        """No more come."""
        self._closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[LoggedLine]:
        while self._waiting or not self._closed:
            if not self._waiting:
                await self._news.wait()
                self._news.clear()
                continue
            if self._lost:
                lost, self._lost = self._lost, 0
                yield LoggedLine("warning", __name__, f"{lost} lines were left out: they are read too slowly.")
            yield self._waiting.popleft()


class RunLogs(logging.Handler):
    """Hands the lines of runs to whoever waits for them.

    Args:
        masked: Masks secrets.
    """

    def __init__(self, masked: Callable[[str], str]) -> None:
        super().__init__()
        self._masked = masked
        self._readers: dict[str, tuple[Lines, ...]] = {}

    @contextmanager
    def installed(self) -> Generator[RunLogs, None, None]:
        """In the block it hears of all that is logged."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield self
        finally:
            root.removeHandler(self)
            self.close()

    @contextmanager
    def of(self, run_id: str, least: LoggingLevel = "debug") -> Generator[Lines, None, None]:
        """The lines that are written in the block, of that level and above."""
        lines = Lines(least)
        self._readers[run_id] = (*self._readers.get(run_id, ()), lines)
        try:
            yield lines
        finally:
            lines.close()
            left = tuple(one for one in self._readers[run_id] if one is not lines)
            if left:
                self._readers[run_id] = left
            else:
                del self._readers[run_id]

    def filter(self, record: logging.LogRecord) -> Any:
        """Most records are nobody's: they are let go before anything is done with them."""
        return bool(self._readers) and record.name.partition(".")[0] not in _LIBRARIES and super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        readers = self._readers.get(run_of(record) or "", ())
        if readers:
            line = LoggedLine(level_named(record.levelno), record.name, self._masked(_text_of(record)))
            for lines in readers:
                lines.put(line)

    def serve(self, server: Server[Any]) -> None:
        """Answers `logging/setLevel`, which the SDK's constructor warns of: older clients know no other way."""
        server.add_request_handler("logging/setLevel", SetLevelRequestParams, self._set_level)

    async def _set_level(self, request: Request, params: SetLevelRequestParams) -> EmptyResult:
        """What this connection's client wants to see from now on."""
        _of_connection(request)[_CHOSEN] = params.level
        return EmptyResult()

    @asynccontextmanager
    async def sending(self, request: Request, run_id: str) -> AsyncGenerator[None, None]:
        """In the block the client of `request` is sent the run's lines, if it has asked for lines."""
        least = level_wanted(request)
        if least is None:
            yield
            return
        with self.of(run_id, least) as lines:
            task = asyncio.create_task(_send(request, lines), name=f"lines of {run_id}")
            try:
                yield
                lines.close()
                await asyncio.wait({task}, timeout=REST_WITHIN)
            finally:
                task.cancel()


def level_wanted(request: Request) -> LoggingLevel | None:
    """The least level that a client wants to see; `None` where it has asked for nothing.

    From the 2026-07-28 revision on each request says so itself; before, a client says it once for its connection.
    """
    if request.protocol_version in MODERN_PROTOCOL_VERSIONS:
        chosen = cast("dict[str, Any]", request.meta or {}).get(LOG_LEVEL_META_KEY)
        return chosen if chosen in LEVELS else None
    return _of_connection(request).get(_CHOSEN)


def _of_connection(request: Request) -> dict[str, Any]:
    """What is kept as long as the connection; the SDK shows it to its own context only."""
    return request.session._connection.state  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def level_named(number: int) -> LoggingLevel:
    """MCP's name of a level of `logging`."""
    return next(level for least, level in _FROM_PYTHON if number >= least)


def _text_of(record: logging.LogRecord) -> str:
    """As it was written: Temporal's loggers add to it who has."""
    written = getattr(record, LINE, None)
    return written if isinstance(written, str) else text_of(record)


async def send_line(request: Request, line: LoggedLine) -> None:
    """On the stream of the request. Whether its client wants the line is not asked here."""
    params = LoggingMessageNotificationParams(level=line.level, logger=line.logger, data=line.text)
    notification = LoggingMessageNotification(params=params)
    await request.session.send_notification(notification, related_request_id=request.request_id)


async def _send(request: Request, lines: Lines) -> None:
    try:
        async for line in lines:
            await send_line(request, line)
    except Exception as error:  # the client has gone: its call ends by itself
        logger.debug("lines could not be sent: %s", error)

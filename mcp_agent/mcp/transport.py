"""How a downstream server is reached: a guarded process with its pipes, or HTTP in both forms. Stands on the SDK's client."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from mcp_agent.config import MCPServerSettings
from mcp_agent.mcp import guard
from mcp_agent.mcp.masking import Masking

logger = logging.getLogger(__name__)

SSE_EVENT_LIMIT = 32 * 1024 * 1024
"""Bytes of one message of a server over HTTP; the SDK's own limit would end a call with a larger result without its size."""

_LINE_LIMIT = 2_000
_LINES_KEPT = 5
_STDERR_WAIT = 0.5


@dataclass(slots=True)
class Notes:
    """What HTTP said of one operation, which the SDK reduces to "an error response".

    Attributes:
        status: Of the last answer.
        retry_after: Seconds that the server wants to be left alone.
        error: What broke off the last request.
    """

    status: int | None = None
    retry_after: float | None = None
    error: Exception | None = None


notes: ContextVar[Notes | None] = ContextVar("mcp_agent_http_notes", default=None)
"""The operation that this code is part of: the SDK sends each request in the context of the one who made it."""


class NotingClient(httpx2.AsyncClient):
    """Notes for each operation what became of its requests.

    Args:
        failed: Called when a message could not be delivered.
    """

    def __init__(self, failed: Callable[[], None] = lambda: None, **options: Any) -> None:
        super().__init__(**options)
        self._failed = failed

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        noted = notes.get() or Notes()
        try:
            response = await super().send(request, **options)
        except Exception as error:
            noted.error = error
            self._failed()
            raise
        noted.status = response.status_code
        if response.is_error and request.method == "POST":
            self._failed()
        wait = response.headers.get("retry-after", "")
        noted.retry_after = float(wait) if wait.isdigit() else None
        return response


@dataclass(slots=True)
class Reached:
    """A server that is reached.

    Attributes:
        ended: Set when nothing more can come from it.
        stderr: The last lines of a process's standard error, secrets masked.
        stderr_ended: Set when no more lines can come.
    """

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    stderr: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    stderr_ended: asyncio.Event = field(default_factory=asyncio.Event)

    def last_words(self) -> str:
        """What a process that has ended said last; empty if nothing."""
        return " / ".join(self.stderr)


def transport_to(
    name: str, settings: MCPServerSettings, masking: Masking, auth: httpx2.Auth | None, reached: Reached
) -> AbstractAsyncContextManager[Any]:
    """The transport for the SDK's client. Entering it raises OSError for a command that cannot be started."""
    if settings.command is not None:
        return _watched(_stdio(name, settings, masking, reached), reached)
    assert settings.url is not None
    # How long an answer may take is the operation's deadline; a stream of events may be silent for ever.
    timeout = httpx2.Timeout(settings.connect_timeout_seconds, read=None)
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    if settings.transport == "sse":

        def client(*_: Any, **__: Any) -> httpx2.AsyncClient:
            # The SDK drops what it cannot deliver, and its caller waits for ever: so the connection ends then.
            return NotingClient(reached.ended.set, headers=headers, timeout=timeout, auth=auth)

        return _watched(sse_client(settings.url, httpx_client_factory=client), reached)
    return _watched(_http(settings.url, NotingClient(headers=headers, timeout=timeout, auth=auth)), reached)


@asynccontextmanager
async def _http(url: str, client: httpx2.AsyncClient) -> AsyncGenerator[Any, None]:
    async with client, streamable_http_client(url, http_client=client, max_sse_event_size=SSE_EVENT_LIMIT) as streams:
        yield streams


@asynccontextmanager
async def _watched(transport: AbstractAsyncContextManager[Any], reached: Reached) -> AsyncGenerator[Any, None]:
    async with transport as (read, write):
        yield _Watched(read, reached.ended), write


class _Watched:
    """A read stream that says when it has ended: the SDK's client does not."""

    def __init__(self, stream: Any, ended: asyncio.Event) -> None:
        self._stream = stream
        self._ended = ended

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        return await self._stream.receive()

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._stream.__aexit__(*error)

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except (StopAsyncIteration, anyio.ClosedResourceError):
            self._ended.set()
            raise


@asynccontextmanager
async def _stdio(name: str, settings: MCPServerSettings, masking: Masking, reached: Reached) -> AsyncGenerator[Any, None]:
    parameters = _parameters(settings)
    async with AsyncExitStack() as stack:
        read, write = os.pipe()
        with os.fdopen(write, "w") as errors:  # ours is closed as soon as the process has its own
            reading = os.fdopen(read, "rb", buffering=0)
            stack.callback(reading.close)
            loop = asyncio.get_running_loop()
            pipe, _ = await loop.connect_read_pipe(lambda: _StandardError(name, masking, reached), reading)
            stack.callback(pipe.close)
            stack.push_async_callback(_until_read, reached)
            streams = await stack.enter_async_context(stdio_client(parameters, errors))
        yield streams


async def _until_read(reached: Reached) -> None:
    """Waits for the last lines of a process that has ended."""
    try:
        async with asyncio.timeout(_STDERR_WAIT):
            await reached.stderr_ended.wait()
    except TimeoutError:
        logger.debug("standard error is still open: somebody else has it too")


def _parameters(settings: MCPServerSettings) -> StdioServerParameters:
    env = {name: value.get_secret_value() for name, value in settings.env.items()}
    command = settings.command
    assert command is not None
    _check_command(command, settings.cwd, env.get("PATH"))
    line = [command, *settings.args]
    if sys.platform == "linux" and sys.executable:
        line = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *line]
    return StdioServerParameters(command=line[0], args=line[1:], env=env, cwd=settings.cwd, encoding_error_handler="replace")


def _check_command(command: str, cwd: Path | None, path: str | None) -> None:
    """Raises OSError for a command that there is not, or that is no program, and for a folder that there is not."""
    if cwd is not None and not cwd.is_dir():
        raise FileNotFoundError(2, f"its `cwd`, `{cwd}`, is no folder")
    if os.sep not in command:
        if shutil.which(command, path=path) is None:
            raise FileNotFoundError(2, "no such program" + ("; put arguments into `args`" if " " in command else ""))
        return
    program = (cwd or Path()) / command
    if not program.is_file():
        raise FileNotFoundError(2, "no such file")
    if not os.access(program, os.X_OK):
        raise PermissionError(13, "not executable")


class _StandardError(asyncio.Protocol):
    """Logs what a server writes to its standard error, line by line."""

    def __init__(self, name: str, masking: Masking, reached: Reached) -> None:
        self._name = name
        self._masking = masking
        self._reached = reached
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._tell(line)
        self._rest = rest[:_LINE_LIMIT]

    def eof_received(self) -> None:
        self._tell(self._rest)
        self._rest = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._reached.stderr_ended.set()

    def _tell(self, line: bytes) -> None:
        text = self._masking.text(line[:_LINE_LIMIT].decode(errors="replace").rstrip())
        if text:
            self._reached.stderr.append(text)
            logger.info("MCP server `%s`: %s", self._name, text)

"""One client over standard input and output."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, BinaryIO, cast

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter
from pydantic import ValidationError

from mcp_agent.observability.stdio import Wire
from mcp_agent.server.app_server import AgentServer

_BACKLOG = 64
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


async def serve_stdio(server: AgentServer, wire: Wire, stop: asyncio.Event) -> None:
    """Serves one client until it closes its end, or until `stop`. Calls under way are answered before the end."""
    lines = Lines(wire.stdin)
    refusals = Refusals()
    stdin = cast("Any", _until_over(lines, server, refusals))
    stdout = anyio.wrap_file(TextIOWrapper(wire.stdout, encoding="utf-8", write_through=True))
    stopping = asyncio.create_task(_end_when(stop, lines))
    try:
        async with stdio_server(stdin=stdin, stdout=stdout) as (read, write):
            refusals.to.set_result(write.send)
            await server.mcp.run(read, write, server.mcp.create_initialization_options())
    finally:
        stopping.cancel()


async def _end_when(stop: asyncio.Event, lines: Lines) -> None:
    await stop.wait()
    lines.end()


async def _until_over(lines: Lines, server: AgentServer, refusals: Refusals) -> AsyncIterator[str]:
    while (line := await lines.next()) is not None:
        if not line.strip() or await refusals.refused(line):
            continue
        yield line
    await server.drain()


class Refusals:
    """Answers lines that are no messages: the SDK lets them fall, and a client would wait for ever.

    Attributes:
        to: Sends to the client; known once the transport is open.
    """

    def __init__(self) -> None:
        self.to: asyncio.Future[Callable[[SessionMessage], Awaitable[None]]] = asyncio.get_running_loop().create_future()

    async def refused(self, line: str) -> bool:
        """Whether the line was no message, and its sender was told so."""
        try:
            jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValidationError as error:
            refusal = _refusal(line, error)
        else:
            return False
        send = await self.to
        with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await send(SessionMessage(refusal))
        return True


def _refusal(line: str, error: ValidationError) -> JSONRPCError:
    """With the id of a request that has one that can be read: its sender waits for it."""
    if error.errors()[0]["type"] == "json_invalid":
        try:
            given: Any = json.loads(line)  # it reads half characters, which are the one mistake of a text that was meant well
        except (ValueError, RecursionError):
            return JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=PARSE_ERROR, message="The line is no JSON."))
        told = ErrorData(code=PARSE_ERROR, message="The JSON cannot be read: it has half a character, or is nested too deep.")
    else:
        given = json.loads(line)
        told = ErrorData(code=INVALID_REQUEST, message="The line is no JSON-RPC request, notification or response.")
    return JSONRPCError(jsonrpc="2.0", id=_id_of(given), error=told)


def _id_of(given: Any) -> int | str | None:
    """The id of what was meant as a request, if it can be sent back."""
    number: Any = cast("dict[str, Any]", given).get("id") if isinstance(given, dict) and "method" in given else None
    if isinstance(number, str):
        return None if _HALF_CHARACTER.search(number) else number
    return number if isinstance(number, int) and not isinstance(number, bool) else None


class Lines:
    """The lines of a stream, read by a thread that nobody has to wait for when the process ends."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(_BACKLOG)
        self._waiting = anyio.CancelScope()
        threading.Thread(target=self._copy, name="stdin", daemon=True).start()

    def end(self) -> None:
        """No more lines, whatever comes."""
        self._waiting.cancel()

    async def next(self) -> str | None:
        """The next line; `None` after the last."""
        if self._waiting.cancel_called:
            return None
        with anyio.CancelScope() as self._waiting:
            return await self._lines.get()
        return None

    def _copy(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            for line in self._source:
                self._put(line.decode("utf-8", "replace"))
            self._put(None)

    def _put(self, line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(self._lines.put(line), self._loop).result()

"""A relay between an SDK and a fake provider: it passes requests on, and does to the next ones what no fake can do."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers by itself, with these bytes."""

    data: bytes


Fault = Literal["reset", "cut", "stall"] | Answers
"""`reset` and `cut` end the connection in the middle of the answer, rudely or not; `stall` says nothing more from there."""


@dataclass
class Relay:
    """Each request has a connection of its own.

    Attributes:
        upstream: The address that requests are passed on to; its path goes before theirs.
        faults: What happens to the next answers; after them nothing does.
        hold_from: Which requests, counted from 1, wait until `go` is set; `held` tells that one waits.
        requests: What was asked, heads and bodies.
    """

    _reserved: socket.socket
    upstream: str = ""
    faults: deque[Fault] = field(default_factory=deque)
    hold_from: int | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[bytes] = field(default_factory=list)
    _server: asyncio.Server | None = None

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._reserved.getsockname()[1]}"

    def reset(self, upstream: str, *faults: Fault, hold_from: int | None = None) -> None:
        """Begins anew, with another script."""
        self.upstream, self.faults, self.hold_from = upstream, deque(faults), hold_from
        self.held, self.go, self.requests = asyncio.Event(), asyncio.Event(), []

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=_bound(self._reserved.getsockname()))

    async def refuse(self) -> None:
        """Connections are refused until `listen` is called again; the port stays ours."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            self.requests.append(request)
            if self.hold_from is not None and len(self.requests) >= self.hold_from:
                self.held.set()
                await self.go.wait()
            fault = self.faults.popleft() if self.faults else None
            answer = fault.data if isinstance(fault, Answers) else await self._asked(request)
            if fault in ("reset", "cut", "stall"):
                writer.write(answer[: answer.index(b"\r\n\r\n") + 4 + 40])
                await writer.drain()
                if fault == "stall":
                    await reader.read()
                elif fault == "reset":
                    writer.transport.abort()
            else:
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone: it may
        finally:
            writer.close()

    async def _asked(self, request: bytes) -> bytes:
        address = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        method, _, rest = request.partition(b" ")
        try:
            writer.write(method + b" " + address.path.encode() + rest)
            return await _read(reader)
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """A request or an answer, changed so that its connection ends with it."""
    head = (await reader.readuntil(b"\r\n\r\n")).rstrip().split(b"\r\n")
    values = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head[1:])}
    kept = [line for line in head if not line.lower().startswith((b"connection:", b"keep-alive:"))]
    body = await _chunks(reader) if b"transfer-encoding" in values else b""
    body += await reader.readexactly(int(values.get(b"content-length", 0)))
    return b"\r\n".join([*kept, b"connection: close", b"", body])


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body as it is sent; what there is of it, if the connection ends before."""
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        more = await reader.read(65_536)
        if not more:
            return body
        body += more
    return body


def _bound(address: tuple[str, int]) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(address)
    return made


@asynccontextmanager
async def relay() -> AsyncGenerator[Relay, None]:
    """A relay on a free port that stays its own while connections are refused."""
    with _bound(("127.0.0.1", 0)) as reserved:
        made = Relay(reserved)
        await made.listen()
        try:
            yield made
        finally:
            await made.refuse()

"""Servers of which every byte is known, for faults of providers that no fake of them can make."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

Respond = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Hands every request's body to `respond`, which writes what it likes; a connection ends when it closes it.

    Attributes:
        connections: How many there were.
        asked: A request has come.
        client_gone: A client has closed its connection.
        heads: Of all requests: their first lines and headers.
        bodies: Of all requests: their JSON.
        url: Where it listens, as a base URL.
    """

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.connections = 0
        self.asked = asyncio.Event()
        self.client_gone = asyncio.Event()
        self.heads: list[str] = []
        self.bodies: list[Any] = []
        self.url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                body = await reader.readexactly(length)
                self.heads.append(head.decode())
                self.bodies.append(json.loads(body))
                self.asked.set()
                await self._respond(body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.client_gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(respond: Respond, path: str = "/v1") -> AsyncGenerator[RawServer]:
    served = RawServer(respond)
    server = await asyncio.start_server(served, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
    try:
        yield served
    finally:
        server.close()


def http(body: bytes, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """A whole response; underscores in names of headers become hyphens."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in {"content_type": "application/json", **headers}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def writes(*answers: bytes, close: bool = False, reset: bool = False) -> Respond:
    """Each request gets the next answer; the last one is repeated."""
    left = list(answers)

    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        if reset:
            writer.transport.abort()
        elif close:
            writer.close()

    return respond


async def stalls(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
    await writer.drain()


def sse(*events: Any, missing: int = 0) -> bytes:
    """A streamed response with these events: texts as they are, all else as JSON, with its `type` as the event's name.

    `missing` bytes more are announced than are written.
    """
    body = "".join(_event(one) for one in events).encode()
    return http(body, length=len(body) + missing, content_type="text/event-stream; charset=utf-8")


def _event(event: Any) -> str:
    if isinstance(event, str):
        return f"data: {event}\n\n"
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n"


@contextmanager
def unused_port() -> Iterator[int]:
    """A port that nothing listens on, held so that nothing else takes it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]

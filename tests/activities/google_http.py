"""A server of Gemini's API of which every byte is known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Respond = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class GeminiServer:
    """Hands every request's body to `respond`, which writes what it likes; a connection ends when it closes it."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self.heads: list[bytes] = []
        self.bodies: list[Any] = []
        self.connections = 0
        self.asked = asyncio.Event()
        self.client_gone = asyncio.Event()
        self.url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
                body = await reader.readexactly(length)
                self.heads.append(head)
                self.bodies.append(json.loads(body))
                self.asked.set()
                await self._respond(body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.client_gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def gemini_server(respond: Respond) -> AsyncGenerator[GeminiServer]:
    served = GeminiServer(respond)
    server = await asyncio.start_server(served, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()


def http(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in {"content_type": "application/json", **headers}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def sse(*chunks: Any) -> bytes:
    """The whole of a stream of these; a text goes out as it is."""
    body = "".join(chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks)
    return http(body.encode(), content_type="text/event-stream")


def said(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """An answer, or a piece of one where there is no `finish`."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-3.8-flash-001", **more}


def refused(status: str, code: int, message: str = "said Google", *details: dict[str, Any], **headers: str) -> bytes:
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return http(json.dumps({"error": error}).encode(), f"{code} {status}", **headers)


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


def says(*answers: dict[str, Any]) -> Respond:
    return writes(*(http(json.dumps(answer).encode()) for answer in answers))


def stalls_after(beginning: bytes) -> Respond:
    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        await writer.drain()

    return respond

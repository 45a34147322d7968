"""A client that writes and reads JSON-RPC over streamable HTTP itself, so that it is never what is measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

MODERN = "2026-07-28"
TASKS = "io.modelcontextprotocol/tasks"


def request(url: str, method: str, params: Mapping[str, Any], token: str | None = None, *, tasks: bool = False) -> bytes:
    """A request of the protocol of 2026-07-28, as it goes over the wire."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}} if tasks else {},
    }
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}})
    headers = {
        "Host": urlsplit(url).netloc,
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": method,
        **({"Mcp-Name": params["name"]} if "name" in params else {}),
        **({} if token is None else {"Authorization": f"Bearer {token}"}),
        "Content-Length": str(len(body)),
    }
    lines = [f"POST {urlsplit(url).path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", body]).encode()


def call(url: str, tool: str, arguments: Mapping[str, Any], token: str | None = None) -> bytes:
    """A call of a tool, as it goes over the wire."""
    return request(url, "tools/call", {"name": tool, "arguments": arguments}, token)


class Wire:
    """One connection, which is kept."""

    def __init__(self, read: asyncio.StreamReader, write: asyncio.StreamWriter) -> None:
        self._read = read
        self._write = write

    @staticmethod
    @asynccontextmanager
    async def connected(url: str) -> AsyncGenerator[Wire, None]:
        address = urlsplit(url)
        read, write = await asyncio.open_connection(address.hostname, address.port)
        try:
            yield Wire(read, write)
        finally:
            write.close()

    async def answer(self, sent: bytes) -> bytes:
        """What the server answers, in full."""
        self._write.write(sent)
        return b"".join([part async for part in self._parts()])

    async def result(self, sent: bytes) -> dict[str, Any]:
        """The result of a request. Raises KeyError where it has none."""
        text = (await self.answer(sent)).decode()
        last = text if text.startswith("{") else text.rstrip().rpartition("data: ")[2]
        return json.loads(last)["result"]

    async def events(self, sent: bytes) -> AsyncGenerator[dict[str, Any], None]:
        """The messages of a stream, until it ends."""
        self._write.write(sent)
        async for part in self._parts():
            for line in part.decode().splitlines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    async def _parts(self) -> AsyncGenerator[bytes, None]:
        head = (await self._read.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(head.decode())
        if b"content-length:" in head:
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            yield await self._read.readexactly(int(length))
            return
        while size := int(await self._read.readuntil(b"\r\n"), 16):
            yield (await self._read.readexactly(size + 2))[:-2]
        await self._read.readexactly(2)

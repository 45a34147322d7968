"""Stands for the load balancer in front of a cluster, and for the network that loses connections."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress


class Balancer:
    """Passes each connection to the next of its backends that takes one.

    Attributes:
        address: Where it listens.
        connections: How many it has taken.
    """

    def __init__(self, backends: Sequence[str]) -> None:
        self._backends = [(host, int(port)) for host, port in (backend.rsplit(":", 1) for backend in backends)]
        self._turn = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.connections = 0

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Drops every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        backend = await self._open_backend()
        if backend is None:
            writer.transport.abort()
            return
        theirs, to_them = backend
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, to_them))
                both.create_task(_copy(theirs, writer))
        finally:
            writer.transport.abort()
            to_them.transport.abort()

    async def _open_backend(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._turn)
        for number in range(len(self._backends)):
            with suppress(OSError):
                return await asyncio.open_connection(*self._backends[(first + number) % len(self._backends)])
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def balanced(backends: Sequence[str]) -> AsyncGenerator[Balancer, None]:
    made = Balancer(backends)
    await made.listen()
    try:
        yield made
    finally:
        await made.close()

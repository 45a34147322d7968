"""Stands for the load balancer in front of Temporal, and for the network that loses connections."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteStream, SocketAttribute


class Balancer:
    """Passes each connection to the next of its backends that takes one.

    Attributes:
        address: Where it listens.
        connections: How many it has taken.
    """

    address: str

    def __init__(self, backends: Sequence[str]) -> None:
        self.connections = 0
        self._backends = [(host, int(port)) for host, port in (backend.rsplit(":", 1) for backend in backends)]
        self._turn = itertools.count()
        self._open: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        """Drops every connection."""
        for scope in self._open:
            scope.cancel()

    async def take(self, client: ByteStream) -> None:
        self.connections += 1
        with anyio.CancelScope() as scope:
            self._open.add(scope)
            try:
                async with client:
                    await self._pass(client)
            finally:
                self._open.discard(scope)

    async def _pass(self, client: ByteStream) -> None:
        backend = await self._open_backend()
        if backend is None:
            return
        async with backend, anyio.create_task_group() as both:
            both.start_soon(_copy, client, backend, both.cancel_scope)
            both.start_soon(_copy, backend, client, both.cancel_scope)

    async def _open_backend(self) -> ByteStream | None:
        first = next(self._turn)
        for number in range(len(self._backends)):
            with suppress(OSError):
                return await anyio.connect_tcp(*self._backends[(first + number) % len(self._backends)])
        return None


async def _copy(source: ByteStream, target: ByteStream, both: anyio.CancelScope) -> None:
    """Until one of them ends, which ends both."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for data in source:
            await target.send(data)
    both.cancel()


@asynccontextmanager
async def balanced(backends: Sequence[str]) -> AsyncGenerator[Balancer, None]:
    """A balancer before these, while it is open."""
    balancer = Balancer(backends)
    async with accepting(balancer.take) as balancer.address:
        yield balancer


@asynccontextmanager
async def accepting(take: Callable[[ByteStream], Awaitable[None]], backlog: int = 100) -> AsyncGenerator[str, None]:
    """The address where connections are taken while it is open; after that none are, and none is left."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=backlog) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, take)
        yield f"127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()

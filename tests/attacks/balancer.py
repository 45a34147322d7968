"""A reverse proxy before several servers, which keeps no client at one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from httpx2 import URL

from tests.tcp_balancer import accepting

CLIENT = b"x-client"
LONGEST_HEAD = 65_536


@dataclass
class Balancer:
    """Passes on one request a connection; streams come through as they are written.

    Attributes:
        upstreams: The servers.
        served: How many requests each has got.
    """

    upstreams: Sequence[URL]
    served: Counter[str] = field(default_factory=Counter[str])
    _turns: Counter[bytes] = field(default_factory=Counter[bytes])

    def next_for(self, client: bytes) -> URL:
        """In turns, for each client: no two of its requests after one another reach the same server."""
        self._turns[client] += 1
        upstream = self.upstreams[self._turns[client] % len(self.upstreams)]
        self.served[str(upstream)] += 1
        return upstream

    async def serve(self, client: ByteStream) -> None:
        with suppress(anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):  # it has gone: it may
            async with client:
                asked = BufferedByteReceiveStream(client)
                head = await asked.receive_until(b"\r\n\r\n", LONGEST_HEAD)
                lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
                fields = {name.lower(): value.strip() for name, _, value in lines}
                body = await asked.receive_exactly(int(fields.get(b"content-length", 0)))
                upstream = self.next_for(fields.get(CLIENT, b""))
                async with await anyio.connect_tcp(upstream.host, upstream.port or 80) as server:
                    await server.send(head + b"\r\nConnection: close\r\n\r\n" + body)
                    async for piece in server:
                        await client.send(piece)


@asynccontextmanager
async def balancing(upstreams: Sequence[str]) -> AsyncGenerator[tuple[str, Balancer]]:
    """The address of a balancer before these, and the balancer."""
    balancer = Balancer([URL(upstream) for upstream in upstreams])
    async with accepting(balancer.serve, backlog=512) as address:
        yield f"http://{address}", balancer

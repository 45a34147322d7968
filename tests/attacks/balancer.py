"""A reverse proxy before several servers, which keeps no client at one of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from httpx2 import URL

CLIENT = b"x-client"


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

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = {
                name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
            }
            body = await reader.readexactly(int(fields.get(b"content-length", 0)))
            upstream = self.next_for(fields.get(CLIENT, b""))
            answers, asks = await asyncio.open_connection(upstream.host, upstream.port)
            try:
                asks.write(head.rstrip() + b"\r\nConnection: close\r\n\r\n" + body)
                while piece := await answers.read(65_536):
                    writer.write(piece)
                    await writer.drain()
            finally:
                asks.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone: it may
        finally:
            writer.close()


@asynccontextmanager
async def balancing(upstreams: Sequence[str]) -> AsyncGenerator[tuple[str, Balancer]]:
    """The address of a balancer before these, and the balancer."""
    balancer = Balancer([URL(upstream) for upstream in upstreams])
    async with await asyncio.start_server(balancer.serve, "127.0.0.1", 0, backlog=512) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", balancer

"""Pages for machines, beside the MCP server and without its auth: `/metrics`, `/healthz` and `/readyz`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any

from mcp_agent.config_observability import ListenSettings, ObservabilitySettings
from mcp_agent.observability.health import Look, recent
from mcp_agent.observability.metrics import Measurements, Metrics
from mcp_agent.sockets import address_of, bound_socket, serve_app

PROBES = ("/healthz", "/readyz")
PLAIN = "text/plain; charset=utf-8"
Answer = tuple[int, str, bytes]
Page = Callable[[str], Awaitable[Answer]]
"""Told what the client accepts."""


def health_pages(look: Look) -> dict[str, Page]:
    """`/healthz` for whoever restarts the process, `/readyz` for whoever sends it work."""
    look = recent(look)

    async def alive(_: str) -> Answer:
        health = await look()
        return _told(health.alive, health.problem)

    async def ready(_: str) -> Answer:
        health = await look()
        return _told(health.alive and health.ready, health.problem)

    return dict(zip(PROBES, (alive, ready), strict=True))


def _told(well: bool, problem: str) -> Answer:
    return 200 if well else 503, PLAIN, b"ok\n" if well else f"{problem or 'not ready'}\n".encode()


def metrics_pages(metrics: Metrics) -> dict[str, Page]:
    """`/metrics`; none where nothing is measured."""
    if not isinstance(metrics, Measurements):
        return {}
    # Imported when it is asked for: `prometheus_client` takes a moment.
    exposition = import_module("mcp_agent.observability.exposition").Exposition(metrics)

    async def page(accept: str) -> Answer:
        return 200, *exposition.page(accept)

    return {"/metrics": page}


class Pages:
    """An ASGI app of a few pages."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self.pages = pages

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        page = self.pages.get(scope["path"])
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
        if page is None:
            status, content_type, body = 404, PLAIN, b"there is nothing here\n"
        elif scope["method"] not in ("GET", "HEAD"):
            status, content_type, body = 405, PLAIN, b"only read\n"
        else:
            status, content_type, body = await page(accept)
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


@asynccontextmanager
async def endpoints(settings: ObservabilitySettings, metrics: Metrics, look: Look) -> AsyncGenerator[None, None]:
    """Serves what the settings ask for, until the block ends; where, is said on standard error.

    Raises:
        ConfigError: A port is in use.
    """
    asked = {
        "metrics": (settings.metrics, metrics_pages(metrics) if settings.metrics is not None else {}),
        "health": (settings.health, health_pages(look)),
    }
    async with AsyncExitStack() as stack:
        for address, pages, names in _by_address(asked):
            listener = stack.enter_context(contextlib.closing(_bound(address, names)))
            await stack.enter_async_context(_served(Pages(pages), listener))
            at = address_of(listener, address.host)
            sys.stderr.write(f"{' and '.join(names)}: {', '.join(at + path for path in pages)}\n")
        yield


def _by_address(
    asked: Mapping[str, tuple[ListenSettings | None, dict[str, Page]]],
) -> list[tuple[ListenSettings, dict[str, Page], list[str]]]:
    """Parts with one address share a server."""
    servers: dict[tuple[str, int, str], tuple[ListenSettings, dict[str, Page], list[str]]] = {}
    for name, (address, pages) in asked.items():
        if address is not None:
            own = name if address.port == 0 else ""
            _, known, names = servers.setdefault((address.host, address.port, own), (address, {}, []))
            known.update(pages)
            names.append(name)
    return list(servers.values())


def _bound(address: ListenSettings, names: list[str]) -> socket.socket:
    keys = " and ".join(f"`observability.{name}.port`" for name in names)
    return bound_socket(address.host, address.port, f"give each process its own {keys}, or 0 for any that is free")


@asynccontextmanager
async def _served(app: Pages, listener: socket.socket) -> AsyncGenerator[None, None]:
    stop = asyncio.Event()
    serving = asyncio.create_task(serve_app(app, listener, stop, lifespan="off", grace=1), name="endpoints")
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(serving, return_exceptions=True)

"""What `codec-server` and `storage gc` do."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from datetime import timedelta

from mcp_agent.app import MCPApp
from mcp_agent.cli.loading import age
from mcp_agent.config import CodecServerSettings, Settings
from mcp_agent.errors import ConfigError
from mcp_agent.executor.temporal.blobs.collecting import SHORTEST, collect
from mcp_agent.executor.temporal.connection import open_connection
from mcp_agent.executor.temporal.dev_server import data_dir, status
from mcp_agent.executor.temporal.storing import configured_converter, driver_of
from mcp_agent.server.codec_server import check_codec_binding, codec_app
from mcp_agent.server.stopping import on_signals
from mcp_agent.sockets import bound_socket, serve_app


async def serve_codec(settings: Settings, host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM.

    Raises:
        ConfigError: A key or the address cannot be used, or nothing is encrypted.
    """
    asked = settings.temporal.codec_server
    check_codec_binding(asked, host)
    if settings.temporal.data_converter is None and settings.temporal.external_storage is None:
        raise ConfigError("There is nothing to decode: the configuration has no `temporal.data_converter`.")
    asked = asked.model_copy(update={"allowed_origins": [*asked.allowed_origins, *_embedded_page(settings)]})
    converter = await asyncio.to_thread(configured_converter, settings.temporal, writes=False)
    listener = bound_socket(host, port, "choose another with `--port` or `temporal.codec_server.port`")
    with contextlib.closing(listener), on_signals() as stop:
        async with codec_app(converter, settings.temporal.namespace, asked, host) as app:
            sys.stderr.write(f"codec server at http://{host}:{listener.getsockname()[1]}, {_allowed(asked)}\n")
            await serve_app(app, listener, stop)


def _allowed(asked: CodecServerSettings) -> str:
    pages = ", ".join(asked.allowed_origins) or "no web page (see `temporal.codec_server.allowed_origins`)"
    return f"for {pages}"


def _embedded_page(settings: Settings) -> Sequence[str]:
    """The origins of the embedded Temporal's web page, where that is in use and runs."""
    server = status(data_dir(settings.temporal.data_dir)) if settings.temporal.embedded else None
    if server is None or not server.ui_url:
        return ()
    page = server.ui_url.rstrip("/")
    return (page, page.replace("127.0.0.1", "localhost"))


async def collect_unneeded(settings: Settings, older_than: str, *, dry_run: bool) -> str:
    """What was removed, in a sentence.

    Raises:
        ConfigError: There is no storage, it is another Temporal's, or the age is none.
        StorageUnavailable: It cannot be reached.
        EngineUnavailable: Temporal cannot be.
    """
    age = _age(older_than)
    if settings.temporal.external_storage is None:
        raise ConfigError("No large values are kept elsewhere: the configuration has no `temporal.external_storage`.")
    app = MCPApp("storage")
    app.use(settings)
    async with open_connection(app) as connection:
        driver = driver_of(connection.client.data_converter)
        assert driver is not None
        done = await collect(connection.client, driver, age, dry_run=dry_run)
    verb = "would be removed" if dry_run else "removed"
    return f"{done.removed} values of {done.removed_bytes:,} bytes {verb}, {done.kept} kept; {done.runs} runs were read"


def _age(text: str) -> timedelta:
    given = age("--older-than", text)
    if given < SHORTEST:
        raise ConfigError(f"`--older-than` is `{text}`: at least `1h`, for what is stored before the run's history names it.")
    return given

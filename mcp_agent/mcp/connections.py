"""Connections to downstream MCP servers: one a server, shared by all steps of a worker, rebuilt when it dies.

`mcp.Client` must be entered and left by the same task and never reconnects, so each connection has a task that owns it.
`mcp.client` takes half a second to import, so that is done when the first connection is opened.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mcp_agent.config import MCPServerSettings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.problems import did_you_mean

if TYPE_CHECKING:
    from mcp.client import Client
    from mcp_types import CallToolResult, Tool

T = TypeVar("T")

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 10.0


class ConnectionManager:
    """The downstream servers of the configuration, opened on first use.

    Args:
        servers: The `mcp.servers` section.
    """

    def __init__(self, servers: Mapping[str, MCPServerSettings]) -> None:
        self._connections = {name: _Connection(name, settings) for name, settings in servers.items()}

    async def list_tools(self, server: str) -> list[Tool]:
        """All tools of a server, all pages.

        Raises:
            WorkflowApplicationError: Type `DownstreamNotConfigured`, `DownstreamUnavailable`, `DownstreamTimeout` or
                `DownstreamError` (the server refused), also below.
        """
        return await self._of(server).use("tools/list", _list_all)

    async def call_tool(self, server: str, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """One call. Its deadline is the server's `call_timeout_seconds`; at its end the server is told to stop."""
        return await self._of(server).use(f"tool `{tool}`", lambda client: client.call_tool(tool, arguments))

    def allows(self, server: str, tool: str) -> bool:
        """Whether the configuration lets models use the tool."""
        allowed = self._of(server).settings.allowed_tools
        return allowed is None or tool in allowed

    async def aclose(self) -> None:
        """Closes all; the processes of stdio servers are gone then."""
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))

    def _of(self, server: str) -> _Connection:
        connection = self._connections.get(server)
        if connection is None:
            hint = did_you_mean(server, self._connections)
            raise WorkflowApplicationError(
                f"`mcp.servers` of the configuration has no `{server}`. {hint}",
                type="DownstreamNotConfigured",
                non_retryable=True,
            )
        return connection


class _Connection:
    """One server. `_owner` is the task that holds the client open, until `_stop` is set."""

    def __init__(self, name: str, settings: MCPServerSettings) -> None:
        self.settings = settings
        self._name = name
        self._opening = asyncio.Lock()
        self._owner: asyncio.Task[None] | None = None
        self._client: Client | None = None
        self._stop = asyncio.Event()
        self._in_use = 0
        self._idle: asyncio.TimerHandle | None = None

    async def use(self, what: str, operation: Callable[[Client], Awaitable[T]]) -> T:
        """Runs one operation on an open client, within its deadline."""
        self._in_use += 1
        try:
            client = await self._open()
            return await self._run(what, client, operation)
        finally:
            self._in_use -= 1
            self._close_when_idle()

    async def _run(self, what: str, client: Client, operation: Callable[[Client], Awaitable[T]]) -> T:
        from mcp.shared.exceptions import MCPError  # noqa: PLC0415 - see the module's docstring

        limit = asyncio.timeout(self.settings.call_timeout_seconds)
        try:
            async with limit:
                return await operation(client)
        except TimeoutError:
            if not limit.expired():
                raise
            text = f"{what} of MCP server `{self._name}` took longer than {self.settings.call_timeout_seconds:g} s."
            raise WorkflowApplicationError(text, type="DownstreamTimeout") from None
        except MCPError as error:
            if self._owner is None or self._owner.done() or _is_closed(error):
                await self.close()
                raise self._unavailable("closed its connection") from None
            text = f"{what} of MCP server `{self._name}` was refused: {error} (code {error.code})."
            raise WorkflowApplicationError(text, type="DownstreamError", non_retryable=True) from None
        except Exception as error:
            await self.close()
            raise self._unavailable(f"broke off: {_root(error)!r}") from None

    async def _open(self) -> Client:
        async with self._opening:
            if self._owner is not None and self._owner.done():
                self._client = None
            if self._client is None:
                self._stop = asyncio.Event()
                opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
                # A context of its own: the task outlives the step that happens to open the connection.
                self._owner = asyncio.create_task(
                    self._own(opened, self._stop), name=f"mcp-{self._name}", context=contextvars.Context()
                )
                self._client = await opened
            return self._client

    async def _own(self, opened: asyncio.Future[Client], stop: asyncio.Event) -> None:
        try:
            async with self._entered() as client:
                if not opened.done():
                    opened.set_result(client)
                    await stop.wait()
        except Exception as error:
            if opened.done():
                logger.info("MCP server `%s` broke off: %r", self._name, _root(error))
            else:
                opened.set_exception(self._cannot_connect(_root(error)))

    @asynccontextmanager
    async def _entered(self) -> AsyncGenerator[Client, None]:
        from mcp.client import Client  # noqa: PLC0415 - see the module's docstring

        client = Client(self._target())
        async with asyncio.timeout(self.settings.connect_timeout_seconds):
            await client.__aenter__()
        try:
            yield client
        finally:
            await client.__aexit__(None, None, None)

    def _target(self) -> Any:
        settings = self.settings
        if settings.command is not None:
            from mcp.client.stdio import StdioServerParameters  # noqa: PLC0415

            env = {name: value.get_secret_value() for name, value in settings.env.items()}
            return StdioServerParameters(command=settings.command, args=settings.args, env=env, cwd=settings.cwd)
        assert settings.url is not None
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        if settings.transport == "sse":
            from mcp.client.sse import sse_client  # noqa: PLC0415

            return sse_client(settings.url, headers=headers)
        from httpx2 import AsyncClient, Timeout  # noqa: PLC0415
        from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

        timeout = Timeout(settings.connect_timeout_seconds, read=settings.call_timeout_seconds)
        return streamable_http_client(settings.url, http_client=AsyncClient(headers=headers, timeout=timeout))

    def _cannot_connect(self, error: BaseException) -> WorkflowApplicationError:
        where = f"command `{self.settings.command}`" if self.settings.command is not None else f"`{self.settings.url}`"
        if isinstance(error, TimeoutError):
            limit = f"{self.settings.connect_timeout_seconds:g} s"
            return WorkflowApplicationError(
                f"MCP server `{self._name}` ({where}) did not answer within {limit}.", type="DownstreamTimeout"
            )
        if self.settings.command is not None and isinstance(error, OSError) and not isinstance(error, ConnectionError):
            return WorkflowApplicationError(
                f"MCP server `{self._name}` cannot be started: {where}: {error.strerror}. Check `mcp.servers.{self._name}`.",
                type="DownstreamUnavailable",
                non_retryable=True,
            )
        return self._unavailable(f"({where}) cannot be reached: {type(error).__name__}: {error}")

    def _unavailable(self, what: str) -> WorkflowApplicationError:
        return WorkflowApplicationError(f"MCP server `{self._name}` {what}.", type="DownstreamUnavailable")

    def _close_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._in_use == 0 and self._client is not None:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self.settings.idle_timeout_seconds, self._let_go)

    def _let_go(self) -> None:
        if self._in_use == 0:
            self._client = None
            self._stop.set()

    async def close(self) -> None:
        """Ends the connection and waits for it; the next use opens another."""
        owner, self._owner, self._client = self._owner, None, None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._stop.set()
        if owner is not None:
            _, late = await asyncio.wait([owner], timeout=CLOSE_TIMEOUT)
            for task in late:
                task.cancel()


async def _list_all(client: Client) -> list[Tool]:
    tools: list[Tool] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor, cache_mode="bypass")
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return tools


def _is_closed(error: Any) -> bool:
    return error.code == -32000  # the SDK's code for a connection that has ended


def _root(error: BaseException) -> BaseException:
    """The first plain exception of a group: task groups hide what went wrong."""
    found: Any = error
    while isinstance(found, BaseExceptionGroup):
        found = cast("BaseExceptionGroup[BaseException]", found).exceptions[0]
    return found

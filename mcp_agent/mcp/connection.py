"""One downstream server: its connection, opened on first use, closed when idle, and opened again when the server dies.

`mcp.Client` must be entered and left by the same task and never reconnects, so each connection has a task that owns it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx2
from mcp import MCPError
from mcp.client import Client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp_types import ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_agent.config import MCPServerSettings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.mcp.auth import auth_for
from mcp_agent.mcp.callbacks import Callbacks
from mcp_agent.mcp.guard import CANNOT_RUN
from mcp_agent.mcp.masking import Masking
from mcp_agent.mcp.transport import Notes, Reached, notes, transport_to
from mcp_agent.mcp.trouble import TOO_LARGE, Trouble, as_trouble

T = TypeVar("T")

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 10.0
LONGEST_PAUSE = 30.0
"""Seconds that a server which cannot be opened, again and again, is left alone at most."""

_FIRST_PAUSE = 1.0


@dataclass(slots=True, eq=False)
class Link:
    """One life of a connection. `ready` is set when there is a client, or an error instead.

    Attributes:
        proven: Whether an operation has succeeded on it.
        broke: What ended it, if it did not end by itself.
        changed: Whether the server has said that its tools are others now.
        catalogue: Stands for the tools that it listed last.
    """

    reached: Reached = field(default_factory=Reached)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    client: Client | None = None
    owner: asyncio.Task[None] | None = None
    error: WorkflowApplicationError | None = None
    proven: bool = False
    broke: BaseException | None = None
    changed: bool = False
    catalogue: str | None = None

    @property
    def usable(self) -> bool:
        """Whether it is open, or about to be."""
        over = self.owner is None or self.owner.done() or self.stop.is_set()
        return not over and self.error is None and not self.reached.ended.is_set()


class Connection:
    """Args:
    name: The server's name in the configuration.
    settings: Its section.
    masking: Its secrets.
    callbacks: What answers the server's own requests.
    callers: Gives the token of whoever it is for, where that is passed on.
    """

    def __init__(
        self,
        name: str,
        settings: MCPServerSettings,
        masking: Masking,
        callbacks: Callbacks,
        callers: Callable[[], str] | None = None,
    ) -> None:
        self.settings = settings
        self._name = name
        self._masking = masking
        self._callbacks = callbacks
        self._auth = auth_for(name, settings.auth, settings.url or "", masking.add, callers)
        self._link: Link | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._closed_until = 0.0
        self._last_error = ""
        self._in_use = 0
        self._idle: asyncio.TimerHandle | None = None

    @property
    def resting(self) -> bool:
        """Whether it is closed, and nobody uses it."""
        return self._in_use == 0 and self._link is None and not self._closing

    async def use(self, what: str, operation: Callable[[Link, Client], Awaitable[T]], *, repeatable: bool = True) -> T:
        """Runs one operation on an open client. The caller sets its deadline.

        Raises:
            WorkflowApplicationError: Types as of `as_trouble`, `DownstreamTimeout` (it does not start), and
                `DownstreamOutcomeUnknown` for an operation that broke off and is not `repeatable`.
        """
        self._in_use += 1
        try:
            link = await self._open()
            if link.client is None:
                raise self._unavailable("ended as soon as it had started", None)
            return await self._run(what, link, link.client, operation, repeatable)
        finally:
            self._in_use -= 1
            self._close_when_idle()

    async def _run(
        self,
        what: str,
        link: Link,
        client: Client,
        operation: Callable[[Link, Client], Awaitable[T]],
        repeatable: bool,
    ) -> T:
        noted = Notes()
        notes.set(noted)
        try:
            result = await operation(link, client)
        except WorkflowApplicationError:
            raise
        except Exception as error:
            trouble = as_trouble(error, noted, ended=link.reached.ended.is_set())
            if trouble.broken:
                trouble = await self._drop(link, trouble)
            raise self._failure(what, trouble, repeatable, link.reached.last_words()) from None
        link.proven = True
        self._failures = 0
        return result

    def _failure(self, what: str, trouble: Trouble, repeatable: bool, last_words: str) -> WorkflowApplicationError:
        text = f"{what} of MCP server `{self._name}` {trouble.what}"
        if trouble.broken and last_words:
            text += f" ({last_words})"
        text = self._masking.text(text)
        unsure = trouble.unsure and not repeatable
        if unsure:
            text += ". Whether it was carried out is not known, and it says that it must not be done twice: check first"
        return WorkflowApplicationError(
            f"{text}.",
            type="DownstreamOutcomeUnknown" if unsure else trouble.type,
            non_retryable=unsure or not trouble.retryable,
            next_retry_delay=trouble.retry_after,
        )

    async def _open(self) -> Link:
        link = self._link
        if link is None or not link.usable:
            self._check_pause()
            link = self._link = Link()
            # A context of its own: the task outlives the step that happens to open the connection.
            link.owner = asyncio.create_task(self._own(link), name=f"mcp-{self._name}", context=contextvars.Context())
        await link.ready.wait()
        if link.error is not None:
            raise link.error
        return link

    def _check_pause(self) -> None:
        wait = self._closed_until - asyncio.get_running_loop().time()
        if wait > 0:
            raise self._unavailable(f"{self._last_error}; it is tried again in {math.ceil(wait)} s", wait)

    async def _own(self, link: Link) -> None:
        noted = Notes()
        notes.set(noted)
        try:
            async with self._entered(link) as client:
                link.client = client
                link.ready.set()
                await _first_of(link.stop, link.reached.ended)
        except asyncio.CancelledError:
            link.error = link.error or self._unavailable("was closed", None)
            raise
        except Exception as error:
            if link.ready.is_set():
                link.broke = _root(error)
                logger.info("MCP server `%s` broke off: %s", self._name, self._masking.text(repr(link.broke)))
            else:
                link.error = self._cannot_connect(link, _root(error), noted)
        finally:
            link.client = None
            link.ready.set()

    @asynccontextmanager
    async def _entered(self, link: Link) -> AsyncGenerator[Client, None]:
        transport = transport_to(self._name, self.settings, self._masking, self._auth, link.reached)

        async def noticed(message: Any) -> None:
            if isinstance(message, ToolListChangedNotification):
                link.changed = True

        client = Client(transport, mode=self.settings.protocol, cache=None, message_handler=noticed, **self._callbacks.options())
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self.settings.connect_timeout_seconds):
                await stack.enter_async_context(client)
            listening = asyncio.create_task(self._listen(link, client), name=f"mcp-{self._name}-changes")
            stack.callback(listening.cancel)
            yield client

    async def _listen(self, link: Link, client: Client) -> None:
        """Notes when a server of the newest protocol says that its tools have changed; older ones say it unasked."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            return
        pause = _FIRST_PAUSE
        while True:
            try:
                async with client.listen(tools_list_changed=True) as changes:
                    async for _ in changes:
                        link.changed = True
            except SubscriptionLost:
                link.changed = True  # what was said meanwhile is not said again
            except (ListenNotSupportedError, MCPError) as error:
                logger.debug("MCP server `%s` does not tell of changes: %s", self._name, error)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _cannot_connect(self, link: Link, error: BaseException, noted: Notes) -> WorkflowApplicationError:
        if isinstance(error, TimeoutError):
            text = f"did not answer within {self.settings.connect_timeout_seconds:g} s"
            return self._paused("DownstreamTimeout", text, None)
        if isinstance(noted.error, WorkflowApplicationError):  # no token
            return noted.error
        if self.settings.command is not None:
            return self._cannot_start(error, link.reached.last_words())
        trouble = as_trouble(noted.error or error, noted, ended=link.reached.ended.is_set())
        if not trouble.retryable:
            return WorkflowApplicationError(
                self._masking.text(f"MCP server `{self._name}`{self._where()} {trouble.what}. Check `mcp.servers.{self._name}`."),
                type=trouble.type,
                non_retryable=True,
            )
        return self._paused("DownstreamUnavailable", f"cannot be reached: {trouble.what}", trouble.retry_after)

    def _cannot_start(self, error: BaseException, last_words: str) -> WorkflowApplicationError:
        why = error.strerror if isinstance(error, OSError) and not isinstance(error, ConnectionError) else None
        if why is None and CANNOT_RUN in last_words:
            why = last_words
        if why is None:
            said = last_words or "it said nothing on its standard error"
            return self._paused("DownstreamUnavailable", f"ended while it started ({said})", None)
        return WorkflowApplicationError(
            f"MCP server `{self._name}`{self._where()} cannot be started: {why}. Check `mcp.servers.{self._name}`.",
            type="DownstreamUnavailable",
            non_retryable=True,
        )

    def _paused(self, type_: str, what: str, at_least: timedelta | None) -> WorkflowApplicationError:
        """Counts a failure: before the pause is over, the server is not opened again."""
        wait = self._pause(what, at_least)
        error = self._unavailable(f"{what}; it is tried again in {math.ceil(wait)} s", wait)
        error.type = type_
        return error

    def _pause(self, what: str, at_least: timedelta | None = None) -> float:
        wait = min(_FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        wait = max(wait, at_least.total_seconds() if at_least else 0)
        self._failures += 1
        self._last_error = what
        self._closed_until = asyncio.get_running_loop().time() + wait
        return wait

    def _unavailable(self, what: str, wait: float | None) -> WorkflowApplicationError:
        return WorkflowApplicationError(
            self._masking.text(f"MCP server `{self._name}`{self._where()} {what}."),
            type="DownstreamUnavailable",
            next_retry_delay=None if wait is None else timedelta(seconds=wait),
        )

    def _where(self) -> str:
        if self.settings.command is not None:
            return f" (command `{self.settings.command}`)"
        parts = urlsplit(self.settings.url or "")
        return f" (`{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}`)"

    def _close_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._in_use == 0 and self._link is not None:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self.settings.idle_timeout_seconds, self._let_go)

    def _let_go(self) -> None:
        if self._in_use == 0 and self._link is not None:
            self._end(self._link)

    async def _drop(self, link: Link, trouble: Trouble) -> Trouble:
        """Ends a link that is broken, and gives the trouble that ended it. One that never worked counts as a failure to open."""
        first = self._link is link
        self._end(link)
        if link.owner is not None:
            await asyncio.wait([link.owner], timeout=CLOSE_TIMEOUT)
        if isinstance(link.broke, httpx2.SSEError):
            return TOO_LARGE
        if first and not link.proven:
            self._pause(trouble.what)
        return trouble

    def _end(self, link: Link) -> None:
        if self._link is link:
            self._link = None
        link.stop.set()
        if link.owner is not None and not link.owner.done():
            if not link.ready.is_set():
                link.owner.cancel()
            self._closing.add(link.owner)
            link.owner.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Ends the connection and waits for it; the process of a stdio server is gone then."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._link is not None:
            self._end(self._link)
        if not self._closing:
            return
        _, late = await asyncio.wait(self._closing, timeout=CLOSE_TIMEOUT)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _first_of(*events: asyncio.Event) -> None:
    """Waits until one of them is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _root(error: BaseException) -> BaseException:
    """The first plain exception of a group: task groups hide what went wrong."""
    found: Any = error
    while isinstance(found, BaseExceptionGroup):
        found = cast("BaseExceptionGroup[BaseException]", found).exceptions[0]
    return found

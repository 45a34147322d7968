"""Clients that want to hear of runs without asking: `subscriptions/listen` from 2026-07-28 on, `resources/subscribe` before.

What is told is that a resource has changed and is worth to be read, or a whole task (SEP-2663).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from mcp.server import Server
from mcp.server.connection import Connection
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    EmptyResult,
    Notification,
    RequestParams,
    ResourceUpdatedNotification,
    ResourceUpdatedNotificationParams,
    SubscribeRequestParams,
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from mcp_agent.errors import CallError, InvalidArguments, RateLimited
from mcp_agent.executor.executor import Executor
from mcp_agent.executor.runs import RunState
from mcp_agent.server.callers import Caller, current_caller
from mcp_agent.server.entries import Request, protocol_error
from mcp_agent.server.feeds import Feed
from mcp_agent.server.resources import address_of, reading
from mcp_agent.server.runs import Runs
from mcp_agent.server.tasks import Tasks, check_declared

MOST_SUBSCRIPTIONS = 100
"""Of one stream or session."""
MOST_STREAMS = 1_000
"""Of one server process, sessions that have subscribed among them."""
MOST_OF_A_CALLER = 100
"""Of these, where callers are told apart."""
LISTS = {"tools_list_changed", "prompts_list_changed", "resources_list_changed"}


class ListenFilter(SubscriptionFilter):
    """What a client wants to hear of, tasks among it."""

    task_ids: list[str] | None = None


class ListenParams(RequestParams):
    """The parameters of `subscriptions/listen`."""

    notifications: ListenFilter


class TaskNotification(Notification[dict[str, Any], Literal["notifications/tasks"]]):
    """A task, as `tasks/get` would tell of it now."""

    method: Literal["notifications/tasks"] = "notifications/tasks"


@dataclass
class _Subscriptions:
    """The resources that a client wants to hear of.

    Attributes:
        uris: Of runs, with the run's id.
        known: What the client knows of a run.
        plain: Of the app.
    """

    uris: dict[str, str] = field(default_factory=dict[str, str])
    known: dict[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    plain: set[str] = field(default_factory=set[str])

    @property
    def all(self) -> set[str]:
        return self.plain | self.uris.keys()

    def add(self, uri: str, state: RunState) -> None:
        self.uris[uri] = state.run_id
        self.known.setdefault(state.run_id, state.news)

    def changed_by(self, state: RunState | str) -> list[str]:
        """The resources that are others now than at the time of the state before, or the address that was touched."""
        if isinstance(state, str):
            return [state] if state in self.plain else []
        if self.known.get(state.run_id, state.news) == state.news:
            return []
        self.known[state.run_id] = state.news
        return [uri for uri, run_id in self.uris.items() if run_id == state.run_id]


@dataclass
class _Session:
    """A client of the time before 2026-07-28 that has subscribed."""

    connection: Connection
    feed: Feed
    subscriptions: _Subscriptions = field(default_factory=_Subscriptions)
    expiry: asyncio.TimerHandle | None = None
    telling: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.telling = asyncio.create_task(self._tell(), name="tell a session")

    async def _tell(self) -> None:
        async for state in self.feed.news():
            for uri in self.subscriptions.changed_by(state):
                await self.connection.send_resource_updated(uri)

    def unsubscribe(self, uri: str) -> None:
        self.subscriptions.plain.discard(uri)
        run_id = self.subscriptions.uris.pop(uri, None)
        if run_id is not None and run_id not in self.subscriptions.uris.values():
            self.subscriptions.known.pop(run_id)
            self.feed.leave(run_id)

    def close(self) -> None:
        if self.expiry is not None:
            self.expiry.cancel()
        self.telling.cancel()
        self.feed.close()


class Listening:
    """Args:
    runs: Where runs are watched.
    tasks: How they are told as tasks.
    known: Whether an address is one of the app's resources, which the caller may read. Raises CallError.
    """

    def __init__(self, runs: Runs, tasks: Tasks, known: Callable[[str, Caller], bool]) -> None:
        self._known = known
        self._runs = runs
        self._tasks = tasks
        self._feeds: dict[Feed, Caller] = {}
        self._sessions: dict[Connection, _Session] = {}
        runs.at_drain(self._end)

    def serve(self, server: Server[Any]) -> None:
        """Answers the methods of both eras."""
        server.add_request_handler("subscriptions/listen", ListenParams, self.listen)
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, self.subscribe)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self.unsubscribe)

    def touch(self, uri: str) -> None:
        """Tells who has subscribed that one of the app's resources has changed."""
        for feed in self._feeds:
            feed.touch(uri)

    def _end(self) -> None:
        for feed in self._feeds:
            feed.end()

    async def aclose(self) -> None:
        """Ends what sessions have left."""
        for connection in list(self._sessions):
            await self._forget(connection)

    # From 2026-07-28 on

    async def listen(self, request: Request, params: ListenParams) -> SubscriptionsListenResult:
        """Tells the caller of its runs until it goes, its token expires, or the server stops."""
        wanted, caller = params.notifications, current_caller()
        task_ids, uris = set(wanted.task_ids or ()), set(wanted.resource_subscriptions or ())
        if task_ids:
            check_declared(request)
        _check_number(len(task_ids) + len(uris))
        with self._fed(caller) as feed:
            tasks, subscriptions = await self._granted(caller, task_ids, uris)
            meta = {SUBSCRIPTION_ID_META_KEY: request.request_id}
            await _send(request, _acknowledgement(wanted, tasks, subscriptions.all, meta))
            for run_id in tasks | subscriptions.known.keys():
                feed.follow(run_id)
            async for state in feed.news():
                if isinstance(state, RunState) and state.run_id in tasks:
                    task = self._tasks.detailed(request, state).model_dump(mode="json", by_alias=True, exclude_none=True)
                    await _send(request, TaskNotification(params={**task, "_meta": meta}))
                for uri in subscriptions.changed_by(state):
                    about = ResourceUpdatedNotificationParams(uri=uri, _meta=meta)
                    await _send(request, ResourceUpdatedNotification(params=about))
        return SubscriptionsListenResult(_meta=meta)

    async def _granted(self, caller: Caller, task_ids: set[str], uris: set[str]) -> tuple[set[str], _Subscriptions]:
        """The tasks and resources that are the caller's; nothing is said of the others."""
        executor = await self._reached()
        found = await asyncio.gather(*(self._run_of_task(executor, caller, task_id) for task_id in task_ids))
        tasks = {state.run_id for state in found if state is not None}
        subscriptions = _Subscriptions(plain={uri for uri in uris if self._may_hear(uri, caller)})
        for uri, state in zip(uris, await asyncio.gather(*(self._run_of(executor, caller, uri) for uri in uris)), strict=True):
            if state is not None:
                subscriptions.add(uri, state)
        return tasks, subscriptions

    def _may_hear(self, uri: str, caller: Caller) -> bool:
        try:
            return self._known(uri, caller)
        except CallError:
            return False

    async def _run_of_task(self, executor: Executor, caller: Caller, task_id: str) -> RunState | None:
        try:
            return await self._tasks.find(executor, caller, task_id)
        except CallError as error:
            if error.retryable:
                raise protocol_error(error) from None
            return None

    async def _run_of(self, executor: Executor, caller: Caller, uri: str) -> RunState | None:
        try:
            run_id = run_of(uri)
        except CallError:
            return None
        return await self._run_of_task(executor, caller, run_id)

    async def _reached(self) -> Executor:
        try:
            return await self._runs.executor()
        except CallError as error:
            raise protocol_error(error) from None

    # Up to 2025-11-25

    async def subscribe(self, request: Request, params: SubscribeRequestParams) -> EmptyResult:
        """Tells the caller's session when a resource changes. Raises MCPError as reading it does."""
        uri, caller = str(params.uri), current_caller()
        with reading(uri):
            plain = self._known(uri, caller)
            state = None if plain else await self._runs.find(await self._runs.executor(), caller, run_of(uri), None)
        session = self._session(request, caller)
        _check_number(len({*session.subscriptions.all, uri}))
        if state is None:
            session.subscriptions.plain.add(uri)
        else:
            session.subscriptions.add(uri, state)
            session.feed.follow(state.run_id)
        return EmptyResult()

    async def unsubscribe(self, request: Request, params: UnsubscribeRequestParams) -> EmptyResult:
        session = self._sessions.get(_connection(request))
        if session is not None:
            session.unsubscribe(str(params.uri))
        return EmptyResult()

    def _session(self, request: Request, caller: Caller) -> _Session:
        """The session of a request, which ends with its connection or with the token that it subscribed with last."""
        connection = _connection(request)
        session = self._sessions.get(connection)
        if session is None:
            session = self._sessions[connection] = _Session(connection, self._opened(caller))
            connection.exit_stack.push_async_callback(self._forget, connection)
        if session.expiry is not None:
            session.expiry.cancel()
        session.expiry = _at_expiry(caller, session.feed)
        return session

    async def _forget(self, connection: Connection) -> None:
        session = self._sessions.pop(connection, None)
        if session is not None:
            session.close()
            self._feeds.pop(session.feed, None)

    # Both

    def _opened(self, caller: Caller) -> Feed:
        own = sum(one.tag == caller.tag for one in self._feeds.values()) if caller.tag is not None else 0
        if len(self._feeds) >= MOST_STREAMS or own >= MOST_OF_A_CALLER:
            message = "Too many clients listen: end a stream of your own, or ask for the status instead."
            raise protocol_error(RateLimited(message))
        feed = Feed(self._runs)
        self._feeds[feed] = caller
        if self._runs.draining:
            feed.end()
        return feed

    @contextmanager
    def _fed(self, caller: Caller) -> Generator[Feed]:
        """A feed that ends when the caller's token does."""
        feed = self._opened(caller)
        expiry = _at_expiry(caller, feed)
        try:
            yield feed
        finally:
            if expiry is not None:
                expiry.cancel()
            feed.close()
            self._feeds.pop(feed, None)


def run_of(uri: str) -> str:
    """The id of the run that a resource tells of. Raises NotFound, and InvalidArguments for one that never changes."""
    address = address_of(uri)
    if address.workflow:
        raise InvalidArguments(f"`{uri}` never changes: subscribe to runs.")
    return address.name


def _at_expiry(caller: Caller, feed: Feed) -> asyncio.TimerHandle | None:
    if caller.expires_at is None:
        return None
    return asyncio.get_running_loop().call_later(max(caller.expires_at - time.time(), 0), feed.end)


def _check_number(subscriptions: int) -> None:
    if subscriptions > MOST_SUBSCRIPTIONS:
        raise MCPError(INVALID_PARAMS, f"{subscriptions} subscriptions are too many: {MOST_SUBSCRIPTIONS} at most.")


def _acknowledgement(
    wanted: ListenFilter, tasks: Iterable[str], uris: Iterable[str], meta: dict[str, Any]
) -> SubscriptionsAcknowledgedNotification:
    """What of the wanted will be told. Lists never change here, so that a wish to hear of it is easily granted."""
    flags = wanted.model_dump(by_alias=True, exclude_defaults=True, include=LISTS)
    named = {"taskIds": sorted(tasks), "resourceSubscriptions": sorted(uris)}
    granted = {name: value for name, value in {**flags, **named}.items() if value}
    about = SubscriptionsAcknowledgedNotificationParams(notifications=SubscriptionFilter.model_validate(granted), _meta=meta)
    return SubscriptionsAcknowledgedNotification(params=about)


async def _send(request: Request, notification: Any) -> None:
    """On the stream of the request itself."""
    await request.session.send_notification(notification, related_request_id=request.request_id)


def _connection(request: Request) -> Connection:
    """The SDK lends no other way to what outlives a request: its exit stack is unwound when the session ends."""
    return request.session._connection  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

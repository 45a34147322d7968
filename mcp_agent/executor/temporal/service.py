"""A connection to Temporal that can be made anew under the clients and workers that use it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

PATIENCE = 120.0
END_WITHIN = 5.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
_TIMED_OUT = {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED}
_ANSWERED_BY_WORKERS = {"query_workflow", "update_workflow_execution", "poll_workflow_execution_update"}


class LiveService(ServiceClient):
    """Passes every call to the connection of the moment.

    Args:
        service: The first one.
    """

    def __init__(self, service: ServiceClient) -> None:
        super().__init__(service.config)
        self._now = service
        self._under_way: set[asyncio.Timeout] = set()
        self._users: list[Callable[[], None]] = []

    def replace(self, service: ServiceClient) -> None:
        """From now on calls go to `service`; those under way may end where they are, and are made again if they do not."""
        self._now, self.config = service, service.config
        soon = asyncio.get_running_loop().time() + END_WITHIN
        for call in self._under_way:
            if not call.expired():
                call.reschedule(soon)
        for user in self._users:
            user()

    @contextmanager
    def told(self, user: Callable[[], None]) -> Generator[None, None, None]:
        """Calls `user` after each replacement, until the block ends: a worker holds on to its connection."""
        self._users.append(user)
        try:
            yield
        finally:
            self._users.remove(user)

    @property
    def worker_service_client(self) -> Any:
        return self._now.worker_service_client

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        self._now.update_rpc_metadata(metadata)

    def update_api_key(self, api_key: str | None) -> None:
        self._now.update_api_key(api_key)

    async def _rpc_call(self, rpc: str, req: Any, resp_type: Any, *, retry: bool, **options: Any) -> Any:
        """Tries again what temporalio does not: calls whose connection was replaced, whose Temporal is slow or has no database.

        The request stays the same, and Temporal knows it again by its id: nothing is done twice.
        """
        if not retry:
            return await self._once(rpc, req, resp_type, retry=False, **options)
        end, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
        while True:
            scope = asyncio.timeout(None)
            try:
                async with scope:
                    self._under_way.add(scope)
                    return await self._once(rpc, req, resp_type, retry=True, **options)
            except TimeoutError:
                if not scope.expired():
                    raise
            except RPCError as error:
                passing = is_namespace_missing(error) or _is_late(rpc, error)
                if not passing or time.monotonic() > end:
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            finally:
                self._under_way.discard(scope)

    async def _once(self, rpc: str, req: Any, resp_type: Any, **options: Any) -> Any:
        return await self._now._rpc_call(rpc, req, resp_type, **options)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _is_late(rpc: str, error: RPCError) -> bool:
    """Whether Temporal itself did not answer in time. Where a worker answers, the caller knows what that means."""
    return error.status in _TIMED_OUT and rpc not in _ANSWERED_BY_WORKERS


def is_namespace_missing(error: RPCError) -> bool:
    """Whether Temporal says that the namespace is not there. It was, when the client connected."""
    if error.status is not RPCStatusCode.NOT_FOUND:
        return False
    return any(detail.type_url.endswith("NamespaceNotFoundFailure") for detail in error.grpc_status.details)


def service_of(client: Client) -> LiveService:
    """What a client of this package is connected by."""
    service = client.service_client
    assert isinstance(service, LiveService)
    return service

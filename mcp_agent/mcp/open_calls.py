"""Calls of tools that are under way, and what their servers ask for before they go on.

A server of the newest protocol answers a call with its questions, and takes the call again with the answers. An older one asks
in the middle of the call, which is held open until the answers are there, in this process.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from mcp_types import CallToolResult, InputRequiredResult

from mcp_agent.mcp.connections import CallListener
from mcp_agent.mcp.definitions import DownstreamRequest

Answer = CallToolResult | InputRequiredResult
Kind = Literal["elicitation", "sampling"]

current: ContextVar[OpenCall | None] = ContextVar("mcp_agent_open_call", default=None)
"""The call that this code is part of. Over streamable HTTP a server's question arrives in the context of its call."""


@dataclass(slots=True)
class _Asked:
    request: DownstreamRequest
    answer: asyncio.Future[dict[str, Any] | None]


class OpenCall:
    """One call. It is made by a task of its own, which outlives the step that waits for it when the server asks something.

    Args:
        run_id: Of the run that calls; empty outside of runs.
        make: Makes the call.
    """

    def __init__(self, run_id: str, make: Callable[[OpenCall], Awaitable[Answer]]) -> None:
        self.run_id = run_id
        self.listener: CallListener | None = None
        self.begun = asyncio.Event()
        self._asked: dict[str, _Asked] = {}
        self._count = 0
        self._bell = asyncio.Event()
        context = contextvars.copy_context()
        context.run(current.set, self)
        self.task = asyncio.get_running_loop().create_task(self._make(make), context=context)

    async def _make(self, make: Callable[[OpenCall], Awaitable[Answer]]) -> Answer:
        return await make(self)

    def begin(self) -> None:
        """The call is being sent."""
        self.begun.set()
        if self.listener is not None:
            self.listener.begun()

    @property
    def waits(self) -> bool:
        """Whether its server waits for an answer."""
        return bool(self._asked)

    def questions(self) -> list[DownstreamRequest]:
        """What is asked and not answered."""
        return [asked.request for asked in self._asked.values()]

    async def ask(self, kind: Kind, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Called for the server: waits for the answer; `None` is a refusal."""
        self._count += 1
        request = DownstreamRequest(key=f"{kind}-{self._count}", kind=kind, params=dict(params))
        asked = _Asked(request, asyncio.get_running_loop().create_future())
        self._asked[request.key] = asked
        self._bell.set()
        try:
            return await asked.answer
        finally:
            self._asked.pop(request.key, None)

    def answer(self, responses: Mapping[str, Any]) -> None:
        """Answers what is still asked; the call goes on when its server has them."""
        for key, response in responses.items():
            asked = self._asked.pop(key, None)
            if asked is not None and not asked.answer.done():
                asked.answer.set_result(response)
        if not self._asked:
            self._bell.clear()

    async def turn(self, seconds: float) -> Answer | None:
        """Waits for the result; `None` when the server asks something first. A cancel ends the call.

        Raises:
            TimeoutError: There was neither in time; the call is ended.
            WorkflowApplicationError: The call failed.
        """
        try:
            await self._first(self.begun)
            return await self._settled(seconds)
        except BaseException:
            await self.end()
            raise

    async def _settled(self, seconds: float) -> Answer | None:
        async with asyncio.timeout(seconds):
            while not self.task.done():
                await self._first(self._bell)
                if self._asked:
                    return None
                self._bell.clear()  # the server has taken its question back
        return self.task.result()

    async def _first(self, event: asyncio.Event) -> None:
        waiting = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({self.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def end(self) -> None:
        """Ends the call, and tells its server."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def whose(calls: Iterable[OpenCall]) -> OpenCall | None:
    """The call that a question is about which does not say so itself: the newest of the only run there is; else `None`."""
    known = current.get()
    if known is not None:
        return known
    candidates = [call for call in calls if not call.waits]
    return candidates[-1] if len({call.run_id for call in candidates}) == 1 else None

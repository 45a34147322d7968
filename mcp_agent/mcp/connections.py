"""Connections to downstream MCP servers: one a server, shared by all steps of a worker, rebuilt when it dies.

To a server that gets the tokens of callers there is one for each of them: none ever uses another's.

The SDK's client takes half a second to import, so that is done when the first connection is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from mcp_agent.config import MCPServerSettings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.caller_tokens import CallerTokens, owner_of
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.step_context import current_step
from mcp_agent.mcp.definitions import (
    AnswerDownstreamRequest,
    CallDownstreamTool,
    DownstreamContents,
    DownstreamPrompt,
    DownstreamPromptResult,
    DownstreamResource,
    DownstreamResult,
    DownstreamTool,
    GetDownstreamPrompt,
    ReadDownstreamResource,
)

if TYPE_CHECKING:
    from mcp_agent.mcp.server import DownstreamServer

NEXT_LOOK = timedelta(seconds=30)
"""When a step without its owner's token is tried again."""


class CallListener(Protocol):
    """Hears of a call while it is under way."""

    def begun(self) -> None:
        """It is being sent: from now on the server may carry it out."""
        ...

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        """The server says how far it is."""
        ...


class ConnectionManager:
    """The downstream servers of the configuration, opened on first use.

    Every operation raises WorkflowApplicationError, of type:
        `DownstreamNotConfigured`: The configuration has no such server.
        `DownstreamUnavailable`: It cannot be reached, or broke off; to be tried again, and it says when.
        `DownstreamTimeout`: It did not answer in time.
        `DownstreamUnauthorized`: It refuses the credentials.
        `CallerTokenMissing`: It gets the token of the run's owner, which is not there; to be tried again.
        `DownstreamError`: It refused the operation, or answered with what makes no sense.

    Args:
        servers: The `mcp.servers` section.
        tokens: Of the owners of runs.
    """

    def __init__(self, servers: Mapping[str, MCPServerSettings], tokens: CallerTokens | None = None) -> None:
        self._settings = servers
        self._tokens = tokens or CallerTokens()
        self._servers: dict[tuple[str, str], DownstreamServer] = {}

    async def list_tools(self, server: str) -> list[DownstreamTool]:
        """The tools of a server that models may use, all pages."""
        return await self._of(server).list_tools()

    async def call_tool(
        self, call: CallDownstreamTool, run_id: str = "", listener: CallListener | None = None
    ) -> DownstreamResult:
        """One call, for a run. Its deadline is the server's `call_timeout_seconds`; at its end the server is told to stop.

        Raises:
            WorkflowApplicationError: Also of type `DownstreamNotAllowed` for a tool that models may not use, and
                `DownstreamOutcomeUnknown` for a call that broke off and must not be made twice.
        """
        return await self._of(call.server).call_tool(call, run_id, listener)

    async def answer_request(self, answer: AnswerDownstreamRequest, listener: CallListener | None = None) -> DownstreamResult:
        """Goes on with a call that is held open for answers.

        Raises:
            WorkflowApplicationError: Also of type `DownstreamAskLost` (it is not open any more) and `DownstreamAskElsewhere`
                (another process holds it, or held it: to be tried again).
        """
        return await self._of(answer.call.server).answer_request(answer, listener)

    async def list_prompts(self, server: str) -> list[DownstreamPrompt]:
        """The prompts of a server, all pages; none of a server that has no such thing."""
        return await self._of(server).list_prompts()

    async def get_prompt(self, request: GetDownstreamPrompt) -> DownstreamPromptResult:
        """A prompt, filled in."""
        return await self._of(request.server).get_prompt(request)

    async def list_resources(self, server: str) -> list[DownstreamResource]:
        """The resources of a server and its templates of them, all pages; none of a server that has no such thing."""
        return await self._of(server).list_resources()

    async def read_resource(self, request: ReadDownstreamResource) -> DownstreamContents:
        """What a resource holds."""
        return await self._of(request.server).read_resource(request)

    async def aclose(self) -> None:
        """Ends all calls and connections; the processes of stdio servers are gone then."""
        await asyncio.gather(*(server.aclose() for server in self._servers.values()))

    def _of(self, server: str) -> DownstreamServer:
        """The server; for a run's owner alone, if it gets the owner's token."""
        settings = self._settings.get(server)
        if settings is None:
            hint = did_you_mean(server, self._settings)
            raise WorkflowApplicationError(
                f"`mcp.servers` of the configuration has no `{server}`. {hint}",
                type="DownstreamNotConfigured",
                non_retryable=True,
            )
        if settings.auth is None or not settings.auth.caller_token:
            return self._opened((server, ""), settings, None)
        step = current_step()
        owner = "" if step is None else owner_of(step.run_id, step.workflow)
        self._token(server, owner)
        return self._opened((server, owner), settings, lambda: self._token(server, owner))

    def _opened(self, key: tuple[str, str], settings: MCPServerSettings, callers: Callable[[], str] | None) -> DownstreamServer:
        if key not in self._servers:
            if callers is not None:
                left = [each for each, one in self._servers.items() if each[1] and one.resting]
                for each in left:
                    del self._servers[each]
            self._servers[key] = import_module("mcp_agent.mcp.server").DownstreamServer(key[0], settings, callers)
        return self._servers[key]

    def _token(self, server: str, owner: str) -> str:
        """Raises WorkflowApplicationError of type `CallerTokenMissing`. Its owner heals that by asking for the run's status."""
        token = self._tokens.of(owner)
        if token is not None:
            return token
        raise WorkflowApplicationError(
            f"MCP server `{server}` gets the token of the run's owner, and none is here that still counts. It is there again as "
            "soon as the owner calls this server: ask for the run's status.",
            type="CallerTokenMissing",
            next_retry_delay=NEXT_LOOK,
        )

"""Connections to downstream MCP servers: one a server, shared by all steps of a worker, rebuilt when it dies.

The SDK's client takes half a second to import, so that is done when the first connection is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from mcp_agent.config import MCPServerSettings
from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.problems import did_you_mean
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
        `DownstreamError`: It refused the operation, or answered with what makes no sense.

    Args:
        servers: The `mcp.servers` section.
    """

    def __init__(self, servers: Mapping[str, MCPServerSettings]) -> None:
        self._settings = servers
        self._servers: dict[str, DownstreamServer] = {}

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
        if server not in self._servers:
            settings = self._settings.get(server)
            if settings is None:
                hint = did_you_mean(server, self._settings)
                raise WorkflowApplicationError(
                    f"`mcp.servers` of the configuration has no `{server}`. {hint}",
                    type="DownstreamNotConfigured",
                    non_retryable=True,
                )
            self._servers[server] = import_module("mcp_agent.mcp.server").DownstreamServer(server, settings)
        return self._servers[server]

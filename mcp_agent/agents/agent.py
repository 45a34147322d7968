"""`Agent`: an instruction, and the downstream MCP servers whose tools it may use. Workflow code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TypeVar

from mcp_types import TextContent, ToolResultContent, ToolUseContent
from pydantic_core import to_json

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.executor.retry import RetryPolicy
from mcp_agent.executor.runtime import host
from mcp_agent.executor.steps import StepCall, StepOptions
from mcp_agent.mcp.catalogue import Catalogue
from mcp_agent.mcp.definitions import (
    MCP_CALL_TOOL,
    MCP_LIST_TOOLS,
    CallDownstreamTool,
    DownstreamResult,
    DownstreamTool,
)
from mcp_agent.workflows.llm.augmented_llm import AugmentedLLM, tool_error
from mcp_agent.workflows.llm.messages import RequestParams, ToolSpec

L = TypeVar("L", bound=AugmentedLLM)

DOWNSTREAM_CALL = StepOptions(
    start_to_close_timeout=timedelta(minutes=10),
    heartbeat_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=20), maximum_attempts=5),
)


class Agent:
    """Who answers: `async with agent: llm = await agent.attach_llm(OpenAIAugmentedLLM)`.

    The block may be entered again, and an `llm` used after it: connections belong to the worker, not to the block.

    Args:
        name: For logs, usage and status.
        instruction: The system prompt, or a function that gives it.
        server_names: Downstream servers of the `mcp.servers` section. Their tools are listed once for each `Agent` object.
    """

    def __init__(self, name: str, instruction: str | Callable[[], str] = "", server_names: Sequence[str] | None = None) -> None:
        self.name = name
        self._instruction = instruction
        self.server_names = list(server_names or ())
        self._catalogue: Catalogue | None = None
        self._listing: asyncio.Lock = asyncio.Lock()

    @property
    def instruction(self) -> str:
        return self._instruction if isinstance(self._instruction, str) else self._instruction()

    async def __aenter__(self) -> Agent:
        await self._tools()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to close: see the class."""

    async def attach_llm(self, llm_class: type[L], default_request_params: RequestParams | None = None) -> L:
        """A model with this agent's instruction and tools, and a conversation of its own."""
        return llm_class(self, default_request_params)

    async def tool_specs(self) -> list[ToolSpec]:
        """The tools as a model sees them, in a stable order."""
        return (await self._tools()).specs()

    async def call_tool(self, call: ToolUseContent) -> ToolResultContent:
        """Runs a tool that the model asked for. A tool that fails is told to the model; it does not fail the run."""
        catalogue = await self._tools()
        tool = catalogue.find(call.name)
        if tool is None:
            return tool_error(call, f"There is no tool `{call.name}`. {did_you_mean(call.name, catalogue.names())}")
        request = CallDownstreamTool(server=tool.server, tool=tool.name, arguments=call.input)
        try:
            result: DownstreamResult = await host().run_step(
                StepCall(MCP_CALL_TOOL, (request,), DOWNSTREAM_CALL, DownstreamResult)
            )
        except WorkflowApplicationError as error:
            return tool_error(call, f"Tool `{call.name}` failed ({error.type}): {error.message}")
        return ToolResultContent(
            tool_use_id=call.id,
            content=list(result.content) or [TextContent(text=to_json(result.structured_content).decode())],
            is_error=result.is_error or None,
        )

    async def _tools(self) -> Catalogue:
        async with self._listing:
            if self._catalogue is None:
                listed = await asyncio.gather(*(self._list(server) for server in self.server_names))
                self._catalogue = Catalogue([tool for tools in listed for tool in tools])
            return self._catalogue

    async def _list(self, server: str) -> list[DownstreamTool]:
        tools: list[DownstreamTool] = await host().run_step(
            StepCall(MCP_LIST_TOOLS, (server,), DOWNSTREAM_CALL, list[DownstreamTool])
        )
        return tools

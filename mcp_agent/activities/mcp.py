"""The steps that talk to downstream MCP servers."""

from __future__ import annotations

from mcp_types import TextContent
from pydantic_core import to_json

from mcp_agent.errors import WorkflowApplicationError
from mcp_agent.mcp.connections import ConnectionManager
from mcp_agent.mcp.definitions import (
    MCP_CALL_TOOL,
    MCP_LIST_TOOLS,
    RESULT_LIMIT,
    CallDownstreamTool,
    DownstreamResult,
    DownstreamTool,
)

__all__ = ["MCP_CALL_TOOL", "MCP_LIST_TOOLS", "MCPActivities"]


class MCPActivities:
    """Args:
    connections: The worker's connections.
    """

    def __init__(self, connections: ConnectionManager) -> None:
        self._connections = connections

    async def list_tools(self, server: str) -> list[DownstreamTool]:
        """The tools of a server that models may use. Raises as `ConnectionManager.list_tools`."""
        tools = await self._connections.list_tools(server)
        return [
            DownstreamTool(server=server, name=tool.name, description=tool.description or "", input_schema=tool.input_schema)
            for tool in tools
            if self._connections.allows(server, tool.name)
        ]

    async def call_tool(self, call: CallDownstreamTool) -> DownstreamResult:
        """One call of a tool. Raises as `ConnectionManager.call_tool`; a tool's own error is a result.

        A result above 256 KB becomes an error result that says so: it would fill the run's history.
        """
        if not self._connections.allows(call.server, call.tool):
            raise WorkflowApplicationError(
                f"`mcp.servers.{call.server}.allowed_tools` does not name `{call.tool}`.",
                type="DownstreamNotAllowed",
                non_retryable=True,
            )
        answer = await self._connections.call_tool(call.server, call.tool, call.arguments)
        result = DownstreamResult(
            content=list(answer.content),
            # Servers send structured content as text too; it is kept only where there is nothing else.
            structured_content=None if answer.content else answer.structured_content,
            is_error=bool(answer.is_error),
        )
        size = len(to_json(result))
        return result if size <= RESULT_LIMIT else _too_large(call, size)


def _too_large(call: CallDownstreamTool, size: int) -> DownstreamResult:
    text = (
        f"The result of `{call.tool}` has {size:,} bytes; at most {RESULT_LIMIT:,} can be used. "
        "Ask for less: a part, a page, a summary."
    )
    return DownstreamResult(content=[TextContent(text=text)], is_error=True)

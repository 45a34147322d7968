"""A bare low-level MCP server with one tool: stdio, or streamable HTTP with a port as argument."""

import asyncio
import json
import sys
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool

NUMBER = {"type": "integer"}
TOOL = Tool(
    name="add",
    input_schema={"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["a", "b"]},
)


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    return ListToolsResult(tools=[TOOL])


async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
    given = params.arguments or {}
    data = {"sum": given["a"] + given["b"]}
    return CallToolResult(content=[TextContent(text=json.dumps(data))], structured_content=data)


def build() -> Server[Any]:
    return Server(
        "floor", version="1", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=lambda _: TOOL.input_schema
    )


async def over_stdio() -> None:
    server = build()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        import uvicorn

        uvicorn.run(build().streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
    else:
        asyncio.run(over_stdio())

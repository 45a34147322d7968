"""A downstream MCP server with 50 tools, each of which gives 5 KB of text."""

import asyncio
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool

TOOLS = 50
RESULT = 5_000
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "What to look for, in plain words."},
        "limit": {"type": "integer", "description": "How many results to give at most.", "default": 10},
    },
    "required": ["query"],
}


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    text = "Looks in collection {}: titles, texts and dates. Gives the best results first, with where each is from."
    return ListToolsResult(
        tools=[Tool(name=f"search_{n}", description=text.format(n), input_schema=SCHEMA) for n in range(TOOLS)]
    )


async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
    query = str((params.arguments or {})["query"])
    return CallToolResult(content=[TextContent(text=(query + " ").ljust(RESULT, "x"))])


async def main() -> None:
    server = Server("fifty", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())

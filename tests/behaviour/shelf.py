"""A downstream MCP server with a few documents: `python shelf.py`."""

import asyncio
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name=name, input_schema=SCHEMA) for name in ("read", "erase", "whole", "count")])


async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
    name = (params.arguments or {})["name"]
    if params.name == "count":  # told as data alone
        return CallToolResult(content=[], structured_content={"words": list(range(1_000))})
    words = {"whole": "word " * 1_000, "read": f"the words of {name}", "erase": f"{name} is gone"}
    return CallToolResult(content=[TextContent(text=words[params.name])])


async def main() -> None:
    server = Server("shelf", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


asyncio.run(main())

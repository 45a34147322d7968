"""A downstream MCP server that notes the trace that each call belongs to."""

import asyncio
import os
from pathlib import Path
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="file", input_schema={"type": "object"})])


async def call_tool(context: Any, params: CallToolRequestParams) -> CallToolResult:
    with (Path(os.environ["DESK_FOLDER"]) / "log.txt").open("a") as log:
        log.write(f"{(params.meta or {}).get('traceparent')}\n")
    return CallToolResult(content=[TextContent(text="filed under planted-result")])


async def main() -> None:
    server = Server("archive", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


asyncio.run(main())

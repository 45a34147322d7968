"""A downstream MCP server that notes each call, and answers when the gate `archive` is open."""

import asyncio
import os
from pathlib import Path
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool

FOLDER = Path(os.environ["DESK_FOLDER"])


def note(text: str) -> None:
    with (FOLDER / "log.txt").open("a") as log:
        log.write(text + "\n")


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="file", input_schema={"type": "object"})])


async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
    note("begin file")
    while not (FOLDER / "gate-archive").exists():
        await asyncio.sleep(0.05)
    note("end file")
    return CallToolResult(content=[TextContent(text="filed under 7")])


async def main() -> None:
    server = Server("archive", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


asyncio.run(main())

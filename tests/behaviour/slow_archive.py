"""A downstream MCP server whose tool answers never, and that notes what becomes of each call: `python slow_archive.py LOG`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, Tool

LOG = Path(sys.argv[1])


def note(text: str) -> None:
    with LOG.open("a") as log:
        log.write(text + "\n")


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="file", input_schema={"type": "object"})])


async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
    note("begun")
    try:
        await asyncio.Event().wait()
    except anyio.get_cancelled_exc_class():
        note("cancelled")
        raise
    raise AssertionError


async def main() -> None:
    server = Server("archive", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


asyncio.run(main())

"""A downstream MCP server with bad habits: `odd_server.py HABIT`. Notes its process id in the file named by ODD_PID."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

HABIT = sys.argv[1] if len(sys.argv) > 1 else ""
NAMES = ["echo", "pid", "environment", "fails", "big", "hangs", "dies", "chatters"]


async def list_tools(_: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
    if HABIT == "hangs on list":
        await asyncio.Event().wait()
    at = int(params.cursor) if params is not None and params.cursor else 0
    page = [Tool(name=name, input_schema={"type": "object"}) for name in NAMES[at : at + 3]]
    return ListToolsResult(tools=page, next_cursor=str(at + 3) if at + 3 < len(NAMES) else None)


async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
    arguments = params.arguments or {}
    match params.name:
        case "echo":
            return answer(arguments["text"])
        case "pid":
            return answer(str(os.getpid()))
        case "environment":
            return answer(os.environ.get(arguments["name"], "unset"))
        case "fails":
            return CallToolResult(content=[TextContent(text="no luck")], is_error=True)
        case "big":
            return answer("x" * int(arguments["size"]))
        case "hangs":
            await asyncio.Event().wait()
        case "dies":
            os._exit(1)
        case "chatters":
            os.write(1, b"this is no JSON\n{}\n[1, 2]\n" + b"\xff\xfe\n")
            return answer("said")
    raise AssertionError(params.name)


def answer(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])


async def main() -> None:
    Path(os.environ["ODD_PID"]).write_text(str(os.getpid()))
    match HABIT:
        case "dies at start":
            sys.exit("cannot find my database")
        case "never answers":
            await asyncio.Event().wait()
        case "chatters at start":
            os.write(1, b'Welcome to the odd server!\n\n{"half": \n')
        case _:
            pass
    server = Server("odd", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


asyncio.run(main())

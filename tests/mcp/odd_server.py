"""A downstream MCP server with bad habits: `odd_server.py HABIT`. Notes its process id in the file named by ODD_PID."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

HABIT = sys.argv[1] if len(sys.argv) > 1 else ""
NAMES = ["echo", "pid", "environment", "fails", "raises", "big", "hangs", "dies", "obstinate", "parent", "chatters"]


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
        case "raises":
            raise MCPError(arguments["code"], "the ledger is locked")
        case "big":
            return answer("x" * int(arguments["size"]))
        case "hangs":
            await asyncio.Event().wait()
        case "dies":
            os.write(2, f"lost my key {os.environ.get('ODD_TOKEN')}\n".encode())
            os._exit(1)
        case "obstinate":
            with anyio.CancelScope(shield=True):  # goes on when it is told to stop, and answers late
                await anyio.sleep(float(arguments["seconds"]))
            return answer("late")
        case "parent":
            child = await anyio.open_process(["sleep", "1000"], start_new_session=True)
            return answer(f"{os.getpid()} {child.pid}")
        case "chatters":
            os.write(1, b"this is no JSON\n{}\n[1, 2]\n" + b"\xff\xfe\n")
            return answer("said")
    raise AssertionError(params.name)


def answer(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)])


async def main() -> None:
    with Path(os.environ["ODD_PID"]).open("a") as pids:
        pids.write(f"{os.getpid()}\n")
    match HABIT:
        case "dies at start":
            sys.exit("cannot find my database")
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "never answers":
            await asyncio.Event().wait()
        case "chatters at start":
            os.write(1, b'Welcome to the odd server!\n\n{"half": \n')
        case _:
            pass
    server = Server("odd", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
    if HABIT == "deaf":  # neither the end of its input nor a signal ends it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

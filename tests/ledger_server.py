"""A downstream MCP server over stdio: its tool `add` notes each call in the file `log.txt` of LEDGER_FOLDER.

A call takes LEDGER_SECONDS; what is said of a text that ends in an even number has LEDGER_WORDS words more.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool

LOG = Path(os.environ["LEDGER_FOLDER"]) / "log.txt"
WORDS = int(os.environ.get("LEDGER_WORDS", "0"))
ADD = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


def note(text: str) -> None:
    with LOG.open("a") as log:
        log.write(text + "\n")


async def list_tools(_: Any, __: Any) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name="add", description="Adds a line.", input_schema=ADD)])


async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
    text = str((params.arguments or {})["text"])
    note(f"begin {text}")
    await asyncio.sleep(float(os.environ.get("LEDGER_SECONDS", "0")))
    note(f"end {text}")
    return CallToolResult(content=[TextContent(text=said_of(text))])


def said_of(text: str) -> str:
    return f"added {text}" + " indeed" * (WORDS if text[-1] in "02468" else 0)


async def main() -> None:
    note(f"pid {os.getpid()}")
    server = Server("ledger", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


asyncio.run(main())

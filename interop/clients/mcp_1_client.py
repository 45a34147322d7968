"""The Python SDK, line 1 (`mcp`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult
from scenarios import DECISION, Answer, Client, Target, main


@dataclass
class MCP1(Client):
    session: ClientSession | None = None

    async def elicit(self, _: Any, params: Any) -> ElicitResult:
        self.asked.append(params.message)
        return ElicitResult(action="accept", content=DECISION)

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self.session.list_tools()).tools]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        result = await self.session.call_tool(tool, arguments)
        text = "\n".join(block.text for block in result.content if block.type == "text")
        return Answer(text, result.structuredContent, bool(result.isError))

    async def read(self, uri: str) -> str:
        return (await self.session.read_resource(uri)).contents[0].text


def streams(target: Target) -> AbstractAsyncContextManager[tuple[Any, ...]]:
    if target.transport == "stdio":
        return stdio_client(StdioServerParameters(command=target.command[0], args=target.command[1:], env=target.environment))
    return streamable_http_client(target.http) if target.transport == "http" else sse_client(target.sse)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    client = MCP1()
    async with streams(target) as (read, write, *_), ClientSession(read, write, elicitation_callback=client.elicit) as session:
        await session.initialize()
        client.session = session
        yield client


if __name__ == "__main__":
    main(connect)

"""The Python SDK, line 2 (`mcp`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp import Client as SDKClient
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, ElicitResult
from scenarios import DECISION, Answer, Client, Target, main


def answer_of(result: CallToolResult) -> Answer:
    text = "\n".join(block.text for block in result.content if block.type == "text")
    return Answer(text, result.structured_content, bool(result.is_error))


@dataclass
class MCP(Client):
    sdk: SDKClient | None = None

    async def elicit(self, _: Any, params: Any) -> ElicitResult:
        self.asked.append(params.message)
        return ElicitResult(action="accept", content=DECISION)

    def revision(self) -> str | None:
        return self.sdk.protocol_version

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self.sdk.list_tools()).tools]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        return answer_of(await self.sdk.call_tool(tool, arguments))

    async def read(self, uri: str) -> str:
        return (await self.sdk.read_resource(uri)).contents[0].text


def server_of(target: Target) -> Any:
    """What the SDK's client connects to."""
    if target.transport == "stdio":
        return StdioServerParameters(command=target.command[0], args=target.command[1:], env=target.environment)
    return target.http if target.transport == "http" else sse_client(target.sse)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    client = MCP()
    async with SDKClient(server_of(target), elicitation_callback=client.elicit, mode=target.options["mode"]) as client.sdk:
        yield client


if __name__ == "__main__":
    main(connect)

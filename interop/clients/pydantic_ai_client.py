"""pydantic-ai's MCP toolset and agent (`pydantic-ai-slim`)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastmcp.exceptions import ToolError
from fastmcp_client import Asked, transport_of
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from scenarios import Answer, Client, Play, Target, main


def answer_of(returned: Any) -> Answer:
    """The framework gives a model the structured content where there is one."""
    if isinstance(returned, dict):
        return Answer(json.dumps(returned, ensure_ascii=False), returned)
    return Answer(str(returned))


@dataclass
class PydanticAI(Asked):
    toolset: MCPToolset | None = None

    def revision(self) -> str | None:
        return self.toolset.client.protocol_version

    async def tools(self) -> list[str]:
        return [tool.name for tool in await self.toolset.list_tools()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        try:
            return answer_of(await self.toolset.direct_call_tool(tool, arguments))
        except ToolError as error:
            return Answer(str(error), is_error=True)

    async def read(self, uri: str) -> str:
        return await self.toolset.read_resource(uri)

    async def agent(self, play: Play) -> str:
        def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            returned = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
            next_ = play([answer_of(part.content) for part in returned])
            part = TextPart(next_) if isinstance(next_, str) else ToolCallPart(next_[0], next_[1])
            return ModelResponse(parts=[part])

        return (await Agent(FunctionModel(model), toolsets=[self.toolset]).run("Begin.")).output


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    client = PydanticAI()
    client.toolset = MCPToolset(transport_of(target), elicitation_handler=client.elicit, tool_error_behavior="error")
    async with client.toolset:
        yield client


if __name__ == "__main__":
    main(connect)

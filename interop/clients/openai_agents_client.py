"""The MCP servers of OpenAI's agents SDK, and its agent (`openai-agents`)."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agents import Agent, ModelResponse, RunConfig, Runner, Usage
from agents.mcp import MCPServer, MCPServerSse, MCPServerStdio, MCPServerStreamableHttp
from agents.models.interface import Model
from mcp_client import answer_of
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from scenarios import Answer, Client, Play, Target, main

SESSION_SECONDS = 60
"""The framework's own limit for a call is 5 s, less than the server waits for a run."""


class Played(Model):
    """A model that is played."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._ids = itertools.count()

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        outputs = [item["output"] for item in input if isinstance(item, dict) and item.get("type") == "function_call_output"]
        next_ = self._play([Answer(text_of(output)) for output in outputs])
        number = str(next(self._ids))
        if isinstance(next_, str):
            text = ResponseOutputText(type="output_text", text=next_, annotations=[])
            item: Any = ResponseOutputMessage(id=number, type="message", role="assistant", status="completed", content=[text])
        else:
            item = ResponseFunctionToolCall(
                type="function_call", call_id=number, name=next_[0], arguments=json.dumps(next_[1]), id=number
            )
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def text_of(output: Any) -> str:
    return output if isinstance(output, str) else "\n".join(block["text"] for block in output)


@dataclass(kw_only=True)
class OpenAIAgents(Client):
    target: Target
    server: MCPServer

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[Client]:
        """Over HTTP the framework sends calls one after the other: another connection sees the same runs."""
        if self.target.transport == "stdio":
            yield self
        else:
            async with connect(self.target) as other:
                yield other

    def revision(self) -> str | None:
        return self.server.session.protocol_version

    async def tools(self) -> list[str]:
        return [tool.name for tool in await self.server.list_tools()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        return answer_of(await self.server.call_tool(tool, arguments))

    async def read(self, uri: str) -> str:
        return (await self.server.read_resource(uri)).contents[0].text

    async def agent(self, play: Play) -> str:
        agent = Agent(name="tried", model=Played(play), mcp_servers=[self.server])
        return (await Runner.run(agent, "Begin.", run_config=RunConfig(tracing_disabled=True))).final_output


def server_of(target: Target) -> MCPServer:
    if target.transport == "stdio":
        started = {"command": target.command[0], "args": target.command[1:], "env": target.environment}
        return MCPServerStdio(started, client_session_timeout_seconds=SESSION_SECONDS)
    if target.transport == "http":
        return MCPServerStreamableHttp({"url": target.http}, client_session_timeout_seconds=SESSION_SECONDS)
    return MCPServerSse({"url": target.sse}, client_session_timeout_seconds=SESSION_SECONDS)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    async with server_of(target) as server:
        yield OpenAIAgents(target=target, server=server)


if __name__ == "__main__":
    main(connect)

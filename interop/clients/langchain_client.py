"""LangChain's MCP adapters, and its agent (`langchain-mcp-adapters`)."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.resources import load_mcp_resources
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp import ClientSession
from mcp.types import ElicitResult
from scenarios import DECISION, Answer, Client, Play, Target, main


class Played(BaseChatModel):
    """A model that is played."""

    play: Any
    ids: Any = field(default_factory=itertools.count)

    @property
    def _llm_type(self) -> str:
        return "played"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Played:
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        next_ = self.play([answer_of(message) for message in messages if isinstance(message, ToolMessage)])
        said = AIMessage(next_) if isinstance(next_, str) else AIMessage("", tool_calls=[self._tool_call(*next_)])
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _tool_call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "args": arguments, "id": f"call_{next(self.ids)}", "type": "tool_call"}


def answer_of(message: ToolMessage) -> Answer:
    data = message.artifact["structured_content"] if message.artifact else None
    return Answer(message.text, data, message.status == "error")


@dataclass
class LangChain(Client):
    session: ClientSession | None = None
    loaded: dict[str, Any] = field(default_factory=dict)

    async def elicit(self, _: Any, params: Any, __: Any) -> ElicitResult:
        self.asked.append(params.message)
        return ElicitResult(action="accept", content=DECISION)

    async def tools(self) -> list[str]:
        self.loaded = {tool.name: tool for tool in await load_mcp_tools(self.session)}
        return list(self.loaded)

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        if not self.loaded:
            await self.tools()
        call = {"name": tool, "args": arguments, "id": "call", "type": "tool_call"}
        return answer_of(await self.loaded[tool].ainvoke(call))

    async def read(self, uri: str) -> str:
        return (await load_mcp_resources(self.session, uris=uri))[0].as_string()

    async def agent(self, play: Play) -> str:
        await self.tools()
        ended = await create_agent(Played(play=play), list(self.loaded.values())).ainvoke({"messages": [("user", "Begin.")]})
        return ended["messages"][-1].text


def connection(target: Target) -> dict[str, Any]:
    if target.transport == "stdio":
        started = {"command": target.command[0], "args": target.command[1:], "env": target.environment}
        return {"transport": "stdio", **started}
    if target.transport == "http":
        return {"transport": "streamable_http", "url": target.http}
    return {"transport": "sse", "url": target.sse}


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    client = LangChain()
    servers = MultiServerMCPClient({"tried": connection(target)}, callbacks=Callbacks(on_elicitation=client.elicit))
    async with servers.session("tried") as client.session:
        yield client


if __name__ == "__main__":
    main(connect)

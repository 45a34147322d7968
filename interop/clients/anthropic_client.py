"""Anthropic's MCP helper: the server's tools as those of the SDK's tool runner (`anthropic`)."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from anthropic import AsyncAnthropic
from anthropic.lib.tools import ToolError
from anthropic.lib.tools.mcp import async_mcp_tool, mcp_resource_to_file
from mcp import Client as SDKClient
from mcp_client import server_of
from scenarios import Answer, Client, Play, Target, main


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(block["text"] for block in content if block["type"] == "text")


@dataclass
class Anthropic(Client):
    sdk: SDKClient | None = None
    helped: dict[str, Any] = field(default_factory=dict)

    def revision(self) -> str | None:
        return self.sdk.protocol_version

    async def tools(self) -> list[str]:
        listed = (await self.sdk.list_tools()).tools
        self.helped = {tool.name: async_mcp_tool(tool, self.sdk.session) for tool in listed}
        return [tool.to_dict()["name"] for tool in self.helped.values()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        if not self.helped:
            await self.tools()
        try:
            return Answer(text_of(await self.helped[tool].call(arguments)))
        except ToolError as error:
            return Answer(text_of(error.content), is_error=True)

    async def read(self, uri: str) -> str:
        return mcp_resource_to_file(await self.sdk.read_resource(uri))[1].decode()

    async def agent(self, play: Play) -> str:
        await self.tools()
        transport = httpx2.MockTransport(Messages(play).answer)
        async with AsyncAnthropic(api_key="none", http_client=httpx2.AsyncClient(transport=transport)) as model:
            runner = model.beta.messages.tool_runner(
                model="scripted",
                max_tokens=1_000,
                tools=list(self.helped.values()),
                messages=[{"role": "user", "content": "Begin."}],
            )
            return (await runner.until_done()).content[0].text


class Messages:
    """The provider's endpoint, with a model that is played. It keeps what was said: the runner may send only what is new."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._ids = itertools.count()
        self._said: dict[str, Answer] = {}

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        messages = json.loads(request.content)["messages"]
        blocks = [block for message in messages if isinstance(message["content"], list) for block in message["content"]]
        results = [block for block in blocks if block["type"] == "tool_result"]
        self._said.update({block["tool_use_id"]: Answer(text_of(block["content"])) for block in results})
        next_, number = self._play(list(self._said.values())), next(self._ids)
        content: dict[str, Any] = {"type": "text", "text": next_}
        if not isinstance(next_, str):
            content = {"type": "tool_use", "id": f"call_{number}", "name": next_[0], "input": next_[1]}
        message = {
            "id": f"message_{number}",
            "type": "message",
            "role": "assistant",
            "model": "scripted",
            "content": [content],
            "stop_reason": "end_turn" if isinstance(next_, str) else "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        return httpx2.Response(200, json=message)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    client = Anthropic()
    async with SDKClient(server_of(target), mode=target.options["mode"]) as client.sdk:
        yield client


if __name__ == "__main__":
    main(connect)

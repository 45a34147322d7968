"""The MCP toolset of Google's ADK, and its agent (`google-adk`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, SseConnectionParams, StdioConnectionParams, StreamableHTTPConnectionParams
from google.genai import types
from mcp import StdioServerParameters
from mcp_types import ElicitResult
from scenarios import DECISION, Answer, CannotDo, Client, Play, Target, main

CALL_SECONDS = 60


class Played(BaseLlm):
    """A model that is played."""

    model: str = "played"
    play: Any

    async def generate_content_async(self, request: LlmRequest, stream: bool = False) -> AsyncGenerator[LlmResponse, None]:
        parts = [part for content in request.contents for part in content.parts or []]
        next_ = self.play([answer_of(part.function_response.response) for part in parts if part.function_response])
        if isinstance(next_, str):
            part = types.Part.from_text(text=next_)
        else:
            part = types.Part.from_function_call(name=next_[0], args=next_[1])
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def answer_of(response: dict[str, Any]) -> Answer:
    text = "\n".join(block["text"] for block in response["content"] if block["type"] == "text")
    return Answer(text, response.get("structuredContent"), bool(response.get("isError")))


@dataclass
class GoogleADK(Client):
    toolset: McpToolset | None = None
    loaded: dict[str, Any] = field(default_factory=dict)

    async def elicit(self, _: Any, params: Any) -> ElicitResult:
        self.asked.append(params.message)
        return ElicitResult(action="accept", content=DECISION)

    async def tools(self) -> list[str]:
        self.loaded = {tool.name: tool for tool in await self.toolset.get_tools()}
        return list(self.loaded)

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        if not self.loaded:
            await self.tools()
        return answer_of(await self.loaded[tool].run_async(args=arguments, tool_context=outside_of_an_agent()))

    async def read(self, uri: str) -> str:
        raise CannotDo("reads only resources that are listed")

    async def agent(self, play: Play) -> str:
        runner = InMemoryRunner(agent=LlmAgent(name="tried", model=Played(play=play), tools=[self.toolset]))
        session = await runner.session_service.create_session(app_name=runner.app_name, user_id="user")
        begin = types.Content(role="user", parts=[types.Part.from_text(text="Begin.")])
        said = [
            part.text
            async for event in runner.run_async(user_id="user", session_id=session.id, new_message=begin)
            for part in (event.content.parts if event.content else [])
            if part.text
        ]
        return said[-1]


def outside_of_an_agent() -> Any:
    """What a tool looks at of the agent that calls it. It shows nobody the page of a run, which the toolset hands on."""
    seen = {"_invocation_context": None, "function_call_id": "call", "tool_confirmation": None, "state": {}}
    return SimpleNamespace(**seen, render_ui_widget=lambda _: None)


def parameters(target: Target) -> Any:
    if target.transport == "stdio":
        started = StdioServerParameters(command=target.command[0], args=target.command[1:], env=target.environment)
        return StdioConnectionParams(server_params=started, timeout=CALL_SECONDS)
    if target.transport == "http":
        return StreamableHTTPConnectionParams(url=target.http, timeout=CALL_SECONDS)
    return SseConnectionParams(url=target.sse, timeout=CALL_SECONDS)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    client = GoogleADK()
    client.toolset = McpToolset(connection_params=parameters(target), elicitation_callback=client.elicit)
    try:
        yield client
    finally:
        await client.toolset.close()


if __name__ == "__main__":
    main(connect)

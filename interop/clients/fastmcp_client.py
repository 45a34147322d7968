"""FastMCP's client, with its Tasks extension where that is installed (`fastmcp`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from fastmcp import Client as FastClient
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from scenarios import DECISION, Answer, Client, Target, main

MODERN = "2026-07-28"
if find_spec("fastmcp_tasks"):
    from fastmcp_tasks import call_tool_task  # to import it is to declare the extension


def answer_of(result: Any) -> Answer:
    text = "\n".join(block.text for block in result.content if block.type == "text")
    return Answer(text, result.structured_content, result.is_error)


class Asked(Client):
    """A client that is asked as FastMCP asks."""

    async def elicit(self, message: str, form: type | None, params: Any, _: Any) -> Any:
        self.asked.append(message)
        return form(**DECISION)


@dataclass
class FastMCP(Asked):
    fast: FastClient | None = None

    def revision(self) -> str | None:
        return self.fast.protocol_version

    async def tools(self) -> list[str]:
        return [tool.name for tool in await self.fast.list_tools()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        return answer_of(await self.fast.call_tool(tool, arguments, raise_on_error=False))

    async def start(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """With tasks a call lasts as long as its run: only its task is there at once."""
        if not find_spec("fastmcp_tasks") or self.revision() != MODERN:
            return await super().start(tool, arguments)
        task = await call_tool_task(self.fast, tool, arguments)
        return await self.call(tool.removesuffix("-run") + "-get_status", {"run_id": task.task_id})

    async def read(self, uri: str) -> str:
        return (await self.fast.read_resource(uri))[0].text

    async def task(self, tool: str, arguments: dict[str, Any]) -> tuple[str, Answer]:
        task = await call_tool_task(self.fast, tool, arguments)
        return task.task_id, answer_of(await task.result())


def transport_of(target: Target) -> Any:
    if target.transport == "stdio":
        return StdioTransport(target.command[0], target.command[1:], env=target.environment, keep_alive=False)
    return StreamableHttpTransport(target.http) if target.transport == "http" else SSETransport(target.sse)


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    client = FastMCP()
    async with FastClient(transport_of(target), elicitation_handler=client.elicit, mode=target.options["mode"]) as client.fast:
        yield client


if __name__ == "__main__":
    main(connect)

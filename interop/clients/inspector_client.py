"""The MCP Inspector's command line, a process for each call (`@modelcontextprotocol/inspector`)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from scenarios import Answer, Client, Target, main

TOOL_ERROR = 5
"""How it exits when a tool's result is an error; the result is printed all the same."""


@dataclass(kw_only=True)
class Inspector(Client):
    target: Target

    async def tools(self) -> list[str]:
        """Fails if the Inspector finds a schema that is not portable."""
        return [tool["name"] for tool in (await self._said("tools/list", "--strict"))["tools"]]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        result = await self._said("tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))
        text = "\n".join(block["text"] for block in result["content"] if block["type"] == "text")
        return Answer(text, result.get("structuredContent"), result.get("isError", False))

    async def read(self, uri: str) -> str:
        return (await self._said("resources/read", "--uri", uri))["contents"][0]["text"]

    async def _said(self, method: str, *options: str) -> dict[str, Any]:
        """A result. Raises RuntimeError with what the program wrote, if there is none."""
        program = f"{self.target.options['folder']}/node_modules/.bin/mcp-inspector"
        process = await asyncio.create_subprocess_exec(
            *(self.target.options["node"], program, "--cli", "--method", method, *options),
            *("--protocol-era", self.target.options["mode"], "--format", "json", "--quiet", *self._where()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, errors = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if process.returncode not in (0, TOOL_ERROR):
            raise RuntimeError(f"exit {process.returncode}: {errors.decode()}")
        return json.loads(out)["result"]

    def _where(self) -> list[str]:
        """The server; a command stands last, since it may have options of its own."""
        if self.target.transport == "stdio":
            variables = [part for name, value in self.target.environment.items() for part in ("-e", f"{name}={value}")]
            return [*variables, "--transport", "stdio", "--", *self.target.command]
        url = self.target.http if self.target.transport == "http" else self.target.sse
        return ["--server-url", url, "--transport", self.target.transport]


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    yield Inspector(target=target)


if __name__ == "__main__":
    main(connect)

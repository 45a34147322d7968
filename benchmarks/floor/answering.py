"""A bare low-level MCP server that gives the answers of a file: `python -m benchmarks.floor.answering PORT FILE [TOKEN]`.

It runs on asyncio's own event loop, as this project's server does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server import Server
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent


class Known:
    """One caller."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def verify_token(self, token: str) -> AccessToken | None:
        return AccessToken(token=token, client_id="bench", scopes=[]) if token == self._token else None


def build(answers: dict[str, Any]) -> Server[Any]:
    listed = ListToolsResult.model_validate(answers["tools"])
    schemas = {tool.name: tool.input_schema for tool in listed.tools}
    result = answers["result"]

    async def list_tools(_: Any, __: Any) -> ListToolsResult:
        return listed

    async def call_tool(_: Any, params: CallToolRequestParams) -> CallToolResult:
        content: list[Any] = [TextContent(text=result["content"][0]["text"])]
        return CallToolResult(content=content, structured_content=result["structuredContent"], _meta=result.get("_meta"))

    return Server("floor", version="1", on_list_tools=list_tools, on_call_tool=call_tool, get_tool_input_schema=schemas.get)


def main(port: str, file: str, token: str | None = None) -> None:
    server = build(json.loads(Path(file).read_text()))
    url: Any = f"http://127.0.0.1:{port}"
    guarded = (
        {}
        if token is None
        else {
            "auth": AuthSettings(issuer_url=url, resource_server_url=f"{url}/mcp", required_scopes=[]),  # pyright: ignore[reportArgumentType]
            "token_verifier": Known(token),
        }
    )
    uvicorn.run(
        server.streamable_http_app(**guarded),
        host="127.0.0.1",
        port=int(port),
        log_level="error",
        loop="asyncio",
        access_log=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

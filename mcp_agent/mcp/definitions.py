"""What travels between a run and the steps that talk to downstream MCP servers. Stored in histories: add, never rename."""

from __future__ import annotations

from typing import Any

from mcp_types import ContentBlock
from pydantic import BaseModel, ConfigDict, SerializeAsAny, field_serializer

MCP_LIST_TOOLS = "mcp_agent.mcp.list_tools"
MCP_CALL_TOOL = "mcp_agent.mcp.call_tool"

RESULT_LIMIT = 256 * 1024
"""The largest result, in bytes of JSON, that is given to a model and stored with a run."""


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)


class DownstreamTool(_Stored):
    """A tool of a downstream server, under the server's own name for it."""

    server: str
    name: str
    description: str = ""
    input_schema: dict[str, Any] = {"type": "object", "properties": {}}


class CallDownstreamTool(_Stored):
    """The argument of `mcp_agent.mcp.call_tool`."""

    server: str
    tool: str
    arguments: dict[str, Any] = {}


class DownstreamResult(_Stored):
    """What the tool answered, as it was answered."""

    content: list[SerializeAsAny[ContentBlock]] = []
    structured_content: Any = None
    is_error: bool = False

    @field_serializer("content")
    def _wire_form(self, content: list[ContentBlock]) -> list[dict[str, Any]]:
        return [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in content]

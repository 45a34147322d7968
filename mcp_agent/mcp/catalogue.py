"""The names under which a model sees the tools of several servers, and the way back. Pure, and stable on replay."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from mcp_agent.mcp.definitions import DownstreamTool
from mcp_agent.workflows.llm.messages import ToolSpec

NAME_LIMIT = 64  # what the providers allow
_HASH = 8
_VERSION = 8


class Catalogue:
    """Tools by `<server>_<tool>`. A name that is too long, that two tools would share, or that is taken, ends in a hash of
    both parts."""

    def __init__(self, tools: Iterable[DownstreamTool], taken: Iterable[str] = ()) -> None:
        listed = sorted(tools, key=lambda tool: (tool.server, tool.name))
        plain = Counter([*(_plain(tool) for tool in listed), *taken])
        self._tools = {_name(tool, unique=plain[_plain(tool)] == 1): tool for tool in listed}

    def names(self) -> list[str]:
        return list(self._tools)

    def find(self, name: str) -> DownstreamTool | None:
        return self._tools.get(name)

    def entries(self) -> list[tuple[ToolSpec, DownstreamTool]]:
        """Each tool as a model sees it, and what it is."""
        return [
            (ToolSpec(name=name, description=tool.description, input_schema=tool.input_schema, listed=True), tool)
            for name, tool in self._tools.items()
        ]


def version_of(tools: Iterable[DownstreamTool]) -> str:
    """Stands for a server's list of tools, whatever its order: another list has another, on every worker the same."""
    listed = sorted(tools, key=lambda tool: tool.name)
    text = "\n".join(tool.model_dump_json(exclude={"catalogue"}) for tool in listed)
    return hashlib.sha256(text.encode()).hexdigest()[:_VERSION]


def _plain(tool: DownstreamTool) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{tool.server}_{tool.name}")


def _name(tool: DownstreamTool, *, unique: bool) -> str:
    plain = _plain(tool)
    if unique and len(plain) <= NAME_LIMIT:
        return plain
    digest = hashlib.sha256(f"{tool.server}\0{tool.name}".encode()).hexdigest()[:_HASH]
    return f"{plain[: NAME_LIMIT - _HASH - 1]}_{digest}"

"""The run page: what hosts that show MCP Apps (SEP-1865) draw for a run. Every other client ignores it and has the texts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from mcp_types import ReadResourceResult, Resource, TextResourceContents

from mcp_agent.server import page

EXTENSION = "io.modelcontextprotocol/ui"
MIME_TYPE = "text/html;profile=mcp-app"
TOOLS = "durable-mcp-agent/tools"
"""In a result's `_meta`: which tools look at, answer and cancel its run. The page calls no other."""


def page_uri(app_name: str) -> str:
    return f"ui://{quote(app_name, safe='')}/run"


def shown_by_page(app_name: str) -> dict[str, Any]:
    """The `_meta` of a tool whose results are runs."""
    return {"ui": {"resourceUri": page_uri(app_name)}}


def tools_of_run(tools: Mapping[str, str]) -> dict[str, Any]:
    """The `_meta` of a result that is a run."""
    return {TOOLS: dict(tools)}


def page_resource(app_name: str) -> Resource:
    return Resource(
        uri=page_uri(app_name),
        name="run-page",
        title="A run's page",
        description="Shows a run live, with a form for what it asks. For hosts that show MCP Apps.",
        mime_type=MIME_TYPE,
    )


def read_page(uri: str) -> ReadResourceResult:
    """The page. It needs nothing from any network, so it declares no domains and gets the strictest policy."""
    contents = TextResourceContents(uri=uri, mime_type=MIME_TYPE, text=_html(), _meta={"ui": {"prefersBorder": True}})
    return ReadResourceResult(contents=[contents])


@cache
def _html() -> str:
    return files(page).joinpath("run_page.html").read_text(encoding="utf-8")

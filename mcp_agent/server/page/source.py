"""The run page as a source of resources."""

from __future__ import annotations

from mcp_types import ReadResourceRequestParams, ReadResourceResult, Resource, ResourceTemplate

from mcp_agent.server.callers import Caller
from mcp_agent.server.entries import Request
from mcp_agent.server.page.run_page import page_resource, page_uri, read_page


class PageSource:
    """See `ResourceSource`. The page holds nothing of any run: it is everybody's.

    Args:
        app_name: In its address.
    """

    def __init__(self, app_name: str) -> None:
        self._app_name = app_name

    def listed(self) -> list[Resource]:
        return [page_resource(self._app_name)]

    def templates(self) -> list[ResourceTemplate]:
        return []

    async def read(self, _: Request, params: ReadResourceRequestParams, __: Caller) -> ReadResourceResult | None:
        uri = str(params.uri)
        return read_page(uri) if uri == page_uri(self._app_name) else None

    async def complete(self, template: str, variable: str, typed: str) -> None:
        """It has no variables."""

"""What answers the requests that a downstream server makes: its call's run, or the configuration."""

from __future__ import annotations

import logging
from typing import Any

from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    ErrorData,
    ListRootsResult,
    Root,
)
from pydantic import FileUrl

from mcp_agent.config import MCPServerSettings
from mcp_agent.mcp.open_calls import Kind, OpenCall, whose

logger = logging.getLogger(__name__)

_REFUSED = -1  # what MCP's specification has for a refusal by the user
_UNCLEAR = (
    "It cannot be told which call this request belongs to: calls of several runs are under way. "
    "Ask over streamable HTTP, or with an input-required result (2026-07-28)."
)


class Callbacks:
    """Of one connection.

    Attributes:
        calls: The calls that are under way on it, oldest first.
    """

    def __init__(self, name: str, settings: MCPServerSettings) -> None:
        self.calls: list[OpenCall] = []
        self._name = name
        self._settings = settings

    def options(self) -> dict[str, Any]:
        """For the SDK's client, which tells servers that it can do what it has a callback for."""
        settings = self._settings
        return {
            "elicitation_callback": self._elicit if settings.elicitation else None,
            "sampling_callback": self._sample if settings.sampling else None,
            "list_roots_callback": self._list_roots if settings.roots else None,
        }

    def roots(self) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(root.resolve().as_uri())) for root in self._settings.roots])

    async def _list_roots(self, _: Any) -> ListRootsResult:
        return self.roots()

    async def _elicit(self, _: Any, params: ElicitRequestParams) -> ElicitResult | ErrorData:
        answer = await self._ask("elicitation", params)
        return answer if isinstance(answer, ErrorData) else ElicitResult.model_validate(answer)

    async def _sample(self, _: Any, params: CreateMessageRequestParams) -> CreateMessageResult | ErrorData:
        answer = await self._ask("sampling", params)
        return answer if isinstance(answer, ErrorData) else CreateMessageResult.model_validate(answer)

    async def _ask(self, kind: Kind, params: ElicitRequestParams | CreateMessageRequestParams) -> dict[str, Any] | ErrorData:
        call = whose(self.calls)
        if call is None:
            logger.warning("MCP server `%s` asks for %s outside of a single run's call: refused", self._name, kind)
            return ErrorData(code=_REFUSED, message=_UNCLEAR)
        asked = params.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"meta"})
        answer = await call.ask(kind, asked)
        return ErrorData(code=_REFUSED, message=f"The request for {kind} was refused.") if answer is None else answer

"""All tools of a server: listed, and called."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

from mcp.server import Server
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams

from mcp_agent.errors import CallError, DefinitionError, StorageUnavailable, UnreadablePayload, WorkflowApplicationError
from mcp_agent.executor.failures import error_text
from mcp_agent.executor.problems import did_you_mean
from mcp_agent.server.callers import Caller
from mcp_agent.server.entries import Outcome, Request, ToolCall, ToolEntry, refusal, refused
from mcp_agent.server.limits import Limits
from mcp_agent.server.stopping import InFlight

logger = logging.getLogger(__name__)


class ToolSource(Protocol):
    """Tools of one kind."""

    def names(self) -> list[str]:
        """What they will be called. Raises DefinitionError for a name that MCP does not allow."""
        ...

    def entries(self) -> Iterator[ToolEntry]: ...


class Toolbox:
    """The list is the same for every connection, and never changes.

    Args:
        sources: Where the tools come from.
        limits: What callers may do at once.
        want_engine: Called when a client is about to call a tool.
        caller: Who has sent the request that is being handled.

    Raises:
        DefinitionError: Two tools have one name.
    """

    def __init__(
        self, sources: Sequence[ToolSource], limits: Limits, want_engine: Callable[[], None], caller: Callable[[], Caller]
    ) -> None:
        self._sources = sources
        self.limits = limits
        self._want_engine = want_engine
        self._caller = caller
        self.calls = InFlight()
        self.names = _distinct([name for source in sources for name in source.names()])

    def serve(self, server: Server[Any]) -> None:
        """Answers the methods of tools."""
        server.add_request_handler("tools/list", PaginatedRequestParams, self._list)
        server.add_request_handler("tools/call", CallToolRequestParams, self._call)

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """What a tool takes; `None` for one that is not there."""
        entry = self._entries.get(name)
        return None if entry is None else entry.tool.input_schema

    def has(self, name: str) -> bool:
        """Whether there is such a tool."""
        return name in self._entries

    @cached_property
    def _entries(self) -> dict[str, ToolEntry]:
        """Made for the first client that lists or calls: schemas take time, which `initialize` need not wait for."""
        entries = {entry.tool.name: entry for source in self._sources for entry in source.entries()}
        return {name: entries[name] for name in self.names}

    @cached_property
    def _listed(self) -> dict[str, Any]:
        """As it is sent: a long list takes a while to be made."""
        listed = ListToolsResult(tools=[entry.tool for entry in self._entries.values()])
        return listed.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def _list(self, _: Request, params: PaginatedRequestParams | None) -> dict[str, Any]:
        # After this answer has been sent: a client that has listed the tools is about to call one.
        asyncio.get_running_loop().call_later(0, self._want_engine)
        return self._listed

    async def _call(self, request: Request, params: CallToolRequestParams) -> Outcome:
        entry = self._entries.get(params.name)
        if entry is None:
            hint = did_you_mean(params.name, self._entries)
            raise MCPError(INVALID_PARAMS, f"There is no tool `{params.name[:200]}`. {hint}")
        caller = self._caller()
        try:
            with self.limits.call(caller.tag), self.calls.one():
                return await entry.call(ToolCall(request, params, caller))
        except asyncio.CancelledError:
            if not self.calls.given_up:
                raise
            return _given_up(params.name)
        except CallError as error:
            return refused(error)
        except WorkflowApplicationError as error:
            return refusal(error.type, error.message)
        except UnreadablePayload as error:
            logger.error("tool `%s`: %s", params.name, error)
            return refusal("unreadable", str(error))
        except StorageUnavailable as error:
            logger.error("tool `%s`: %s", params.name, error)
            return refusal("storage_unavailable", str(error), retryable=True)
        except MCPError:
            raise
        except Exception as error:
            logger.exception("tool `%s` failed", params.name)
            return refusal("internal_error", f"{type(error).__name__}: {error_text(error)}")


def _given_up(tool: str) -> CallToolResult:
    """The answer to a call that the server has cancelled at its end; the task that asked for it goes on."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    return refusal("cancelled", f"`{tool}` was cancelled: the server is stopping. What it had done by then may stand.")


def _distinct(names: list[str]) -> list[str]:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DefinitionError(f"Two tools would be called `{doubled[0]}`: rename one of them.")
    return sorted(names)

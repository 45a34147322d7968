"""Prompts and resources, whoever makes them: each kind of resource has a source of its own, and they are asked in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from mcp.server import Server
from mcp_types import (
    CompleteRequestParams,
    CompleteResult,
    GetPromptRequestParams,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    PromptReference,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
)

from mcp_agent.errors import NotFound
from mcp_agent.server.callers import Caller
from mcp_agent.server.completions import Completions, completed
from mcp_agent.server.entries import Request
from mcp_agent.server.prompts import Got, Prompts
from mcp_agent.server.resources import reading

Contents: TypeAlias = ReadResourceResult | InputRequiredResult


class ResourceSource(Protocol):
    """Resources of one kind."""

    def listed(self) -> Sequence[Resource]:
        """Those that have an address of their own."""
        ...

    def templates(self) -> Sequence[ResourceTemplate]: ...

    async def read(self, request: Request, params: ReadResourceRequestParams, caller: Caller, /) -> Contents | None:
        """`None` for an address of another kind. Raises MCPError for one of this kind that is not there."""
        ...

    async def complete(self, template: str, variable: str, typed: str) -> list[str] | None:
        """Values of a template's variable; `None` for a template of another kind."""
        ...


class Documents:
    """Args:
    prompts: All of them.
    sources: Of resources, in the order in which they are asked.
    completions: Of what no source completes.
    caller: Who has sent the request that is being handled.
    """

    def __init__(
        self, prompts: Prompts, sources: Sequence[ResourceSource], completions: Completions, caller: Callable[[], Caller]
    ) -> None:
        self._prompts = prompts
        self._sources = sources
        self._completions = completions
        self._caller = caller

    def serve(self, server: Server[Any]) -> None:
        """Answers the methods of prompts, resources and completion."""

        async def get_prompt(request: Request, params: GetPromptRequestParams) -> Got:
            return await self._prompts.get(request, params, self._caller())

        async def read(request: Request, params: ReadResourceRequestParams) -> Contents:
            return await self._read(request, params, self._caller())

        async def complete(_: Request, params: CompleteRequestParams) -> CompleteResult:
            return await self._complete(params, self._caller())

        server.add_request_handler("prompts/list", PaginatedRequestParams, self._list_prompts)
        server.add_request_handler("prompts/get", GetPromptRequestParams, get_prompt)
        server.add_request_handler("resources/list", PaginatedRequestParams, self._list_resources)
        server.add_request_handler("resources/templates/list", PaginatedRequestParams, self._list_templates)
        server.add_request_handler("resources/read", ReadResourceRequestParams, read)
        server.add_request_handler("completion/complete", CompleteRequestParams, complete)

    async def _list_prompts(self, _: Request, params: PaginatedRequestParams | None) -> ListPromptsResult:
        return ListPromptsResult(prompts=self._prompts.listed())

    async def _list_resources(self, _: Request, params: PaginatedRequestParams | None) -> ListResourcesResult:
        return ListResourcesResult(resources=[one for source in self._sources for one in source.listed()])

    async def _list_templates(self, _: Request, params: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        templates = [one for source in self._sources for one in source.templates()]
        return ListResourceTemplatesResult(resource_templates=templates)

    async def _read(self, request: Request, params: ReadResourceRequestParams, caller: Caller) -> Contents:
        with reading(str(params.uri)):
            for source in self._sources:
                found = await source.read(request, params, caller)
                if found is not None:
                    return found
            raise NotFound("No source has it.")

    async def _complete(self, params: CompleteRequestParams, caller: Caller) -> CompleteResult:
        asked = params.argument
        if isinstance(params.ref, PromptReference):
            return completed(await self._prompts.complete(params.ref.name, asked.name, asked.value))
        for source in self._sources:
            values = await source.complete(params.ref.uri, asked.name, asked.value)
            if values is not None:
                return completed(values)
        return await self._completions.complete(caller, params)
